"""What the scores of a run come to, from its ledger in batches: no column is held as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clear_pipeline.report.data import Part, PartTokens
from clear_pipeline.report.histogram import counted, score_range
from clear_pipeline.report.words import USAGE_COLUMNS
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from clear_pipeline.stages.usage import TOKENS


def distribution(run: Run, column: str) -> Part | None:
    """How a column of scores is distributed, by fate; None where no row has one.

    Raises:
        UsageError: The run has no ledger yet.
    """
    if column not in run.ledger_columns():
        return None
    least, most, sums, rows = math.inf, -math.inf, [0.0], 0
    for values in _by_fate(run, column):
        for group in values.values():
            least, most = min(least, float(group.min())), max(most, float(group.max()))
            sums.append(float(group.sum()))
            rows += len(group)
    if rows == 0:
        return None
    ends = score_range(least, most)
    first, *others = (counted(values, ends) for values in _by_fate(run, column))
    return Part(column, sum(others, first), math.fsum(sums) / rows)


def _by_fate(run: Run, column: str) -> Iterator[dict[Fate, NDArray[np.float64]]]:
    """Of each batch that has some, the scores of each fate that has some."""
    for batch in run.ledger_batches(["fate", column]):
        there = batch.filter(pc.is_valid(batch[column]))
        groups = {fate: there.filter(pc.equal(there["fate"], fate)) for fate in Fate}
        if there.num_rows:
            yield {
                fate: group[column].to_numpy(zero_copy_only=False)
                for fate, group in groups.items()
                if group.num_rows
            }


def threshold_of(run: Run) -> float | None:
    """The filter's threshold, None where no filter ran.

    Raises:
        UsageError: The run has no ledger yet.
    """
    found = (pc.max(batch["threshold"]).as_py() for batch in run.ledger_batches(["threshold"]))
    return max((threshold for threshold in found if threshold is not None), default=None)


def tokens_of(run: Run) -> Iterator[PartTokens]:
    """Tokens by part of the score.

    Raises:
        UsageError: The run has no ledger yet.
    """
    there = run.ledger_columns()
    for column, part in USAGE_COLUMNS.items():
        if column in there:
            found = (part_tokens(part, batch[column]) for batch in run.ledger_batches([column]))
            tokens = sum(found, PartTokens(part, 0, 0, 0, 0))
            if tokens.rows:
                yield tokens


def part_tokens(part: str, usages: pa.Array) -> PartTokens:
    """Tokens of one part of the score, from values of `stages.usage.USAGE`."""
    asked = usages.drop_null()
    sums = (pc.sum(pc.struct_field(asked, kind)).as_py() or 0 for kind in TOKENS)
    return PartTokens(part, len(asked), *sums)


def least_confident(
    batches: Iterable[pa.RecordBatch], most: int
) -> dict[Fate, tuple[int, list[int]]]:
    """Of each fate how many rows there are, and the numbers of the least confident, from 0.

    Rows without a confidence come last, and of equals the first first.

    Args:
        batches: Of a ledger; `fate` and `confidence` are looked at.
        most: Rows of a fate that are wanted.
    """
    none = np.zeros(0, np.int64), np.zeros(0)
    found = dict.fromkeys(Fate, (0, *none))
    start = 0
    for batch in batches:
        confidences = batch["confidence"].to_numpy(zero_copy_only=False)  # a missing one is NaN
        for fate, (count, numbers, values) in found.items():
            rows = np.flatnonzero(pc.equal(batch["fate"], fate))
            all_values = np.concatenate([values, confidences[rows]])
            all_numbers = np.concatenate([numbers, start + rows])
            order = np.argsort(all_values, kind="stable")[:most]  # NaN sorts last
            found[fate] = count + len(rows), all_numbers[order], all_values[order]
        start += batch.num_rows
    return {fate: (count, numbers.tolist()) for fate, (count, numbers, _) in found.items()}
