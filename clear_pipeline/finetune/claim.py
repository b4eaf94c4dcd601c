"""`training.json`: what is trained on what in a folder; nothing goes on from other state."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from clear_pipeline.durable import file_sha256, write_text_atomically
from clear_pipeline.errors import RunMismatchError, UsageError
from clear_pipeline.finetune.balance import Replay
from clear_pipeline.finetune.base import Trainer, TrainingData
from clear_pipeline.settings import Settings

TRAINING: Final = "training.json"


class Claim(Settings):
    """One training. Paths are not in it: a file may move."""

    trainer: str
    version: int
    settings: dict[str, Any]
    """`Trainer.identity`."""
    train: str
    """SHA-256 of the training file."""
    valid: str | None
    """SHA-256 of the validation file."""
    general: str | None = None
    """SHA-256 of the general rows that are measured before and after."""
    mix: Replay | None = None
    """How the general rows of the training file were drawn."""

    @classmethod
    def of(cls, trainer: Trainer, data: TrainingData) -> Claim:
        """That of a training which may not have begun.

        Raises:
            UsageError: A file is not there.
        """
        for path in filter(None, (data.train, data.valid, data.general)):
            if not path.is_file():
                raise UsageError(f"{path}: no such file")
        return cls(
            trainer=trainer.name,
            version=trainer.version,
            settings=trainer.identity(),
            train=file_sha256(data.train),
            valid=None if data.valid is None else file_sha256(data.valid),
            general=None if data.general is None else file_sha256(data.general),
            mix=data.mix,
        )

    @classmethod
    def read(cls, folder: Path) -> Claim | None:
        """That of the training which a folder holds; None if it holds none.

        Raises:
            DamagedRunError: The file is not as it was written.
        """
        return cls.from_file(folder / TRAINING)

    def write(self, folder: Path) -> None:
        """Enter it; on return it survives a power cut."""
        write_text_atomically(folder / TRAINING, self.model_dump_json(indent=1))

    def changed(self, there: Claim) -> list[str]:
        """In what another one differs, by name; of settings of one trainer, in which of them."""
        names = [name for name in Claim.model_fields if getattr(self, name) != getattr(there, name)]
        if "settings" not in names:
            return names
        own = [] if self.trainer != there.trainer else self._other_settings(there)
        at = names.index("settings")
        return [*names[:at], *own, *names[at + 1 :]]

    def _other_settings(self, there: Claim) -> list[str]:
        own, other = self.settings, there.settings
        differ = {key for key in own.keys() & other.keys() if own[key] != other[key]}
        return [f"settings.{key}" for key in sorted(differ | (own.keys() ^ other.keys()))]


def require_own_settings(trainer: Trainer, folder: Path) -> None:
    """Make sure that the training in a folder, if there is one, was begun by these settings.

    Raises:
        RunMismatchError: By others.
    """
    if (there := Claim.read(folder)) is None:
        return
    own = there.model_copy(update={"trainer": trainer.name, "settings": trainer.identity()})
    if changed := own.changed(there):
        raise RunMismatchError(
            f"{folder}: holds a training with other {', '.join(changed)}; give those of its "
            f"{TRAINING}, with which it was begun"
        )
