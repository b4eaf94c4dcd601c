"""A run in rounds: its batches are looked after first, what its stages ask is submitted last."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clear_pipeline.config import EMBEDDER, Config
from clear_pipeline.errors import BatchPendingError, UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.llm.batch.record import RECORD
from clear_pipeline.llm.batch.start import require_batches
from clear_pipeline.llm.budget import Budget
from clear_pipeline.stages.base import AskingStage, Stage
from clear_pipeline.store import BATCHES, CACHE


async def refuse_without_batches(config: Config, given: Mapping[str, ChatModel]) -> None:
    """Say before any work that a model of the run takes no batches.

    Args:
        config: Of the run.
        given: Ready models by role.

    Raises:
        UsageError: A model is none of an endpoint, or its endpoint has no batches.
        RunFailedError: The endpoint does not answer.
    """
    if config.mode == "live":
        return
    roles = {role for stage in config.stages for role in stage.roles()} - {EMBEDDER}
    if ready := sorted(roles & set(given)):
        raise UsageError(
            f"mode {config.mode} needs models of an endpoint, by their settings: {ready[0]} is a "
            "ready model"
        )
    await require_batches({config.model_for(role) for role in roles}, config.mode)


async def batches_of(
    config: Config, directory: Path, note: Callable[[str], None], *, answers: Path | None = None
) -> Batches | None:
    """The batches of a run, after the results that are there have been taken in.

    Args:
        config: Of the run.
        directory: Of the run.
        note: Told what becomes of the batches.
        answers: The cache that results go to; None = that of the run.

    Returns:
        None for a live run that never made a batch.

    Raises:
        UsageError: A live run would ask, and pay again, what open batches ask.
        RunFailedError: A batch has failed as a whole, or its provider cannot be asked.
    """
    folder = directory / BATCHES
    if config.mode == "live" and not (folder / RECORD).is_file():
        return None
    batches = open_batches(config, directory, note, answers=answers)
    try:
        await batches.visit(submit=config.mode != "live")
        if config.mode == "live":
            _refuse_open(batches, directory)
    except BaseException:
        await batches.close()
        raise
    return batches


def open_batches(
    config: Config,
    directory: Path,
    note: Callable[[str], None],
    *,
    answers: Path | None = None,
    read_only: bool = False,
) -> Batches:
    """The batches of a run, not looked after yet."""
    return Batches(
        directory / BATCHES,
        config.batch,
        models=config.models.values(),
        cache_path=answers or directory / CACHE,
        offline=config.mode == "offline",
        note=note,
        read_only=read_only,
    )


async def pending(
    stage: Stage,
    later: Sequence[Stage],
    models: Mapping[str, ChatModel],
    batches: Batches,
    budget: Budget,
) -> BatchPendingError:
    """Submit what a stage has asked.

    Args:
        stage: The one that waits for answers.
        later: The stages after it.
        models: Of all these stages, by role.
        batches: Of the run.
        budget: Its caps.

    Returns:
        What to tell: what is open, how many rounds are left at most, and how to come back.

    Raises:
        RunFailedError: The provider does not take the batches now.
        BudgetExceededError: A cap forbids any batch, and none is open.
    """
    await batches.submit(stage.name, budget)
    begun = max(1, batches.rounds(stage.name))
    rounds = max(1, _rounds(stage, models) - begun + 1) + sum(_rounds(s, models) for s in later)
    rest = batches.left_over
    waits = (
        f"{stage.name} waits for the answers to {batches.waiting:,} requests ({batches.progress()})"
    )
    if rest:
        waits += (
            f"; {rest:,} more have no room until a batch has ended (batch.max_enqueued_tokens, or "
            "a cap of the budget, under which an open batch counts at the most that it can take)"
        )
    left = (
        "this is the last round"
        if rounds == 1
        else f"at most {rounds} rounds are left, this one included"
    )
    run = "".join(f"\n  {command}" for command in batches.commands())
    by_hand = f"Now let an engine answer:{run}\nThen the" if run else "The"
    return BatchPendingError(
        f"{waits}. If no request fails and every answer can be read as it is asked for, {left}. "
        f"{by_hand} same command takes in what is there and goes on."
    )


def _rounds(stage: Stage, models: Mapping[str, ChatModel]) -> int:
    return stage.rounds(models) if isinstance(stage, AskingStage) else 0


def _refuse_open(batches: Batches, directory: Path) -> None:
    if batches.open():
        run = shlex.quote(str(directory))
        raise UsageError(
            f"{directory}: batches of this run are open ({batches.progress()}), and what they ask "
            "would be paid for twice. Come back with the --mode they were made in, or give them "
            f"up: clear-pipeline batch cancel {run}"
        )
