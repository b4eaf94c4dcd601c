"""What the answers of a run that has begun teach about those to come.

The first rows are rehearsed twice, blindly and with their answers. How far the answered calls took
more or less than was thought corrects what is left: chat templates, another tokenizer, unclear
verdicts that are asked again, the length of what the model writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, product
from typing import Final

import pyarrow as pa

from clear_pipeline.calibration.reliability import wilson
from clear_pipeline.estimate.chain import ENDS, ByRow, End, rehearse
from clear_pipeline.estimate.counting import Counting
from clear_pipeline.estimate.figures import Need, Span
from clear_pipeline.estimate.rehearsal import Asked
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.base import ChatRequest, Usage
from clear_pipeline.model_pool import Endpoint
from clear_pipeline.stages.base import Stage

ENOUGH: Final = 50
"""Answered calls of a run from which on they are believed."""
THROUGH: Final = 0.9
"""So many of the rows must be through with their calls; a few may never be, since theirs fail."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Verdicts, or all other calls, of one stage and role.

    Attributes:
        calls: Answered calls of the kind about rows all of whose calls of it were answered.
        usage: What they took.
        thought: What the rehearsal had thought of these rows.
    """

    calls: int
    usage: Usage
    thought: Need

    @property
    def prompt_size(self) -> float:
        """How much longer the prompt of a call is than was thought; 1 if nobody counted."""
        if not self.usage.prompt:
            return 1.0
        calls = _ratio(self.calls, self.thought.calls.low)
        return _ratio(self.usage.prompt, self.thought.prompt.low) / calls

    def correct(self, need: Need) -> Need:
        """The need by what these rows really took, by calls alone if nobody counted tokens."""
        thought = self.thought
        calls = need.calls.low * _ratio(self.calls, thought.calls.low)
        if not self.usage.prompt:
            return replace(need, calls=Span(calls, calls))
        prompt = need.prompt.low * _ratio(self.usage.prompt, thought.prompt.low)
        cached = prompt * _ratio(self.usage.cached, self.usage.prompt)
        written = need.completion.low * _ratio(self.usage.completion, thought.completion.low)
        return Need(*(Span(value, value) for value in (calls, prompt, cached, written)))


@dataclass(frozen=True, slots=True)
class Tried:
    """Verdicts of one stage and role about a few rows that were drawn for it.

    Few rows say only roughly how many verdicts are unclear, so low and high stay apart.

    Attributes:
        calls: Calls about these rows.
        usage: What they took.
        first: What those of them took that come before it is known whether a verdict is clear.
        clear: What they would have taken with nothing but clear verdicts.
        unclear: What they would have taken without a clear one.
    """

    calls: int
    usage: Usage
    first: Usage
    clear: Need
    unclear: Need

    def correct(self, need: Need) -> Need:
        """The need with as many unclear verdicts as there may be.

        Calls and tokens have a share each: verdicts on short parts may be unclear more often. If
        nobody counted tokens, they stay as they were thought.
        """
        first, used, clear, unclear = self.first, self.usage, self.clear, self.unclear
        least, most = clear.calls.low, unclear.calls.high
        calls = self._between(need.calls, least, most, first=least, used=self.calls)
        if not used.prompt:
            return replace(need, calls=calls)
        least, most = clear.prompt.low, unclear.prompt.high
        prompt = self._between(need.prompt, least, most, first=first.prompt, used=used.prompt)
        least, most = clear.completion.low, unclear.completion.high
        written = self._between(
            need.completion, least, most, first=first.completion, used=used.completion
        )
        return Need(calls, prompt, prompt * _ratio(used.cached, used.prompt), written)

    def _between(self, need: Span, least: float, most: float, *, first: float, used: float) -> Span:
        """From its low end as far towards its high end as the tried rows went, roughly.

        Args:
            need: As it was thought.
            least: What the tried rows were thought to take at the low end,
            most: at the high end.
            first: What they took for sure, where `least` was thought;
            used: with all that unclear verdicts took more.
        """
        size = _ratio(first, least)
        more = size * (most - least)
        share = self._interval((used - first) / more if more > 0 else 0.0)
        wide = need.high - need.low
        return Span(need.low + share.low * wide, need.low + share.high * wide) * size

    def _interval(self, share: float) -> Span:
        """The 95 % interval (Wilson) of a share that was found in these rows."""
        return Span(*wilson(min(max(share, 0.0), 1.0), self.clear.calls.low))


@dataclass(frozen=True, slots=True)
class Learnt:
    """Lessons by stage, role and whether they are of verdicts; those of enough calls."""

    lessons: Mapping[tuple[str, str, bool], Lesson] = field(default_factory=dict)
    tried: Mapping[tuple[str, str], Tried] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)

    def corrected(self, stage: str, role: str, need: Need, *, verdicts: bool) -> Need:
        """By the stage's own lesson; by one of another stage of the same model in its prompts."""
        if (own := self.lessons.get((stage, role, verdicts))) is not None:
            return own.correct(need)
        if verdicts and (tried := self.tried.get((stage, role))) is not None:
            return tried.correct(need)
        identity = self.identities.get(role)
        for (_, other, _), lesson in self.lessons.items():
            if self.identities[other] == identity:
                size = lesson.prompt_size
                return replace(need, prompt=need.prompt * size, cached=need.cached * size)
        return need

    def calls(self, identity: str) -> int:
        """Answered calls of a model that something was learnt from."""
        return sum(
            lesson.calls
            for (_, role, _), lesson in self.lessons.items()
            if self.identities[role] == identity
        )


