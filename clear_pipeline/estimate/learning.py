"""What the answers of a run that has begun teach about those to come.

The first rows are rehearsed twice, blindly and with their answers. How far the answered calls took
more or less than was thought corrects what is left: chat templates, another tokenizer, unclear
verdicts that are asked again, the length of what the model writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from clear_pipeline.estimate.chain import rehearse
from clear_pipeline.estimate.counting import Counting
from clear_pipeline.estimate.figures import Need, Span
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.base import Usage
from clear_pipeline.model_pool import Endpoint
from clear_pipeline.stages.base import Stage

ENOUGH: Final = 50
"""Answered calls of a run from which on they are believed."""
ENOUGH_OF_A_PILOT: Final = 1
"""The same of rows that were drawn for it, from all lengths: better than a guess."""


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
        """How much longer the prompt of a call is than was thought."""
        calls = _ratio(self.calls, self.thought.calls.low)
        return _ratio(self.usage.prompt, self.thought.prompt.low) / calls

    def correct(self, need: Need) -> Need:
        """The need by what these rows really took."""
        thought = self.thought
        prompt = need.prompt.low * _ratio(self.usage.prompt, thought.prompt.low)
        cached = prompt * _ratio(self.usage.cached, self.usage.prompt)
        calls = need.calls.low * _ratio(self.calls, thought.calls.low)
        written = need.completion.low * _ratio(self.usage.completion, thought.completion.low)
        return Need(*(Span(value, value) for value in (calls, prompt, cached, written)))


@dataclass(frozen=True, slots=True)
class Learnt:
    """Lessons by stage, role and whether they are of verdicts; those of enough calls."""

    lessons: Mapping[tuple[str, str, bool], Lesson] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)

    def corrected(self, stage: str, role: str, need: Need, *, verdicts: bool) -> Need:
        """By the stage's own lesson; by one of another stage of the same model in its prompts."""
        if (own := self.lessons.get((stage, role, verdicts))) is not None:
            return own.correct(need)
        identity = self.identities.get(role)
        for (_, other, _), lesson in self.lessons.items():
            if self.identities[other] == identity:
                size = lesson.prompt_size
                return replace(need, prompt=need.prompt * size, cached=need.cached * size)
        return need

    @property
    def usage(self) -> Usage:
        """What all rows took that something was learnt from."""
        return sum((lesson.usage for lesson in self.lessons.values()), Usage())

    def calls(self, identity: str) -> int:
        """Answered calls of a model that something was learnt from."""
        return sum(
            lesson.calls
            for (_, role, _), lesson in self.lessons.items()
            if self.identities[role] == identity
        )


async def learn(
    stages: Sequence[Stage],
    table: pa.Table,
    endpoints: Mapping[str, Endpoint],
    counting: Mapping[str, Counting],
    answers: Answers,
    *,
    enough: int = ENOUGH,
) -> Learnt:
    """Compare what some rows took with what the rehearsal thinks of them.

    Args:
        stages: Those left to run, in order.
        table: Rows that were asked about, if any were.
        endpoints: By role.
        counting: By role.
        answers: To them.
        enough: Calls of a stage from which on something is learnt.
    """
    real = await rehearse(stages, table, endpoints, answers=answers)
    blind = await rehearse(stages, table, endpoints)
    lessons = {}
    for stage, role in real:
        for verdicts in (True, False):
            usage, calls, asked = Usage(), 0, []
            for row, thought in zip(real[stage, role], blind[stage, role], strict=True):
                kind = [call for call in row if call.verdict == verdicts]
                known = [call.usage for call in kind if call.usage is not None]
                if kind and len(known) == len(kind):
                    usage, calls = sum(known, usage), calls + len(kind)
                    asked += [call for call in thought if call.verdict == verdicts]
            if calls >= enough:
                thought_of = sum(await counting[role].needs(asked), Need())
                lessons[stage, role, verdicts] = Lesson(calls, usage, thought_of)
    return Learnt(lessons, {role: endpoint.identity for role, endpoint in endpoints.items()})


def _ratio(found: float, thought: float) -> float:
    return found / thought if thought else 1.0
