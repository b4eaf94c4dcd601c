"""What to type next about a run: whatever a command suggests, it is chosen here.

The way leads forward and comes to an end: from the run to the rows that it removed, to one of them
explained, to the file to train on. `status` and `evaluate` lead to the report, as those rows do to
one of them. So no command suggests what the one before it did, and none leads back.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from itertools import chain, starmap
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pyarrow.compute as pc

from clear_pipeline.export import PARQUET
from clear_pipeline.llm.caps import cap_words
from clear_pipeline.manifest import IN_MEMORY
from clear_pipeline.remote import is_remote
from clear_pipeline.report.words import EXPORTED
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from clear_pipeline.store import CONFIG, EXPORT, holder_of

Look: TypeAlias = Literal["run", "status", "evaluate", "report", "rows", "explain"]
"""What has just been seen of a finished run."""

_TELLING: Final = (
    Fate.FILTERED, Fate.RECTIFIED, Fate.CONTAMINATED, Fate.DUPLICATE, Fate.QUARANTINED,
    Fate.UNSCORED,
)  # fmt: skip
"""Fates of removed and changed rows, those first whose rows tell most about the run."""


def next_after(look: Look, run: Run, *, row: str | None = None) -> str:
    """The command that leads on from a look at a finished run; it can be typed as it is.

    Args:
        look: How it was looked at.
        run: That was looked at.
        row: Id of a row that was shown, to be explained; None = a row that the run removed.
    """
    path = str(run.path)
    if look in {"status", "evaluate"}:
        return shlex.join(["clear-pipeline", "report", path])
    fates = _telling(run)
    if look == "run" and fates:
        return shlex.join(["clear-pipeline", "rows", path, "--fate", fates[0]])
    shown = row or (_first_id(run, fates[0]) if fates else None)
    if look in {"report", "rows"} and shown is not None:
        return shlex.join(["clear-pipeline", *_explain(path, shown)])
    return first_rows(run.path / EXPORT, str(run.manifest.export["format"]))


def next_commands(run: Run, *, where: str | None = None) -> tuple[tuple[str, str], ...]:
    """(what for, command line) of all that can be done with a finished run.

    Args:
        run: A finished run.
        where: What the commands call its directory; None = the path by which it was opened.
    """
    return tuple(
        (what, shlex.join(["clear-pipeline", *words]))
        for what, words in _ways_on(run, str(run.path) if where is None else where)
    )


def _ways_on(run: Run, path: str) -> Iterator[tuple[str, list[str]]]:
    fates = _telling(run)
    for fate in fates[:2]:
        yield f"List the {fate} rows", ["rows", path, "--fate", fate]
    if (row := _first_id(run, fates[0] if fates else None)) is not None:
        yield "Explain one row", _explain(path, row)
    if any(run.manifest.fates.get(fate) for fate in EXPORTED):
        yield "Write training files", ["export", path, "--format", "openai", "--out", "DIR"]


def _explain(path: str, row: str) -> list[str]:
    """The words that explain a row; an id may begin as an option does, since a file's name may."""
    return ["explain", *(["--"] if row.startswith("-") else []), path, row]


def first_rows(folder: Path, form: str) -> str:
    """The command that shows the start of the training file of an export.

    Args:
        folder: Where its files are.
        form: One of `export.EXPORT_FORMATS`.
    """
    if form == PARQUET:
        code = f"import pandas; print(pandas.read_parquet({str(folder / 'train.parquet')!r}))"
        return shlex.join(["python", "-c", code])
    return shlex.join(["head", "-n", "3", str(folder / "train.jsonl")])


def from_here(run: Run) -> str | None:
    """The command that leads on from where a run stands: to its report, or to its end.

    Returns:
        None while a process is at work on it, and where the same call alone goes on: its data was
        in memory, or it was stopped before its config was written.
    """
    if run.manifest.finished:
        return next_after("status", run)
    if run.manifest.source == IN_MEMORY or not (run.path / CONFIG).is_file():
        return None
    if holder_of(run.path) is not None:
        return None
    higher = chain.from_iterable(starmap(cap_words, run.manifest.higher_cap.items()))
    return shlex.join([*run_words(run), *higher])


def run_words(run: Run) -> list[str]:
    """The words of the command that runs the same data by the same config in the same directory.

    Where the data was in memory, DATA stands for it.
    """
    source = run.manifest.source
    if source == IN_MEMORY:
        data = "DATA"
    elif is_remote(source):
        data = source
    else:
        data = os.path.normpath(run.path.resolve() / source)
    config = str(run.path / CONFIG)
    return ["clear-pipeline", "run", data, "--out", str(run.path), "--config", config]


def _telling(run: Run) -> list[Fate]:
    return [fate for fate in _TELLING if run.manifest.fates.get(fate)]


def _first_id(run: Run, fate: Fate | None) -> str | None:
    for batch in run.ledger_batches(["id", "fate"]):
        ids = batch["id"] if fate is None else batch["id"].filter(pc.equal(batch["fate"], fate))
        if len(ids):
            return str(ids[0].as_py())
    return None
