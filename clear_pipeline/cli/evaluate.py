"""`clear-pipeline evaluate`: does the confidence find bad rows, and does a model do better?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.arms import arms
from clear_pipeline.cli.console import Json, RunPath, next_command, output, print_json
from clear_pipeline.cli.evaluate_model import model
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.labels import LabelOptions
from clear_pipeline.errors import UsageError
from clear_pipeline.report.next_commands import next_after
from clear_pipeline.run import open_run

if TYPE_CHECKING:
    from clear_pipeline.evaluate import NamedDetection, ScoreReport

evaluate_app = typer.Typer(
    help="Measure scores against labels, and models on held-out rows.", no_args_is_help=True
)
evaluate_app.command()(model)
evaluate_app.command()(arms)


@evaluate_app.callback()
def _group() -> None:
    """Measure scores against labels, and models on held-out rows."""


@evaluate_app.command()
@grouped
def scores(
    run: RunPath,
    labels: Annotated[Path, typer.Option(help="JSONL, JSON, CSV or Parquet with marks.")],
    *,
    meaning: LabelOptions,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE, only such rows.")] = None,
    score: Annotated[
        str | None, typer.Option(help="Put first; the most refined one by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """AUROC and average precision of each score, with intervals and trivial baselines."""
    from clear_pipeline.evaluate import evaluate_scores  # scikit-learn: seconds

    marks = meaning.read(labels, where=dict(_condition(text) for text in where or ()))
    opened = open_run(run)
    report = evaluate_scores(opened, marks, score=score)
    if as_json:
        print_json(report.to_json())
        return
    output.print(_table(report))
    for line in [*_remarks(report), *marks.remarks()]:
        output.print(Text(line), soft_wrap=True)
    next_command(next_after("evaluate", opened))


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--where {text}: expected COLUMN=VALUE")
    return name, value


def _table(report: ScoreReport) -> Table:
    table = Table(title="Finding bad rows (0.5 is chance)", title_justify="left")
    table.add_column("score")
    for name in ("rows", "bad", "AUROC [95 %]", "average precision [95 %]"):
        table.add_column(name, justify="right")
    for named in report.scores:
        table.add_row(*_cells(named))
    table.add_section()
    for named in report.baselines:
        table.add_row(*_cells(named, prefix="trivial: "))
    return table


def _cells(named: NamedDetection, prefix: str = "") -> tuple[str, ...]:
    found = named.detection
    auroc = found.auroc.shown()
    if prefix and named.best_direction > found.auroc.value:
        auroc += f" ({named.best_direction:.3f} the other way round)"
    precision = found.average_precision.shown()
    return (prefix + named.name, str(found.n), str(found.n_bad), auroc, precision)


def _remarks(report: ScoreReport) -> list[str]:
    lines = [f"labels matched by {report.matched_by}"]
    if report.weighted:
        lines.append("each label counts for as many rows as its weight says")
    for count, one, several in (
        (
            len(report.unscored),
            "labelled row has no such score",
            "labelled rows have no such score",
        ),
        (report.unmatched, "label matches no row of the run", "labels match no row of the run"),
        (
            report.ambiguous,
            "label matches several rows and is left out",
            "labels match several rows and are left out",
        ),
    ):
        if count:
            lines.append(f"{count} {one if count == 1 else several}")
    if report.fitted_on is None:
        lines.append(
            "the calibration was fitted on marks, its file does not say of which rows: if they are "
            "among the labels, calibrated and p_good_low may look too good"
        )
    elif report.fitted_on:
        lines.append(
            f"{report.fitted_on} of the labelled rows are marks that the calibration was fitted "
            "on: calibrated and p_good_low may look too good; labels of other rows tell"
        )
    return [*lines, *_on_cascade(report)]


def _on_cascade(report: ScoreReport) -> list[str]:
    """What the draws of the cascade were worth on these labels, in AUROC."""
    effect = report.cascade
    if effect is None:
        return []
    line = f"cascade: AUROC {effect.gained.shown(signed=True)} against the cheap pass alone, paired"
    if effect.lost is None:
        return [f"{line}; what it lost against draws for every row shows with cascade.band=1"]
    saved = (
        f"a band of {effect.band:g} would have saved {1 - effect.band:.0%} of the draws, at an "
        f"AUROC of {effect.lost.shown(signed=True)} against draws for every row"
    )
    return [line, saved]
