"""What the cascade asked, what it saved, and whether the threshold still lies where it asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich.table import Table

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.pricing import cost
from clear_pipeline.report.row_calls import config_of, role_prices
from clear_pipeline.report.threshold import compared_column
from clear_pipeline.run import Run
from clear_pipeline.stages.band import around
from clear_pipeline.stages.cascade import COLUMNS as STAGE_COLUMNS
from clear_pipeline.stages.usage import TOKENS

COLUMNS = ("cascade_step", "cascade_error", "cascade_cost")
"""Ledger columns that `CascadeUse.of` reads."""
RANKED = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("keep", pa.bool_()),
        *(STAGE_COLUMNS.field(name) for name in COLUMNS),
    ]
)
"""What `threshold_warning` reads."""


@dataclass(frozen=True, slots=True)
class CascadeUse:
    """What the sampled pass took.

    Attributes:
        rows: Rows that the cheap pass scored.
        band: Rows of the band.
        asked: Rows among them that were asked; the others do without draws (`draw_for`,
            `longest_answer`).
        failed: Rows among those asked that kept the score of the cheap pass.
        calls: Questions for them, answers from the cache included.
        usage: Tokens for them, as they cost when they were asked.
    """

    rows: int
    band: int
    asked: int
    failed: int
    calls: int
    usage: Usage

    @classmethod
    def of(cls, ledger: pa.Table) -> CascadeUse:
        """Add up `COLUMNS` of ledger lines; those that the cascade did not see do not count."""
        seen = ledger.filter(pc.is_valid(ledger["cascade_step"]))
        costs = seen["cascade_cost"].drop_null()
        calls = pc.struct_field(costs, "calls")
        tokens = {name: _total(pc.struct_field(costs, name)) for name in TOKENS}
        return cls(
            rows=seen.num_rows,
            band=len(costs),
            asked=_total(pc.greater(calls, 0)),
            failed=len(seen["cascade_error"].drop_null()),
            calls=_total(calls),
            usage=Usage(**tokens),
        )

    def __add__(self, other: CascadeUse) -> CascadeUse:
        return CascadeUse(
            self.rows + other.rows,
            self.band + other.band,
            self.asked + other.asked,
            self.failed + other.failed,
            self.calls + other.calls,
            self.usage + other.usage,
        )

    def for_rows(self, rows: int) -> tuple[int, int]:
        """Estimate: calls and tokens of so many rows at the mean of the band; 0 if it is empty."""
        share = rows / self.band if self.band else 0.0
        tokens = self.usage.prompt + self.usage.completion
        return round(self.calls * share), round(tokens * share)

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values, with the estimate of what was saved."""
        calls, tokens = self.for_rows(self.rows - self.band)
        return {**asdict(self), "saved_calls": calls, "saved_tokens": tokens}


def in_band(ledger: pa.Table) -> pa.ChunkedArray:
    """Which rows were to be asked; without a call if draws say nothing."""
    return pc.is_valid(ledger["cascade_cost"])


def _total(values: pa.ChunkedArray) -> int:
    return int(pc.sum(values).as_py() or 0)


def cascade_use(run: Run) -> CascadeUse | None:
    """The use of a finished run; None without a cascade.

    Raises:
        UsageError: The run has no ledger yet.
    """
    if "cascade" not in run.manifest.chain:
        return None
    parts = (pa.Table.from_batches([batch]) for batch in run.ledger_batches(COLUMNS))
    return sum(map(CascadeUse.of, parts), CascadeUse(0, 0, 0, 0, 0, Usage()))


def cascade_table(use: CascadeUse) -> Table:
    """For the end of a run and `status`."""
    table = Table(title="cascade", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows asked for draws", f"{use.asked:,} of {use.rows:,}")
    if use.failed:
        table.add_row("… of them failed: the cheap score stays", f"{use.failed:,}")
    table.add_row("calls", f"{use.calls:,}")
    table.add_row("tokens", f"{use.usage.prompt + use.usage.completion:,}")
    if use.asked:
        table.add_row("saved on the rows outside the band, at its mean", _saved(use))
    return table


def cascade_lines(run: Run) -> tuple[str, ...]:
    """For the report: the use in a sentence, and the warning if there is one."""
    use = cascade_use(run)
    if use is None or use.asked == 0:
        return ()
    line = (
        f"cascade: {use.asked:,} of {use.rows:,} rows were asked for draws, with {use.calls:,} "
        f"calls and {use.usage.prompt + use.usage.completion:,} tokens; saved on those outside "
        f"the band, at its mean per row: {_saved(use)}"
    )
    warning = moved_warning(run)
    return (line,) if warning is None else (line, warning)


def _saved(use: CascadeUse) -> str:
    calls, tokens = use.for_rows(use.rows - use.band)
    return f"about {calls:,} calls, {tokens:,} tokens ({1 - use.band / use.rows:.0%})"


def moved_warning(run: Run) -> str | None:
    """Says so where the run's filter decides among rows that the cascade did not ask.

    Raises:
        UsageError: The run has no ledger yet.
    """
    record = run.manifest.stage("filter")
    if record is None or not {"cascade", "filter"} <= {*run.manifest.chain}:
        return None
    names = {"id": "id", compared_column(run): "confidence", "keep": "keep"}
    ledger = run.ledger([*names, *COLUMNS]).rename_columns([*names.values(), *COLUMNS])
    return threshold_warning(
        run, ledger.filter(pc.is_valid(ledger["keep"])), record.settings["keep"]
    )


def threshold_warning(run: Run, rows: pa.Table, keep: Mapping[str, Any]) -> str | None:
    """What a threshold outside the cascade's band leaves to the cheap pass, and what that saves.

    Args:
        run: A run with a cascade.
        rows: Those that a filter ranks, in the columns of `RANKED`: `confidence` is what it ranks
            them by, `keep` whether they are above the threshold.
        keep: The rule that says so.

    Returns:
        None where the rows at the threshold were asked, or nothing was asked at all.
    """
    order = pc.sort_indices(rows, [(name, "descending") for name in ("keep", "confidence", "id")])
    kept = _total(rows["keep"])
    near = cheap_rows_near(in_band(rows).take(order).to_numpy(), kept=kept)
    if near == 0:
        return None
    use = CascadeUse.of(rows)
    calls, tokens = use.for_rows(near)
    known = role_prices(run, config_of(run), "scorer")
    price = (
        ""
        if known is None or known.is_free or not use.band
        else f", ${cost(use.usage, known) * near / use.band:,.4f}"
    )
    form, value = next(iter(keep.items()))
    if form == "precision":  # known after calibration only: the share of rows that it dropped
        form, value = "quantile", round(1 - kept / rows.num_rows, 3)
    return (
        f"{near:,} rows near the threshold were scored by reflection only, since the cascade's "
        f"band lies elsewhere; rescoring them costs about {calls:,} calls, {tokens:,} "
        f"tokens{price}: --set stages.cascade.keep.{form}={value}"
    )


def cheap_rows_near(asked: NDArray[np.bool_], *, kept: int) -> int:
    """Rows around a threshold that were not asked, if it lies outside the band.

    Args:
        asked: Per row, the most confident first, whether the cascade asked about it.
        kept: Rows above the threshold.

    Returns:
        0 where a row beside the threshold was asked; else how many were not among the rows that
        a band of the same size around it would hold.
    """
    if kept == len(asked) or asked[max(kept - 1, 0) : kept + 1].any():
        return 0
    near = around(kept, total=len(asked), size=int(asked.sum()))
    return int((~asked[near.start : near.stop]).sum())
