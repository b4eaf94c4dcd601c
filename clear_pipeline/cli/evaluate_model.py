"""`clear-pipeline evaluate model`: which of several models answers held-out rows better?"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from clear_pipeline.cli.consent import introduce_models
from clear_pipeline.cli.console import Json, errors, next_command, output, print_json
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.options import CapOptions, ColumnMap, Yes, column_map
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.errors import UsageError
from clear_pipeline.remote import local_directory
from clear_pipeline.report.text import visible

if TYPE_CHECKING:
    from clear_pipeline.evaluate.models import EvaluationSettings

Test = Annotated[
    str,
    typer.Argument(metavar="TEST", help="Held-out rows with their responses, in any format."),
]


@dataclass(frozen=True, kw_only=True)
class ArmOptions:
    """What is compared, and how."""

    arm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="May be given several times; the first is first."),
    ] = None
    arms: Annotated[
        Path | None, typer.Option(help="YAML with arms, judge and baseline, see docs/evaluate.md.")
    ] = None
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible endpoint of --arm and --judge.")
    ] = None
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable with their key.")
    ] = None
    api_key_file: Annotated[Path | None, typer.Option(help="File with their key.")] = None
    baseline: Annotated[
        str | None, typer.Option(help="Arm that the others are compared with; the first.")
    ] = None
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A model that marks the answers.")
    ] = None
    judge_form: Annotated[
        str | None, typer.Option(help="yes-no, rating, or preference over the baseline.")
    ] = None
    max_answer_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer in tokens; 512.")
    ] = None
    mapping: ColumnMap = None
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N test rows.")] = None

    def settings(self, budget: dict[str, Any] | None) -> EvaluationSettings:
        """As settings of an evaluation.

        Raises:
            UsageError: They contradict each other, or name no arm.
        """
        from clear_pipeline.evaluate.models import read_settings  # scikit-learn: seconds

        if self._route() and not (self.arm or self.judge):
            option = "--" + next(iter(self._route())).replace("_", "-")
            raise UsageError(f"{option} goes with --arm NAME=MODEL, or --judge MODEL")
        load = {"map": column_map(self.mapping), "limit": self.limit}
        given = {name: value for name, value in load.items() if value is not None}
        return read_settings(
            self.arms,
            arms=[self._arm(text) for text in self.arm or ()],
            baseline=self.baseline,
            judge=self._judge(),
            max_answer_tokens=self.max_answer_tokens,
            load=given or None,
            budget=budget,
        )

    def _arm(self, text: str) -> dict[str, Any]:
        name, equals, model = text.partition("=")
        if not (name and equals and model):
            raise UsageError(f"--arm {text}: expected NAME=MODEL, as in --arm tuned=my-model")
        return {"name": name, "model": self._model(model)}

    def _judge(self) -> dict[str, Any] | None:
        if self.judge is None:
            if self.judge_form is not None:
                raise UsageError("--judge-form goes with --judge MODEL")
            return None
        form = {} if self.judge_form is None else {"form": self.judge_form}
        return {"model": self._model(self.judge), **form}

    def _model(self, name: str) -> dict[str, Any]:
        return {"model": name, **self._route()}

    def _route(self) -> dict[str, Any]:
        """Where the models of --arm and --judge are asked, and with which key."""
        named = ("base_url", "api_key_env", "api_key_file")
        given = {name: getattr(self, name) for name in named}
        return {name: value for name, value in given.items() if value is not None}


@grouped
def model(
    test: Test,
    out: Annotated[
        Path,
        typer.Option(
            parser=local_directory,
            metavar="PATH",
            help="Directory of the evaluation; an existing one goes on.",
        ),
    ],
    *,
    compared: ArmOptions,
    train: Annotated[
        list[str] | None,
        typer.Option(help="Training file; warns of test rows in it. May be given several times."),
    ] = None,
    caps: CapOptions,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Ask several models the held-out rows of TEST, and compare their answers."""
    from clear_pipeline.evaluate.models import ModelEvaluation, predictions_file
    from clear_pipeline.evaluate.models.views import summary

    settings = compared.settings(caps.flags().get("budget"))
    evaluation = ModelEvaluation(settings, progress=TerminalProgress(errors))
    plan = evaluation.plan(test, train=train or ())
    for remark in plan.remarks():
        errors.print(Text(visible(remark)))
    introduce_models(settings.asked(), settings.budget, yes=yes, work="evaluation")
    with resumable():
        report = evaluation.run(plan, out=out)
    if as_json:
        print_json(report.to_json())
        return
    output.print(summary(report))
    if evaluation.spend:
        output.print(Text(evaluation.spend), soft_wrap=True)
    files = f"{out}: evaluation.json, evaluation.svg, predictions-ARM.jsonl"
    output.print(Text(files), soft_wrap=True)
    shown = out / predictions_file(settings.arms[-1].name)
    next_command(shlex.join(["head", "-n", "3", str(shown)]))
