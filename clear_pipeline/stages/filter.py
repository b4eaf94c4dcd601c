"""Auto-Filter: keep the rows that the model is confident in (Chen & Mueller 2024).

The paper keeps what lies above the median. A strict ">" can keep nothing where confidences tie, so
a share or a count is exact here: rows stand in the order of (confidence, content hash, id), and
exactly so many of the first are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from clear_pipeline.errors import NoSurvivorsError, UsageError
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, Settings, Shard, Shards
from clear_pipeline.stages.confidence import Key, final_confidence
from clear_pipeline.stages.length import length_note
from clear_pipeline.stages.ranking import (
    By,
    Confidences,
    Ranking,
    alive_confidences,
    alive_values,
)


class AboveMedian(Settings):
    """`{above: median}`: the confident half, ceil(n / 2) rows. The paper's choice."""

    above: Literal["median"] = "median"

    def rows(self, confidences: Confidences) -> int:
        """How many of the alive rows stay."""
        return math.ceil(len(confidences) / 2)

    def __str__(self) -> str:
        return "median"


class Quantile(Settings):
    """`{quantile: q}`: drop the share q that is least confident; ceil((1 - q) n) rows stay."""

    quantile: float = Field(ge=0, lt=1)

    def rows(self, confidences: Confidences) -> int:
        """How many of the alive rows stay; exact, as (1 - 0.7) * 10 is 3.0000000000000004."""
        return math.ceil((1 - Fraction(str(self.quantile))) * len(confidences))

    def __str__(self) -> str:
        return f"quantile {self.quantile:g}"


class Confidence(Settings):
    """`{confidence: c}`: every row whose confidence is above c, strictly."""

    confidence: float = Field(ge=0, le=1)

    def rows(self, confidences: Confidences) -> int:
        """How many of the alive rows stay."""
        return int(np.count_nonzero(confidences > self.confidence))

    def __str__(self) -> str:
        return "set threshold"


class Count(Settings):
    """`{count: n}`: the n most confident rows, or all if there are fewer."""

    count: int = Field(ge=1)

    def rows(self, confidences: Confidences) -> int:
        """How many of the alive rows stay."""
        return min(self.count, len(confidences))

    def __str__(self) -> str:
        return f"best {self.count}"


class Precision(Settings):
    """`{precision: p}`: the largest set of rows of which at least the share p is expected good.

    Rows are ranked by the lower bound of P(good) that marks gave them; the mean of these bounds
    over the rows that stay is at least p. So the expected precision itself is above p.
    """

    precision: float = Field(gt=0, lt=1)

    def rows(self, confidences: Confidences) -> int:
        """How many of the alive rows stay."""
        totals = np.cumsum(np.sort(confidences)[::-1])
        enough = np.flatnonzero(totals >= self.precision * np.arange(1, len(totals) + 1))
        return int(enough[-1]) + 1 if enough.size else 0

    def __str__(self) -> str:
        return f"precision {self.precision:g}"


LOWER_BOUND: Final = "p_good_low"
"""The column that a precision goes by."""

PRECISION_NEEDS = (
    "keep: {precision: P} needs probabilities, fitted on marks: clear-pipeline calibrate RUN "
    "--marks FILE --out calibration.json, then run again with --config RUN/config.yaml "
    "--calibration calibration.json"
)

KEEP_FORMS = (
    "{above: median}, {quantile: 0.3}, {confidence: 0.7}, {count: 5000} or {precision: 0.95}"
)


def _form(value: object) -> str | None:
    if isinstance(value, Settings):
        return next(iter(type(value).model_fields))
    if isinstance(value, dict) and len(value) == 1:
        return str(next(iter(value)))
    return None


Keep = Annotated[
    Annotated[AboveMedian, Tag("above")]
    | Annotated[Quantile, Tag("quantile")]
    | Annotated[Confidence, Tag("confidence")]
    | Annotated[Count, Tag("count")]
    | Annotated[Precision, Tag("precision")],
    Discriminator(
        _form,
        custom_error_type="keep",
        custom_error_message=f"expected one of {KEEP_FORMS}",
    ),
]


