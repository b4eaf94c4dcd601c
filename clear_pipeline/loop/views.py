"""What the command line shows of a loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clear_pipeline.evaluate.models.metrics import LABELS
from clear_pipeline.evaluate.models.report import Figure, figure_of
from clear_pipeline.evaluate.models.views import said
from clear_pipeline.llm.budget import count_of
from clear_pipeline.loop.measure import arm_of
from clear_pipeline.loop.record import LoopRecord, RoundRecord, Spent
from clear_pipeline.loop.stop import gain_of
from clear_pipeline.schema import Fate

_FEW: Final = 100
"""Test rows below which an interval is wider than the gains that rounds bring."""
_DROPPED = (Fate.FILTERED, Fate.UNSCORED, Fate.DUPLICATE, Fate.CONTAMINATED, Fate.QUARANTINED)


def summary(record: LoopRecord) -> RenderableType:
    """A table of the rounds, then what to know of them."""
    metric = LABELS[record.metric]
    title = f"{count_of(len(record.rounds), 'round')}, measured on {record.test_rows:,} rows"
    table = Table(title=title, title_justify="left")
    table.add_column("model", no_wrap=True)
    for name in ("rows", f"{metric}\n[95 %]", "gain\n[95 %]", "spent"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in record.references:
        table.add_row(each.name, "", _mean(each.figures, record.metric), "", "")
    for done in record.rounds:
        table.add_row(*_cells(done, record.metric))
    return Group(table, *(Text(line) for line in remarks(record)))


def _cells(done: RoundRecord, metric: str) -> list[str]:
    rows, gain = done.rows, gain_of(done, metric)
    counts = {
        "kept": rows.get(Fate.KEPT, 0),
        "rectified": rows.get(Fate.RECTIFIED, 0),
        "dropped": sum(rows.get(fate, 0) for fate in _DROPPED),
        "trained on": done.train_rows,
    }
    return [
        arm_of(done.round),
        "\n".join(f"{count:,} {name}" for name, count in counts.items()),
        _mean(done.figures, metric),
        "-" if gain is None else gain.shown(signed=True).replace(" ", "\n", 1),
        _spent(done.spent),
    ]


def _mean(figures: Sequence[Figure], metric: str) -> str:
    figure = figure_of(figures, metric)
    if figure is None or figure.value is None:
        return "-"
    return figure.value.shown().replace(" ", "\n", 1)


def _spent(spent: Spent) -> str:
    usd = f"\n${spent.usd:,.4f}" if spent.usd else ""
    return f"{count_of(spent.calls, 'call')}{usd}"


def remarks(record: LoopRecord) -> Iterator[str]:
    """What to know beside the table, a line each."""
    for done in record.rounds:
        gain = gain_of(done, record.metric)
        if gain is None:
            yield f"round {done.round}: {LABELS[record.metric]} says nothing of any test row"
        elif done.gains:
            yield f"round {done.round} is {said(gain)} beside {done.compared_with}"
        else:
            yield f"round {done.round} has the model of {done.compared_with}: no row is new"
        for leak in done.leaks:
            found = leak.rows + leak.prompts
            yield f"round {done.round}: leak: {found:,} of the test rows stand in {leak.file}"
        if ended := done.training.get("ended"):
            yield f"round {done.round}, training: {ended}"
    if record.test_rows < _FEW:
        rows = count_of(record.test_rows, "test row")
        yield f"{rows}: an interval so wide tells gains of some percent from nothing only by luck"
    if not record.test:
        yield (
            "the test rows are rows of DATA that the filter keeps, with the responses that they "
            "came with; rows that people have checked tell more: --test FILE"
        )
    spent = record.spent
    usd = f", ${spent.usd:,.4f}" if spent.usd else ""
    yield f"spent: {count_of(spent.calls, 'call')}, {count_of(spent.tokens, 'token')}{usd}"
    if (best := record.best) is not None:
        luck = (
            "; chosen by the test rows that it is measured on, its figure is in part luck"
            if len(record.rounds) > 1
            else ""
        )
        yield f"best of the rounds: {best.round}, {best.model.model}{luck}"
    if record.ended is not None:
        yield f"ended: {record.ended}"
