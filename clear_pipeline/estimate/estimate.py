"""What a run will ask for, before it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from clear_pipeline.config import EMBEDDER
from clear_pipeline.estimate.chain import rehearse
from clear_pipeline.estimate.counting import Counting
from clear_pipeline.estimate.figures import Estimate, ModelNote, Need, Span, StageEstimate
from clear_pipeline.estimate.learning import Learnt, learn, learn_from_trial
from clear_pipeline.estimate.pilot import Pace, pilot
from clear_pipeline.estimate.rehearsal import Asked
from clear_pipeline.estimate.remembered import Remembered
from clear_pipeline.estimate.sample import Sample, take
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.batch.settings import Mode
from clear_pipeline.llm.pricing import price_source, prices
from clear_pipeline.model_pool import Endpoint, ModelPool
from clear_pipeline.scoring.likelihood import scores_text
from clear_pipeline.stages.base import Shard, Stage
from clear_pipeline.stages.score import Score


@dataclass(frozen=True, slots=True)
class Effort:
    """How much an estimate may take.

    Attributes:
        rows: Rows that the stages are rehearsed on.
        seconds: How long a model without a price is asked about rows of the sample.
    """

    rows: int
    seconds: float


THOROUGH: Final = Effort(rows=200, seconds=60.0)
"""Of an estimate alone."""
QUICK: Final = Effort(rows=50, seconds=4.0)
"""Of one that a run waits for."""
FIRST: Final = 60
"""Rows from the start of the data whose answers, if there are any, are learnt from."""


PILOT_ROWS: Final = 64
"""Rows that are asked for real at most, where that is free."""


async def estimate(
    stages: Sequence[Stage],
    read: Callable[[], Iterable[Shard]],
    pool: ModelPool,
    *,
    cache_path: Path,
    effort: Effort = THOROUGH,
    mode: Mode = "live",
) -> Estimate:
    """What these stages will ask; answered calls are left out, and learnt from.

    No call is made that could be paid: a server is asked what it is and to count tokens. A model
    without a price is asked about a few rows.

    Args:
        stages: Those left to run, in order.
        read: Reads all shards, with the columns of the stages that have run.
        pool: The models.
        cache_path: Answers of this run, if there are any.
        effort: How much it may take.
        mode: How the run will ask; only where it is live are rows tried.

    Raises:
        UnreachableError: A server does not answer.
        UsageError: The endpoint cannot do what a stage needs.
    """
    roles = list(dict.fromkeys(role for stage in stages for role in stage.roles()))
    with _answers(cache_path) as answers:
        endpoints = {role: await _asked(role, stages, pool, answers) for role in roles}
        counting = {r: Counting(e, embeds=r == EMBEDDER) for r, e in endpoints.items()}
        sample = take(read, rows=effort.rows, first=FIRST)
        ends = [
            await rehearse(
                stages, sample.table, endpoints, end=end, total=sample.total, answers=answers
            )
            for end in ("low", "high")
        ]
        learnt = Learnt()
        if answers is not None:
            learnt = await learn(stages, sample.first, endpoints, counting, answers)
    pace, tried = Pace(), Learnt()
    if any(ends[0].values()) and mode == "live" and all(map(_is_free, endpoints.values())):
        pace, tried = await _tried(stages, sample, pool, endpoints, counting, effort)
    lesson = learnt if learnt.lessons else tried
    lines, kinds = [], {True: Need(), False: Need()}
    for stage, role in dict.fromkeys(key for found in ends for key in found):
        whole = Need()
        for verdicts in (True, False):
            left = [
                await _left(found.get((stage, role), []), counting[role], verdicts=verdicts)
                for found in ends
            ]
            need = lesson.corrected(stage, role, _between(*left), verdicts=verdicts) * sample.scale
            whole, kinds[verdicts] = whole + need, kinds[verdicts] + need
        asked = max(_rows(found.get((stage, role), [])) for found in ends) * sample.scale
        lines.append(_line(stage, endpoints[role], whole, round(asked), batch=mode == "batch"))
    notes = {e.name: _note(e, learnt.calls(e.identity)) for e in endpoints.values()}
    minutes = pace.minutes(kinds[True], kinds[False]) if pace != Pace() else None
    return Estimate(sample.total, len(sample.table), _merged(lines), tuple(notes.values()), minutes)


async def _tried(
    stages: Sequence[Stage],
    sample: Sample,
    pool: ModelPool,
    endpoints: Mapping[str, Endpoint],
    counting: Mapping[str, Counting],
    effort: Effort,
) -> tuple[Pace, Learnt]:
    """The pace of a pilot, and what was learnt from it."""
    order = np.random.default_rng(0).permutation(len(sample.table))  # all lengths from the start
    table = sample.table.take(pa.array(order[:PILOT_ROWS]))
    pace = await pilot(stages, table, pool, seconds=effort.seconds)
    with _answers(pool.cache_path) as answers:
        if answers is None:
            return pace, Learnt()
        return pace, await learn_from_trial(stages, table, endpoints, counting, answers)


async def _asked(
    role: str, stages: Sequence[Stage], pool: ModelPool, answers: Answers | None
) -> Endpoint:
    """An endpoint, and whether it scores a given text, if that matters.

    One without a price is asked; of another one it is known only once the run has asked.
    """
    endpoint = await pool.endpoint(role)
    known = endpoint.capabilities
    scores = [s for s in stages if isinstance(s, Score) and s.wants_likelihood]
    if role != "scorer" or not scores or known.grammar or known.prompt_logprobs is not None:
        return endpoint
    able: bool | None = None
    if _is_free(endpoint):
        able = await scores_text((await pool.open([role]))[role])
    elif answers is not None:
        able = await Remembered(endpoint.identity, answers).scored_text()
    if able is None and not any(set(score.weights) - {"likelihood"} for score in scores):
        able = True  # else the run stops before it has asked anything
    return replace(endpoint, capabilities=replace(known, prompt_logprobs=able))


def _is_free(endpoint: Endpoint) -> bool:
    known = None if endpoint.settings is None else prices(endpoint.settings)
    return known is not None and known.is_free


async def _left(rows: Sequence[Sequence[Asked]], counting: Counting, *, verdicts: bool) -> Need:
    """What was not answered before, of verdicts or of all other calls."""
    calls = [call for row in rows for call in row]
    needs = await counting.needs(calls)
    return sum(
        (
            need
            for call, need in zip(calls, needs, strict=True)
            if call.usage is None and call.verdict == verdicts
        ),
        Need(),
    )


def _rows(rows: Sequence[Sequence[Asked]]) -> int:
    """How many have a call that was not answered before."""
    return sum(any(call.usage is None for call in row) for row in rows)


def _between(low: Need, high: Need) -> Need:
    def span(a: Span, b: Span) -> Span:
        return Span(min(a.low, b.low), max(a.high, b.high))

    return Need(
        span(low.calls, high.calls),
        span(low.prompt, high.prompt),
        span(low.cached, high.cached),
        span(low.completion, high.completion),
    )


def _line(stage: str, endpoint: Endpoint, need: Need, rows: int, *, batch: bool) -> StageEstimate:
    known = None if endpoint.settings is None else prices(endpoint.settings)
    return StageEstimate(stage, endpoint.name, rows, need, known, batch)


def _merged(lines: Sequence[StageEstimate]) -> tuple[StageEstimate, ...]:
    """One line per stage and model, whatever the number of roles."""
    merged: dict[tuple[str, str], StageEstimate] = {}
    for line in lines:
        old = merged.get((line.stage, line.model))
        if old is not None:
            need, rows = old.need + line.need, max(old.rows, line.rows)
            merged[line.stage, line.model] = replace(line, need=need, rows=rows)
        else:
            merged[line.stage, line.model] = line
    return tuple(merged.values())


def _note(endpoint: Endpoint, learnt: int) -> ModelNote:
    settings = endpoint.settings
    source = "that are not known" if settings is None else price_source(settings)
    return ModelNote(endpoint.name, endpoint.counter.how, learnt, source)


@contextmanager
def _answers(path: Path) -> Iterator[Answers | None]:
    if not path.is_file():
        yield None
        return
    answers = Answers(path)
    try:
        yield answers
    finally:
        answers.close()