class Learning:
    """Compares what rows took with what a rehearsal without answers thinks of them.

    Args:
        stages: Those left to run, in order.
        endpoints: By role.
        counting: By role.
        answers: That were given.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        endpoints: Mapping[str, Endpoint],
        counting: Mapping[str, Counting],
        answers: Answers,
    ) -> None:
        self._stages = stages
        self._endpoints = endpoints
        self._counting = counting
        self._answers = answers
        self._identities = {role: endpoint.identity for role, endpoint in endpoints.items()}

    async def from_run(self, table: pa.Table) -> Learnt:
        """What the rows teach that a run asks about first: how many calls, tokens and words."""
        real, blind = await self._rehearsed(table, answered=True), await self._rehearsed(table)
        lessons = {}
        for (stage, role), verdicts in product(real, (True, False)):
            rows = _Answered.of(real[stage, role], verdicts=verdicts)
            if rows.calls >= ENOUGH:
                thought = await rows.thought(blind[stage, role], self._counting[role])
                lessons[stage, role, verdicts] = Lesson(rows.calls, rows.usage, thought)
        return Learnt(lessons, identities=self._identities)

    async def from_trial(self, table: pa.Table) -> Learnt:
        """How clear the verdicts of a pilot on these rows were, if there was time for them."""
        real = await self._rehearsed(table, answered=True)
        low, high = [await self._rehearsed(table, end=end) for end in ENDS]
        tried = {}
        for stage, role in real:
            rows, counting = _Answered.of(real[stage, role], verdicts=True), self._counting[role]
            if rows.calls:
                clear = await rows.thought(low[stage, role], counting)
                unclear = await rows.thought(high[stage, role], counting)
                first = rows.first(low[stage, role])
                tried[stage, role] = Tried(rows.calls, rows.usage, first, clear, unclear)
        return Learnt(tried=tried, identities=self._identities)

    async def _rehearsed(
        self, table: pa.Table, *, end: End = "low", answered: bool = False
    ) -> ByRow:
        answers = self._answers if answered else None
        return await rehearse(self._stages, table, self._endpoints, end=end, answers=answers)


@dataclass(frozen=True, slots=True)
class _Answered:
    """Rows whose calls of one kind were answered, all of them.

    Attributes:
        used: By the place of the row: what its calls took.
        verdicts: Whether they are verdicts, or all other calls.
    """

    used: Mapping[int, Mapping[ChatRequest, Usage]]
    verdicts: bool

    @classmethod
    def of(cls, rows: Sequence[Sequence[Asked]], *, verdicts: bool) -> _Answered:
        """Find them in a rehearsal with answers.

        Of rows that are asked about at once, those with clear verdicts are through first and are
        not like the others. So rows count up to the last place by which `THROUGH` of them are.
        """
        calls = [[call for call in row if call.verdict == verdicts] for row in rows]
        used = [{c.request: c.usage for c in row if c.usage is not None} for row in calls]
        through = [all(call.usage is not None for call in row) for row in calls]
        counts = enumerate(accumulate(through), start=1)
        believed = max((place for place, count in counts if count >= THROUGH * place), default=0)
        places = (place for place in range(believed) if calls[place] and through[place])
        return cls({place: used[place] for place in places}, verdicts)

    @property
    def calls(self) -> int:
        """How many there are."""
        return sum(map(len, self.used.values()))

    @property
    def usage(self) -> Usage:
        """What they took."""
        return sum((usage for row in self.used.values() for usage in row.values()), Usage())

    def first(self, blind: Sequence[Sequence[Asked]]) -> Usage:
        """What those of them took that a rehearsal without answers makes as well."""
        return sum(
            (
                self.used[place][call.request]
                for place, call in self._also(blind)
                if call.request in self.used[place]
            ),
            Usage(),
        )

    async def thought(self, blind: Sequence[Sequence[Asked]], counting: Counting) -> Need:
        """What a rehearsal without answers thinks of the same rows."""
        return sum(await counting.needs([call for _, call in self._also(blind)]), Need())

    def _also(self, blind: Sequence[Sequence[Asked]]) -> Iterator[tuple[int, Asked]]:
        """The calls of the kind about the same rows, with the place of the row."""
        for place in self.used:
            yield from ((place, call) for call in blind[place] if call.verdict == self.verdicts)


def _ratio(found: float, thought: float) -> float:
    return found / thought if thought else 1.0
