"""Results of benchmarks that resume: JSON Lines, one line per thing that was measured.

Those of `benchmarks/confidence.py` are read here too: a line per system and row that it was asked
about.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clear_pipeline.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the results file: what one system said about one row, and what that took.

    Attributes:
        bad: The row's label, so that a report needs no data.
        score: Higher is better; None if there is none, then `error` says why.
        seconds: Wall clock.
    """

    system: str
    set: str
    row: str
    model: str
    split: str
    bad: bool
    score: float | None
    error: str | None
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float

    @property
    def tokens(self) -> int:
        """Prompt and completion, without a discount for cached tokens."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def computed(self) -> int:
        """The same less what the server had cached."""
        return self.tokens - self.cached_tokens


def read_lines(*paths: Path) -> list[dict[str, Any]]:
    """The lines of all files that are there, in order; a line that a kill cut is left out."""
    files = (path.read_bytes() for path in paths if path.exists())
    whole = (line for file in files for line in file.rpartition(b"\n")[0].splitlines())
    return [json.loads(line) for line in whole]


def read_results(*paths: Path) -> list[Result]:
    """The last result of each (system, set, row), in order.

    Raises:
        UsageError: They are of several models or splits, which no table may mix.
    """
    results = [Result(**line) for line in read_lines(*paths)]
    if len(origins := sorted({(r.model, r.split) for r in results})) > 1:
        named = "; ".join(f"{model}, split {split}" for model, split in origins)
        raise UsageError(f"results of one model and one split are needed, these are of {named}")
    return list({(r.system, r.set, r.row): r for r in results}.values())


class ResultsFile:
    """Appends results: each is safe on disk before `add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._file.seek(0)
        self._file.truncate(self._file.read().rfind(b"\n") + 1)  # a line that a kill cut

    def add(self, result: DataclassInstance) -> None:
        """Append one."""
        self._file.write(json.dumps(asdict(result)).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