class Filter(Settings):
    """Mark the rows whose confidence is high enough, see `final_confidence`. Makes no model call.

    Attributes:
        kind: Always `filter`.
        keep: Which rows stay; see `AboveMedian`, `Quantile`, `Confidence`, `Count`,
            `Precision`.
    """

    name: ClassVar[str] = "filter"
    version: ClassVar[int] = 1

    kind: Literal["filter"] = "filter"
    keep: Keep = AboveMedian()

    def needs(self) -> tuple[str, ...]:
        """Confidence, and whether there is one; for a precision the bounds of P(good) too."""
        bounds = (LOWER_BOUND,) if isinstance(self.keep, Precision) else ()
        return ("confidence", "score_status", *bounds)

    def adds(self) -> pa.Schema:
        """`keep`, the `threshold` it was compared with, and the comparison in words."""
        return pa.schema(
            [("keep", pa.bool_()), ("threshold", pa.float64()), ("filter_reason", pa.string())]
        )

    def roles(self) -> tuple[str, ...]:
        """None."""
        return ()

    def survey(self, shards: Shards, ctx: Context) -> list[JSON]:
        """The last key that is kept, the same for each shard.

        Raises:
            NoSurvivorsError: No row would be kept; shows how the confidences are distributed.
        """
        by = partial(ranked_by, self.keep)
        found = list(shards.map(partial(_confidences_and_lengths, by=by)))
        confidences, lengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
        ranking = Ranking.of_shards(shards, confidences, by)
        rows = kept_rows(self.keep, ranking.ranked)
        threshold, last = float(ranking.ranked[rows - 1]), list[str]()
        if isinstance(self.keep, Confidence):
            # Only what the settings say: rows of other files cannot move it.
            threshold = self.keep.confidence
        else:
            _, *last = ranking.key(rows - 1)
        ctx.progress.note(
            f"filter keeps {rows} of {len(ranking)} rows, threshold {threshold:.3f} ({self.keep})"
        )
        if last and (tied := ranking.above(threshold) + ranking.with_just(threshold) - rows):
            ctx.progress.note(
                f"filter: {tied} rows that are not kept have a confidence of {threshold:.3f} too, "
                "like the last one kept; the content hash decided between them"
            )
        if told := length_note(confidences, lengths, kept=ranking.first(rows)):
            ctx.progress.note(told)
        state: JSON = {"threshold": threshold, "last": last}
        return [state] * len(shards)

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        """Compare each row with the threshold, and at the threshold with the last key kept."""
        if not isinstance(state, dict):
            raise TypeError(f"filter needs the state that survey returned, got {state!r}")
        verdicts = [
            self._verdict(key, state["threshold"], state["last"]) if lives else None
            for key, lives in zip(self._keys(shard), alive, strict=True)
        ]
        ctx.progress.advance(shard.rows)
        return pa.table(
            {
                "keep": [None if v is None else v[0] for v in verdicts],
                "threshold": [state["threshold"] if lives else None for lives in alive],
                "filter_reason": [None if v is None else v[1] for v in verdicts],
            },
            schema=self.adds(),
        )

    def _keys(self, shard: Shard) -> list[Key]:
        columns = (
            ranked_by(self.keep, shard.table),
            shard.table["content_hash"],
            shard.table["id"],
        )
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def _verdict(self, key: Key, threshold: float, last: list[str]) -> tuple[bool, str]:
        confidence, *tie_break = key
        note = str(self.keep)
        if confidence == threshold and last:
            keep = tie_break >= last
            sign = ">=" if keep else "="
            note += "" if keep else ", ties by content hash"
        else:
            keep = confidence > threshold
            above, below = (">=", "<") if last else (">", "<=")
            sign = above if keep else below
        what = "P(good) at least" if isinstance(self.keep, Precision) else "confidence"
        return keep, f"{what} {confidence:.3f} {sign} {threshold:.3f} ({note})"


def _confidences_and_lengths(
    shard: Shard, alive: Sequence[bool], *, by: By
) -> tuple[Confidences, NDArray[np.int32]]:
    """Of the rows that could still be exported."""
    lengths = alive_values(pc.utf8_length(shard.table["response"]), alive)
    return alive_confidences(shard, alive, by=by), lengths.astype(np.int32)


def ranked_by(keep: Settings, table: pa.Table) -> pa.ChunkedArray:
    """The column that a rule ranks rows by: the final confidence, or the bounds of P(good).

    Raises:
        UsageError: A precision is asked for without probabilities.
    """
    if not isinstance(keep, Precision):
        return final_confidence(table)
    if LOWER_BOUND not in table.column_names:
        raise UsageError(PRECISION_NEEDS)
    return table[LOWER_BOUND]


def ledger_column(keep: Settings) -> str:
    """The name that the column of `ranked_by` has in a ledger."""
    return LOWER_BOUND if isinstance(keep, Precision) else "confidence"


def kept_rows(keep: Keep, confidences: Confidences) -> int:
    """How many of the alive rows stay, at least one.

    Args:
        keep: The rule.
        confidences: Of the alive rows.

    Raises:
        NoSurvivorsError: No row would be kept; shows how the confidences are distributed.
    """
    rows = keep.rows(confidences)
    if rows == 0:
        raise NoSurvivorsError(_no_survivors(keep, confidences))
    return rows


def _no_survivors(keep: Settings, confidences: Confidences) -> str:
    if not len(confidences):
        return (
            "filter keeps no row: none has a confidence, for every row went before (duplicate, "
            "contaminated) or could not be scored; mend what keeps the model from answering, if "
            "that is it, and run the same command again"
        )
    if isinstance(keep, Precision):
        return (
            f"filter keeps no row: not even the best of {len(confidences)} is good with a "
            f"probability of at least {keep.precision:g}; the highest lower bound is "
            f"{max(confidences):.3f}. Ask for less, or mark more rows and calibrate again"
        )
    above = f"{keep.confidence:g}" if isinstance(keep, Confidence) else str(keep)
    return (
        f"filter keeps no row: none of {len(confidences)} is above {above}. Their confidences:\n"
        f"{histogram(confidences)}\nLower the threshold, or use {{above: median}}"
    )


def histogram(values: Confidences, *, width: int = 40) -> str:
    """Ten bars of text over [0, 1], each with its count; the largest is `width` wide."""
    counts = np.bincount(np.minimum((values * 10).astype(np.int64), 9), minlength=10).tolist()
    largest = max(*counts, 1)
    return "\n".join(
        f"{bin_ / 10:.1f}-{(bin_ + 1) / 10:.1f} {'#' * math.ceil(count / largest * width)} {count}"
        for bin_, count in enumerate(counts)
    )
