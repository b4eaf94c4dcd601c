"""What the stages of a run ask about some of its rows, counted, corrected and scaled to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from clear_pipeline.config import EMBEDDER
from clear_pipeline.estimate.chain import ENDS, ByRow, rehearse
from clear_pipeline.estimate.counting import Counting
from clear_pipeline.estimate.figures import Estimate, ModelNote, Need, Span, StageEstimate
from clear_pipeline.estimate.learning import Learning, Learnt
from clear_pipeline.estimate.pilot import Pace
from clear_pipeline.estimate.rehearsal import Asked
from clear_pipeline.estimate.remembered import Remembered
from clear_pipeline.estimate.sample import Sample
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.meter import Amount
from clear_pipeline.llm.pricing import price_source, prices
from clear_pipeline.model_pool import Endpoint, ModelPool
from clear_pipeline.scoring.likelihood import scores_text
from clear_pipeline.stages.base import Stage
from clear_pipeline.stages.score import Score


@dataclass(frozen=True, slots=True)
class Outlook:
    """Some rows of a run, whom its stages ask about them, and what was answered.

    Attributes:
        stages: Those left to run, in order.
        sample: Of the rows.
        endpoints: By role.
        counting: By role.
        answers: Given so far, as they were when `spent` was spent; None if there are none.
        spent: By the run so far; what open batches ask is to come.
    """

    stages: Sequence[Stage]
    sample: Sample
    endpoints: Mapping[str, Endpoint]
    counting: Mapping[str, Counting]
    answers: Answers | None
    spent: Amount

    @classmethod
    async def of(
        cls,
        stages: Sequence[Stage],
        sample: Sample,
        pool: ModelPool,
        answers: Answers | None,
        *,
        live: bool = True,
    ) -> Outlook:
        """Ask the servers what they are.

        Args:
            stages: As of the class.
            sample: As of the class.
            pool: The models.
            answers: As of the class.
            live: Whether a question is answered at once, and not with a batch.
        """
        roles = list(dict.fromkeys(role for stage in stages for role in stage.roles()))
        endpoints = {role: await _asked(role, stages, pool, answers, live=live) for role in roles}
        counting = {r: Counting(e, embeds=r == EMBEDDER) for r, e in endpoints.items()}
        if answers is not None:
            pool.commit_answers()
            answers.hold()  # each call of a run that goes on is either spent now or to come
        return cls(stages, sample, endpoints, counting, answers, pool.budget.spend.billed)

    @property
    def is_free(self) -> bool:
        """Whether no model has a price."""
        return all(map(_is_free, self.endpoints.values()))

    async def learnt(self) -> Learnt:
        """What the answers teach."""
        if self.answers is None:
            return Learnt()
        return await self._learning(self.answers).from_run(self.sample.first)

    async def tried(self, table: pa.Table, answers: Answers) -> Learnt:
        """What the answers of a pilot on these rows teach."""
        return await self._learning(answers).from_trial(table)

    def _learning(self, answers: Answers) -> Learning:
        return Learning(self.stages, self.endpoints, self.counting, answers)

    async def ends(self) -> list[ByRow]:
        """What is asked about the sample, at the cheap end and at the costly one."""
        table, total = self.sample.table, self.sample.total
        return [
            await rehearse(
                self.stages, table, self.endpoints, end=end, total=total, answers=self.answers
            )
            for end in ENDS
        ]

    async def estimate(
        self,
        ends: Sequence[ByRow],
        learnt: Learnt,
        tried: Learnt | None = None,
        pace: Pace | None = None,
        *,
        batch: bool = False,
    ) -> Estimate:
        """Count, correct and scale.

        Args:
            ends: What is asked about the sample.
            learnt: From the answers.
            tried: From a pilot, if the answers teach nothing.
            pace: Of a pilot.
            batch: Whether batch jobs ask.
        """
        lesson = learnt if learnt.lessons or tried is None else tried
        scale, kinds, lines = self.sample.scale, {True: Need(), False: Need()}, []
        for stage, role in dict.fromkeys(key for found in ends for key in found):
            rows = [found.get((stage, role), []) for found in ends]
            whole = Need()
            for verdicts in (True, False):
                left = [await _left(end, self.counting[role], verdicts=verdicts) for end in rows]
                need = lesson.corrected(stage, role, _between(*left), verdicts=verdicts) * scale
                whole, kinds[verdicts] = whole + need, kinds[verdicts] + need
            asked = round(max(map(_rows, rows)) * scale)
            lines.append(_line(stage, self.endpoints[role], whole, asked, batch=batch))
        notes = {e.name: _note(e, learnt.calls(e.identity)) for e in self.endpoints.values()}
        return Estimate(
            rows=self.sample.total,
            sampled=len(self.sample.table),
            stages=_merged(lines),
            models=tuple(notes.values()),
            minutes=None if pace is None else pace.minutes(kinds[True], kinds[False]),
            spent=self.spent,
        )


async def _asked(
    role: str, stages: Sequence[Stage], pool: ModelPool, answers: Answers | None, *, live: bool
) -> Endpoint:
    """An endpoint, and whether it scores a given text, if that matters.

    One without a price is asked, where it answers at once and no cap is set, which that would count
    against; of another one it is known only once the run has asked.
    """
    endpoint = await pool.endpoint(role)
    known = endpoint.capabilities
    scores = [s for s in stages if isinstance(s, Score) and s.wants_likelihood]
    if role != "scorer" or not scores or known.grammar or known.prompt_logprobs is not None:
        return endpoint
    able: bool | None = None
    if answers is not None:
        able = await Remembered(endpoint.identity, answers).scored_text()
    if able is None and live and _is_free(endpoint) and not pool.budget.is_capped:
        able = await scores_text((await pool.open([role]))[role])
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
