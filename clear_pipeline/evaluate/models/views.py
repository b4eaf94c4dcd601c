"""What the command line shows of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clear_pipeline.evaluate.models.metrics import LABELS
from clear_pipeline.evaluate.models.report import (
    ArmReport,
    EvaluationReport,
    Figure,
    GroupReport,
    figure_of,
)
from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.llm.budget import count_of
from clear_pipeline.report.text import one_line


def summary(report: EvaluationReport) -> RenderableType:
    """The means of all groups, what they differ by from the baseline, then what to know of them."""
    parts: list[RenderableType] = [_means(report)]
    if report.differences:
        parts += ["", _differences(report)]
    return Group(*parts, *(Text(line) for line in remarks(report)))


def _means(report: EvaluationReport) -> Table:
    metrics = [m for m in LABELS if any(figure_of(g.figures, m) for g in report.groups)]
    table = Table(
        title=f"{one_line(report.dataset, 60)}: {report.rows:,} held-out rows, mean [95 %]",
        title_justify="left",
    )
    table.add_column("arm")
    table.add_column("answered", justify="right")
    for metric in metrics:
        table.add_column(LABELS[metric], justify="right", no_wrap=True)
    for group in report.groups:
        cells = [_mean(figure_of(group.figures, metric)) for metric in metrics]
        table.add_row(Text(_name(group)), _answered(report, group), *cells)
    return table


def _differences(report: EvaluationReport) -> Table:
    table = Table(title=f"Minus {report.baseline}, on the same rows", title_justify="left")
    table.add_column("arm")
    table.add_column("metric")
    table.add_column("rows", justify="right")
    table.add_column("difference [95 %]", justify="right", no_wrap=True)
    table.add_column("the arm is")
    for difference in report.differences:
        for number, figure in enumerate(difference.figures):
            if figure.value is not None:
                name = Text("" if number else difference.group)
                shown = figure.value.shown(signed=True)
                table.add_row(
                    name, LABELS[figure.metric], f"{figure.rows:,}", shown, said(figure.value)
                )
        table.add_section()
    return table


def said(difference: Estimate) -> str:
    """What an interval says: better or worse where it leaves out 0."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not shown to differ"


def remarks(report: EvaluationReport) -> Iterator[str]:
    """What to know beside the tables, a line each."""
    for arm in report.arms:
        yield from _remarks_on(arm, report)
    if any(len(group.arms) > 1 for group in report.groups):
        yield (
            "intervals of arms with several seeds are over seeds and rows; from fewer than five "
            "seeds they are too narrow"
        )
    if report.judge is not None:
        yield f"judge: {report.judge}; it did not see the references"
    for leak in report.leaks:
        if found := leak.rows + leak.prompts:
            yield f"leak: {found:,} of {report.rows:,} test rows stand in {leak.file}"
    if report.left_out:
        yield f"left out: {count_of(report.left_out, 'row')} of the test file that cannot be used"


def _remarks_on(arm: ArmReport, report: EvaluationReport) -> Iterator[str]:
    lost = report.rows - arm.answered
    if lost:
        exact = figure_of(arm.figures, "exact_match")
        over = "" if exact is None or exact.answered is None else (
            f"; exact match over the {arm.answered:,} answered rows: {exact.answered.shown()}"
        )  # fmt: skip
        yield (
            f"{arm.name}: {lost:,} of {report.rows:,} rows not answered "
            f"({_counts(arm.unanswered)}), each counts 0{over}"
        )
    if arm.cut:
        cut = count_of(arm.cut, "answer")
        yield f"{arm.name}: {cut} cut at {report.max_answer_tokens:,} tokens"
    if arm.unjudged:
        yield f"{arm.name}: answers without a mark of the judge: {_counts(arm.unjudged)}"


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())


def _name(group: GroupReport) -> str:
    return group.name if len(group.arms) == 1 else f"{group.name} ({len(group.arms)} seeds)"


def _answered(report: EvaluationReport, group: GroupReport) -> str:
    arms = [arm for arm in report.arms if arm.name in group.arms]
    return f"{sum(arm.answered for arm in arms):,} of {report.rows * len(arms):,}"


def _mean(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "-"
    return figure.value.shown().replace(" ", "\n", 1)
