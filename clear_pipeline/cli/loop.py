"""`clear-pipeline loop`: rounds of CLEAR with trained models, in one resumable command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from clear_pipeline.cli.consent import ask_models, refuse_models_unattended, show_models_of
from clear_pipeline.cli.console import (
    Json,
    errors,
    next_command,
    output,
    print_json,
    tell,
    this_command,
)
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.options import CapOptions, ChainOptions, Data, Yes
from clear_pipeline.cli.price import PriceOptions
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.errors import BatchPendingError
from clear_pipeline.estimate import Estimate, words
from clear_pipeline.finetune import TRAINERS
from clear_pipeline.finetune.registry import DEFAULT_TRAINER
from clear_pipeline.remote import local_directory
from clear_pipeline.schema import Fate

if TYPE_CHECKING:
    from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
    from clear_pipeline.loop import LoopConfig, LoopRecord


@dataclass(frozen=True, kw_only=True)
class LoopOptions(ChainOptions):
    """What a loop has beside its chain."""

    trainer: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(TRAINERS)}; default {DEFAULT_TRAINER}. Its settings: --set "
            "trainer.KEY=VALUE; general rows: --set trainer.mix.data=FILE."
        ),
    ] = None
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds at most; 1.")] = None
    min_gain: Annotated[
        float | None, typer.Option(min=0, max=1, help="A round that gains less is the last; 0.005.")
    ] = None
    metric: Annotated[str | None, typer.Option(help="token_f1 or exact_match.")] = None
    test: Annotated[
        Path | None, typer.Option(help="Held-out rows; default: some that the filter keeps.")
    ] = None

    def plan(self, caps: CapOptions) -> LoopConfig:
        """The loop that the options make.

        Raises:
            UsageError: They contradict each other, or say what no loop can be.
        """
        from clear_pipeline.loop import build_loop  # scikit-learn: seconds

        own = {"rounds": self.rounds, "min_gain": self.min_gain, "metric": self.metric}
        return build_loop(
            self.config,
            trainer=self.trainer,
            given={name: value for name, value in own.items() if value is not None},
            test=self.test,
            assignments=self.assignments,
            **self.chain(**caps.flags()),
        )


@grouped
def loop(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            parser=local_directory,
            metavar="PATH",
            help="Directory of the loop; an existing one goes on.",
        ),
    ],
    *,
    how: LoopOptions,
    caps: CapOptions,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Rounds of score, filter, train, candidates, judge, train; measured on held-out rows."""
    from clear_pipeline.loop import Loop
    from clear_pipeline.loop.round import Consent
    from clear_pipeline.loop.views import summary

    plan = how.plan(caps)
    models = plan.asked(plan.trainer.base_model())
    agreed = _Agreed(models, plan.config.budget, yes=yes)
    agreed.refuse_unattended()
    show_models_of(plan.asked(None))
    errors.print(Text(f"trainer: {plan.trainer.name}"))
    consent = Consent(agreed.begin, agreed.calls, PriceOptions(yes=yes).agree)
    made = Loop(plan, progress=TerminalProgress(errors), consent=consent)
    try:
        with resumable():
            record = made.run(data, out=out)
    except BatchPendingError as waiting:
        tell(str(waiting))
        next_command(this_command())
        raise typer.Exit(waiting.exit_code) from None
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    output.print(summary(record))
    output.print(Text(f"{out}: loop.json, loop.svg, round-N"), soft_wrap=True)
    next_command(_next(out, record))


class _Agreed:
    """Asks once a loop whether it may spend, and tells what each run is about to ask.

    Args:
        models: That are asked.
        budget: The caps.
        yes: Whether it was agreed to on the command line.
    """

    def __init__(
        self, models: tuple[ModelSettings, ...], budget: BudgetSettings, *, yes: bool
    ) -> None:
        self._models = models
        self._budget = budget
        self._agreed = yes

    def refuse_unattended(self) -> None:
        """Stop before anything is read if nobody can be asked."""
        if not self._agreed:
            refuse_models_unattended(self._models, self._budget, work="loop")

    def begin(self, estimate: Estimate) -> None:
        """Tell what the first round will ask, and ask."""
        errors.print(Text(f"estimate of a round, its trainings aside: {words.summary(estimate)}"))
        for told in words.caps(estimate, self._budget):
            errors.print(Text(told))
        self._ask()

    def calls(self, estimate: Estimate) -> None:
        """Tell what a run is about to ask; ask, where nobody has agreed yet."""
        if estimate.need.calls.high == 0:
            return
        errors.print(Text(f"estimate: {words.summary(estimate)}"))
        if estimate.usd is None or estimate.usd.high > 0:
            self._ask()

    def _ask(self) -> None:
        if not self._agreed:
            ask_models(self._models, self._budget, work="loop")
            self._agreed = True


def _next(out: Path, record: LoopRecord) -> str:
    """To the rows that were rectified; where there are none, to what the last run shows."""
    last = record.rounds[-1]
    folder = out / f"round-{last.round}"
    if last.rows.get(Fate.RECTIFIED):
        return shlex.join(["clear-pipeline", "rows", str(folder / "run"), "--fate", Fate.RECTIFIED])
    return shlex.join(["clear-pipeline", "report", str(folder / "run")])
