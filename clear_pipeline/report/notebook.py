"""A run in a notebook: plots, and what another threshold would do. Nothing here calls a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from clear_pipeline.errors import NoSurvivorsError, UsageError
from clear_pipeline.report.adapter import fate_counts
from clear_pipeline.report.cascade import COLUMNS as CASCADE_COLUMNS
from clear_pipeline.report.cascade import RANKED, threshold_warning
from clear_pipeline.report.html import environment
from clear_pipeline.report.plots import funnel_figure, histogram_figure
from clear_pipeline.report.scores import distribution, threshold_of
from clear_pipeline.report.threshold import compared_column, keep_of
from clear_pipeline.report.words import PARTS
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from clear_pipeline.stages.confidence import Key
from clear_pipeline.stages.filter import (
    KEEP_FORMS,
    Confidence,
    Filter,
    Keep,
    ranked_by,
)

_RANKED = (Fate.KEPT, Fate.FILTERED, Fate.RECTIFIED)
"""Fates of the rows that a filter compares with its threshold."""

LISTED_ROWS = 1_000
"""Changed rows that a preview lists; their texts are read from the run."""


@dataclass(frozen=True)
class ThresholdPreview:
    """What a filter with another `keep` would do to a finished run.

    Attributes:
        threshold: The lowest confidence that stays; for `{confidence: c}` c itself, for
            `{precision: p}` the lowest `p_good_low`, as `confidence` in `changed` is too.
        counts: Per fate the rows `now`, `then` and the `change`.
        changed: Rows that would be kept instead of filtered or the reverse, nearest to the
            threshold first: `id`, `confidence`, `now`, `then`, `prompt`, `response`. `counts`
            has the true number where not all are listed.
        new_candidates: Rows among those `then` filtered for which rectify would first ask for a
            candidate; a real run may rectify some. 0 where the chain has no rectify.
        warning: Rows near the threshold that the cascade did not ask, and what asking costs; None
            where there are none.
    """

    threshold: float
    counts: pd.DataFrame
    changed: pd.DataFrame
    new_candidates: int
    warning: str | None = None


def funnel(run: Run) -> go.Figure:
    """Where the rows went, step by step."""
    return funnel_figure(fate_counts(run))


def histogram(run: Run, column: str = "confidence", *, threshold: float | None = None) -> go.Figure:
    """How a score is distributed, by fate.

    Args:
        run: A finished run.
        column: `confidence` or one of its parts.
        threshold: Where to draw the line; None = the run's own, for the column that the filter
            compared with it: `confidence`, or `p_good_low` with a precision.

    Raises:
        UsageError: The run has no such score.
    """
    found = distribution(run, column)
    if found is None:
        raise UsageError(f"{run.path}: no row has a {column}; run it with the score stage")
    if threshold is None and column == compared_column(run):
        threshold = threshold_of(run)
    title = PARTS[column].label if column in PARTS else column.capitalize()
    return histogram_figure(found.histogram, title=title, threshold=threshold)


def move_threshold(
    run: Run, keep: Mapping[str, Any], *, rows: int = LISTED_ROWS
) -> ThresholdPreview:
    """Preview another threshold, from what the run holds and by the filter's own rule.

    Rectified rows stay rectified here. A rerun with rectify's `scope: low` would leave those that
    come to lie above the threshold as they were; they are exported either way.

    Args:
        run: A finished run with scores.
        keep: As in a config: `{"above": "median"}`, `{"quantile": 0.3}`, `{"confidence": 0.7}`,
            `{"count": 5000}`, `{"precision": 0.95}`.
        rows: Changed rows that are listed at most.

    Raises:
        UsageError: `keep` has another form, or the run has no scores.
        NoSurvivorsError: No row would stay.
    """
    rule = _rule(keep)
    ranked = _ranked(run, rule)
    stays, threshold = _cut(run, ranked, rule)
    fate = {True: Fate.KEPT.value, False: Fate.FILTERED.value}
    frame = pd.DataFrame(ranked).rename(columns={"fate": "now"})
    frame["then"] = (
        frame["id"]
        .isin(stays)
        .map(fate)
        .where(frame["now"] != Fate.RECTIFIED, Fate.RECTIFIED.value)
    )
    changed = _nearest(frame[frame["now"] != frame["then"]], threshold).head(rows)
    unasked = frame["rectified"].isna() & (frame["then"] == Fate.FILTERED)
    return ThresholdPreview(
        threshold=threshold,
        counts=_counts(run, frame),
        changed=_with_texts(run, changed[["id", "confidence", "now", "then"]]),
        new_candidates=int(unasked.sum()) if "rectify" in run.manifest.chain else 0,
        warning=_warning(run, ranked, stays, keep) if _cascaded(run) else None,
    )


def margin(run: Run, threshold: float | None = None, *, rows: int = 10) -> pd.DataFrame:
    """The rows nearest to a threshold with their texts: the ones to read before it is moved.

    `confidence` is what the run's filter goes by; with a precision that is `p_good_low`.

    Args:
        run: A finished run with scores.
        threshold: In [0, 1], of what the filter goes by; None = the run's own.
        rows: At most so many.

    Raises:
        UsageError: The run has no scores, or no threshold and none is given.
    """
    ranked = _ranked(run, keep_of(run))
    if threshold is None:
        threshold = threshold_of(run)
    if threshold is None:
        raise UsageError(f"{run.path}: no filter ran; give a threshold")
    frame = _nearest(pd.DataFrame(ranked)[["id", "fate", "confidence"]], threshold).head(rows)
    return _with_texts(run, frame.sort_values("confidence", ignore_index=True))


def to_read(sample: pd.DataFrame) -> str:
    """Whole rows for a person to read and mark, as HTML: the texts escaped, nothing invisible.

    Args:
        sample: With `id`, `prompt`, `response`, as `marking.sample_to_mark` gives them.
    """
    rows = sample[["id", "prompt", "response"]].to_dict("records")
    return environment().get_template("to_read.html.j2").render(rows=rows)


def _rule(keep: Mapping[str, Any]) -> Keep:
    try:
        return Filter.model_validate({"keep": dict(keep)}).keep
    except ValidationError as error:
        raise UsageError(f"keep={dict(keep)!r}: expected one of {KEEP_FORMS}") from error


def _ranked(run: Run, rule: Keep) -> list[dict[str, Any]]:
    """Ledger lines of the rows that a filter looks at; `confidence` is what it ranks them by."""
    whole = run.ledger()
    cascade = CASCADE_COLUMNS if _cascaded(run) else ()
    ledger = whole.select(["id", "fate", "rectified", *cascade])
    ledger = ledger.append_column("confidence", ranked_by(rule, whole))
    ledger = ledger.filter(pc.is_valid(ledger["confidence"]))
    rows: list[dict[str, Any]] = [row for row in ledger.to_pylist() if row["fate"] in _RANKED]
    if not rows:
        raise UsageError(f"{run.path}: no row has a confidence; run it with the score stage")
    return rows


def _warning(
    run: Run, rows: list[dict[str, Any]], stays: set[str], keep: Mapping[str, Any]
) -> str | None:
    lines = [{**row, "keep": row["id"] in stays} for row in rows]
    return threshold_warning(run, pa.Table.from_pylist(lines, schema=RANKED), keep)


def _cascaded(run: Run) -> bool:
    return "cascade" in run.manifest.chain


def _cut(run: Run, rows: list[dict[str, Any]], rule: Keep) -> tuple[set[str], float]:
    """Ids that stay, and the threshold. Texts are hashed into the order only where they decide."""
    keys: list[Key] = sorted(((row["confidence"], "", row["id"]) for row in rows), reverse=True)
    count = rule.rows(np.array([key[0] for key in keys]))
    if count == 0:
        raise NoSurvivorsError(f"{rule}: no row stays; the highest confidence is {keys[0][0]:.3f}")
    if count < len(keys) and keys[count - 1][0] == keys[count][0]:
        hashes = run.content_hashes()
        keys = sorted(((key[0], hashes[key[2]], key[2]) for key in keys), reverse=True)
    threshold = rule.confidence if isinstance(rule, Confidence) else keys[count - 1][0]
    return {row_id for _, _, row_id in keys[:count]}, threshold


def _counts(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    now = pd.Series({fate.value: rows for fate, rows in fate_counts(run).items()})
    moved = frame["then"].value_counts().sub(frame["now"].value_counts(), fill_value=0)
    change = moved.reindex(now.index, fill_value=0).astype(int)
    return pd.DataFrame({"now": now, "then": now + change, "change": change})


def _nearest(frame: pd.DataFrame, threshold: float) -> pd.DataFrame:
    distance = (frame["confidence"] - threshold).abs()
    order = distance.sort_values(kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _with_texts(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    texts = run.texts(frame["id"].tolist())
    return frame.assign(
        prompt=[texts[row_id].prompt for row_id in frame["id"]],
        response=[texts[row_id].response for row_id in frame["id"]],
    )
