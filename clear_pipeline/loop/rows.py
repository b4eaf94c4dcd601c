"""Rows between rounds: those held out for good, and those that the next round begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from clear_pipeline.durable import write_atomically
from clear_pipeline.errors import RunFailedError, UsageError
from clear_pipeline.evaluate.models.held_out import read_rows, request_hash
from clear_pipeline.finetune.rows import MIN_ROWS
from clear_pipeline.formats import FORMATS
from clear_pipeline.ledger import fates
from clear_pipeline.load import LoadSettings
from clear_pipeline.loop.settings import LoopSettings
from clear_pipeline.row_files import JsonLines
from clear_pipeline.run import Run
from clear_pipeline.schema import Example, Fate, Message, examples
from clear_pipeline.stages.base import alive_rows
from clear_pipeline.stages.filter import Confidence, Filter, Precision

LeftOut: TypeAlias = Callable[[pa.Table], Sequence[bool]]
"""Tells of each row of a shard whether it is left out."""

_GO_ON: Final = (Fate.KEPT, Fate.RECTIFIED, Fate.FILTERED, Fate.UNSCORED)
"""Fates of the rows of the next round. What cannot be read, stands twice or is contaminated has
nothing to come back for."""


def require_enough(rows: int, rule: Filter) -> None:
    """Look, before any row is scored, whether the filter can keep enough of them to train on.

    Args:
        rows: That were read, >= 0.
        rule: The filter.

    Raises:
        UsageError: It cannot, whatever the scores are.
    """
    by_score = isinstance(rule.keep, Confidence | Precision)
    if (kept := rows if by_score else rule.keep.rows(np.zeros(rows))) < MIN_ROWS:
        raise UsageError(
            f"loop: {rows:,} rows were read and the filter keeps at most {kept:,} of them "
            f"({rule.keep}); a training needs at least {MIN_ROWS}, and test rows beside them: give "
            "more rows, or keep more with --set filter.keep.quantile=0.2"
        )


def drawn(settings: LoopSettings) -> LeftOut:
    """Which rows are test rows: drawn from those that the filter keeps, each by what it asks.

    Another row cannot move the draw, and rows that ask the same are drawn together.
    """
    return partial(_drawn, share=settings.hold_out, seed=settings.seed)


def _drawn(table: pa.Table, *, share: float, seed: int) -> list[bool]:
    taken = (_share(request_hash(row), seed) < share for row in examples(table))
    kept = table["keep"].to_pylist()
    return [
        lives and keep is True and is_taken
        for lives, keep, is_taken in zip(alive_rows(table), kept, taken, strict=True)
    ]


def asked_in(test: Path, load: LoadSettings) -> LeftOut:
    """Which rows ask what a written test row asks, whatever has become of the filter since.

    Args:
        test: As `write_test` leaves it.
        load: Of DATA, for its limits.
    """
    asked = requests_in(test, load.of_own_rows())
    return lambda table: [request_hash(row) in asked for row in examples(table)]


def requests_in(test: Path, load: LoadSettings) -> frozenset[str]:
    """What the rows of a file ask, as hashes.

    Raises:
        NothingReadableError: No row can be used.
    """
    rows = read_rows(test, load)
    return frozenset(request_hash(row) for row in rows if isinstance(row, Example))


def _share(request: str, seed: int) -> float:
    """A number in [0, 1); other than that by which an export draws its validation rows."""
    digest = hashlib.sha256(f"test:{seed}:{request}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def write_test(run: Run, path: Path, settings: LoopSettings) -> int:
    """Write the test rows of the first round, with the responses that they came with.

    Returns:
        How many there are.

    Raises:
        UsageError: None was drawn; nothing is written.
    """
    is_test = drawn(settings)

    def rows() -> Iterator[Example]:
        for shard in run.shards():
            marks = is_test(shard.table)
            yield from (row for row, mark in zip(examples(shard.table), marks, strict=True) if mark)

    if not (written := _write(path, rows())):
        path.unlink()
        raise UsageError(
            f"loop: none of the rows that the filter keeps was drawn as a test row (loop.hold_out "
            f"is {settings.hold_out:g}); raise it, or give held-out rows with --test FILE"
        )
    return written


def write_rows(run: Run, path: Path, left_out: LeftOut | None) -> int:
    """Write the rows that the next round begins with, each with its newest response.

    Args:
        run: Of the round before.
        path: The file.
        left_out: Test rows among them.

    Returns:
        How many there are.

    Raises:
        RunFailedError: The run has not finished.
    """
    if not run.manifest.finished:
        raise RunFailedError(f"{run.path}: not finished; the same command goes on")

    def rows() -> Iterator[Example]:
        for shard in run.shards():
            table = shard.table
            away = repeat(False) if left_out is None else left_out(table)
            new = _new_targets(table)
            rows = zip(examples(table), fates(table)[0], new, away, strict=False)
            for example, fate, target, gone in rows:
                if fate in _GO_ON and not gone:
                    rectified = target if fate is Fate.RECTIFIED else None
                    yield example if rectified is None else replace(example, target=rectified)

    return _write(path, rows())


def _new_targets(table: pa.Table) -> list[Message | None]:
    return [None if t is None else Message(**t) for t in table["new_target"].to_pylist()]


def _write(path: Path, rows: Iterator[Example]) -> int:
    """As OpenAI chat rows; a row without an id of its own has its place in DATA as one."""
    written = 0

    def write(temporary: Path) -> None:
        nonlocal written
        with closing(JsonLines(temporary)) as file:
            for row in rows:
                file.write({"id": row.id, **FORMATS["openai"].write(row, own_columns=False)})
                written += 1

    write_atomically(path, write)
    return written
