"""A model of the Hugging Face Hub that the user named: its commit, and its files on this machine.

The hub's own library looks names up, fetches, and keeps what it fetched in its cache; tokens are
its own business and are written nowhere here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from clear_pipeline.errors import ClearPipelineError, UsageError, WeightsError

Note = Callable[[str], None]

_NAME: Final = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")
_FILES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "allow_patterns": ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"],
        "ignore_patterns": ["*/*", "consolidated*"],
    }
)
"""What is fetched: no other forms of the same weights, and nothing that runs code when read."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model as the user named it.

    Attributes:
        name: ORG/NAME.
        revision: A branch, tag or commit; None = the main branch.
    """

    name: str
    revision: str | None

    @classmethod
    def named(cls, base: str) -> HubModel | None:
        """The model of that name; None where it is a path, of what is there or not."""
        found = _NAME.fullmatch(base)
        # A slip in a path is not looked up on the hub.
        if found is None or Path(base).parent.is_dir() or base.lower().endswith(".gguf"):
            return None
        return cls(found["name"], found["revision"])

    @property
    def commit(self) -> str:
        """The commit that the name stands for now; where the hub cannot be asked, when it was last.

        Raises:
            UsageError: There is no such model or revision, or it is not for everyone.
            WeightsError: The hub cannot be asked, and the model is not on this machine.
        """
        return _looked_up(self).commit

    def folder(self, note: Note) -> Path:
        """Its configuration, tokenizer and weights, fetched if they are not on this machine.

        Args:
            note: Told what is fetched before it is.

        Raises:
            UsageError: As `commit`; or the model has no safetensors.
            WeightsError: As `commit`; or what is missing could not be fetched.
        """
        from huggingface_hub import snapshot_download, try_to_load_from_cache

        from clear_pipeline.llm.quiet import silent

        found = _looked_up(self)
        missing = [
            size
            for file, size in found.files
            if try_to_load_from_cache(self.name, file, revision=found.commit) is None
        ]
        if missing:
            what = f"{self.name}@{found.commit[:12]}"
            note(f"fetching {what} of the Hugging Face Hub: {sum(missing) / 1e6:,.0f} MB")
        with _explained(self), silent():
            # By the user's word for it, which the cache then knows without a network.
            path = Path(snapshot_download(self.name, revision=self.revision, **_FILES))
        if path.name != found.commit:
            raise WeightsError(f"base: {self.name} has moved meanwhile; type the command again")
        if not any(path.glob("*.safetensors")):
            raise UsageError(
                f"base: {self.name} has no safetensors. Of a model in GGUF files name one: "
                f"hf download {self.name} FILE.gguf --local-dir DIR, then base=DIR/FILE.gguf"
            )
        return path


@dataclass(frozen=True, slots=True)
class _Found:
    """A commit, and the names and sizes of its files that are wanted, as far as they are known."""

    commit: str
    files: tuple[tuple[str, int], ...] = ()


@lru_cache
def _looked_up(model: HubModel) -> _Found:
    """Asked once: a branch that moves meanwhile moves nothing under a training."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    with _explained(model):
        try:
            info = HfApi().model_info(model.name, revision=model.revision, files_metadata=True)
        except Exception:
            try:
                path = snapshot_download(
                    model.name, revision=model.revision, local_files_only=True, **_FILES
                )
            except LocalEntryNotFoundError:
                path = None
            if path is None or not _COMMIT.fullmatch(Path(path).name):
                raise
            return _Found(Path(path).name)
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    wanted = filter_repo_objects(sizes, **_FILES)
    return _Found(str(info.sha), tuple((name, sizes[name]) for name in wanted))


@contextmanager
def _explained(model: HubModel) -> Iterator[None]:
    """What the library says, in a line that says what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = model.name
    try:
        yield
    except ClearPipelineError:
        raise
    except GatedRepoError as error:
        raise UsageError(
            f"base: {name} is given to those alone who accept its terms: do so at "
            f"https://huggingface.co/{name}, then type hf auth login, or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"base: {name} is no file or directory here, and the Hugging Face Hub shows no such "
            "model; for a private one type hf auth login, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise UsageError(f"base: {name} has no revision {model.revision}") from error
    except Exception as error:
        raise WeightsError(
            f"base: {name} is not on this machine as a whole, and the Hugging Face Hub cannot be "
            f"asked for it ({type(error).__name__}). On a machine with a network type hf download "
            f"{name} --local-dir DIR, and name DIR"
        ) from error
