"""`clear-pipeline finetune --search`: settings are searched for before the model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import output
from clear_pipeline.errors import UsageError
from clear_pipeline.finetune import SearchableTrainer, Trainer, TrainingContext, TrainingData
from clear_pipeline.own_loop import in_own_loop

if TYPE_CHECKING:
    from clear_pipeline.finetune.search import Axis, SearchReport, SearchSettings, Trial

_LISTED = 20
"""Trials in the table; all stand in `search.json`."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Whether settings are searched for, and how long."""

    search: Annotated[
        str | None,
        typer.Option(
            metavar="HOW", help="Search for settings first: bayes, grid or a YAML file, see docs."
        ),
    ] = None
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of --search; 20, or the whole grid.")
    ] = None

    def plan(self, trainer: Trainer) -> SearchPlan | None:
        """The search that is asked for; None = none.

        Raises:
            UsageError: The trainer cannot be searched, or the file is wrong.
        """
        if self.search is None:
            if self.trials is not None:
                raise UsageError("--trials goes with --search")
            return None
        from clear_pipeline.finetune.search import read_search

        settings, axes = read_search(self.search, trainer, trials=self.trials)
        assert isinstance(trainer, SearchableTrainer)  # noqa: S101  # else it was refused
        return SearchPlan(trainer, settings, axes)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A search for the settings of a trainer."""

    trainer: SearchableTrainer
    settings: SearchSettings
    axes: tuple[Axis, ...]

    def run(self, data: TrainingData, ctx: TrainingContext) -> tuple[Trainer, SearchReport]:
        """The trainer with the settings that were found, and what the search came to."""
        from clear_pipeline.finetune.search import search, with_values

        report = in_own_loop(search(self.trainer, data, ctx, self.settings, self.axes))
        return with_values(self.trainer, report.chosen.settings), report


def show_search(report: SearchReport) -> None:
    """The trials, and the choice in words."""
    output.print(_table(report))
    for line in report.words:
        output.print(Text(line), soft_wrap=True)


def _table(report: SearchReport) -> Table:
    from clear_pipeline.finetune.search.report import shown_value

    folds = f", mean over {report.folds} folds" if report.folds > 1 else ""
    table = Table(title=f"Validation losses of the trials{folds}", title_justify="left")
    table.add_column("trial", justify="right")
    for name in report.given:
        table.add_column(name, justify="right")
    table.add_column("loss", justify="right", no_wrap=True)
    if report.folds > 1:
        table.add_column("of folds", justify="right", no_wrap=True)
    table.add_column("minus the best [95 %]", justify="right", no_wrap=True)
    table.add_column("")
    for trial in report.trials[:_LISTED]:
        values = [Text(shown_value(value)) for value in trial.settings.values()]
        table.add_row(f"{trial.number}", *values, *_losses(report, trial), _remark(report, trial))
    if more := len(report.trials) - _LISTED:
        table.caption = f"and {more} more in search.json" if more > 0 else None
    return table


def _losses(report: SearchReport, trial: Trial) -> list[str]:
    several = report.folds > 1
    if trial.state == "failed":
        return ["-"] * (3 if several else 2)
    spread = [f"{min(trial.losses):.4f} to {max(trial.losses):.4f}"] if several else []
    return [f"{trial.loss:.4f}", *spread, _beside(report, trial)]


def _beside(report: SearchReport, trial: Trial) -> str:
    apart = report.beside_best.get(trial.number)
    if apart is None:
        return ""
    if apart.low is None or apart.high is None:
        return f"{apart.mean:+.4f}"
    return f"{apart.mean:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"


def _remark(report: SearchReport, trial: Trial) -> str:
    remarks: list[str] = [] if trial.state == "finished" else [trial.state]
    if trial.number == report.chosen.number:
        remarks.append("chosen")
    if trial.number == report.given_trial:
        remarks.append("as given")
    return ", ".join(remarks)
