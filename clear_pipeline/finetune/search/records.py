"""`search/`: what is searched by which settings, and a line for each trial that began or ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import DamagedRunError, RunMismatchError
from clear_pipeline.finetune.claim import Claim
from clear_pipeline.finetune.search.report import Trial
from clear_pipeline.finetune.search.space import Value
from clear_pipeline.journal import append, entries
from clear_pipeline.settings import Settings

_CLAIM: Final = "claim.json"
_TRIALS: Final = "trials.jsonl"


class SearchClaim(Settings):
    """One search. How many trials it has is not in it: there may be more."""

    training: Claim
    method: str
    folds: int
    seed: int
    space: dict[str, Any]

    def changed(self, there: SearchClaim) -> list[str]:
        """In what another one differs, by name."""
        own = [name for name in SearchClaim.model_fields if name != "training"]
        names = [name for name in own if getattr(self, name) != getattr(there, name)]
        return [*self.training.changed(there.training), *names]


class Records:
    """The trials of a search on disk.

    Args:
        folder: Of the search; it is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.begun: dict[int, dict[str, Value]] = {}
        self.ended: dict[int, Trial] = {}
        for entry in entries(folder / _TRIALS):
            if "begun" in entry:
                self.begun[entry["begun"]] = entry["settings"]
            else:
                trial = Trial.model_validate(entry["ended"])
                self.ended[trial.number] = trial

    def claim(self, claim: SearchClaim) -> None:
        """Say whose search the folder holds.

        Raises:
            RunMismatchError: Another one has trials there.
            DamagedRunError: What lies there is not as it was written.
        """
        path = self._folder / _CLAIM
        if self.begun and path.exists():
            try:
                there = SearchClaim.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise DamagedRunError(f"{path}: is not as it was written; restore it") from error
            if changed := claim.changed(there):
                raise RunMismatchError(
                    f"{self._folder}: holds a search with other {', '.join(changed)}; give another "
                    "--out, or delete that directory"
                )
        write_text_atomically(path, claim.model_dump_json(indent=1))

    def begin(self, number: int, settings: dict[str, Value]) -> None:
        """Remember what a trial tries; on return it survives a power cut."""
        append(self._folder / _TRIALS, {"begun": number, "settings": settings})
        self.begun[number] = settings

    def end(self, trial: Trial) -> None:
        """Remember how it went; on return it survives a power cut."""
        append(self._folder / _TRIALS, {"ended": trial.model_dump(mode="json")})
        self.ended[trial.number] = trial

    def trial_folder(self, name: str) -> Path:
        """Where a trial works."""
        return self._folder / "trials" / name
