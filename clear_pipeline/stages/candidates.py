"""The candidates that a model wrote for a row, sifted before any judge is paid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from clear_pipeline.llm.base import Choice
from clear_pipeline.prompts.candidate import UnfitCandidateError, parse_candidate
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.scoring.form import FormCheck, lost_form
from clear_pipeline.scoring.tool_calls import read_calls, same_calls, with_calls

DRAWS = pa.struct(
    [(name, pa.int64()) for name in ("drawn", "refused", "confirming", "repeated", "judged")]
)
"""How many candidates there were, and what became of each: the four others sum to `drawn`."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """What is left to judge.

    Attributes:
        apart: Candidates that say something else than the row's response and than each other, in
            the order of the samples.
        confirming: Those that say the same as the row's response.
        repeated: How many say the same as one that is `apart`.
        refused: Why each of the others is no target.
    """

    apart: tuple[Message, ...]
    confirming: tuple[Message, ...]
    repeated: int
    refused: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """One value of `DRAWS`."""
        found = (len(self.refused), len(self.confirming), self.repeated, len(self.apart))
        return dict(zip(DRAWS.names, (sum(found), *found), strict=True))

    @property
    def why_refused(self) -> str:
        """Each reason once, in order."""
        return "; ".join(dict.fromkeys(self.refused))


def sift(choices: Sequence[Choice], example: Example, checks: Collection[FormCheck]) -> Sifted:
    """Refuse what is no target, set apart what confirms the row, and keep each answer once.

    Two responses say the same if their final answers do, or if they call the same tools. Where the
    row's own response has tool calls, those that a candidate writes as text become such.
    """
    apart: list[Message] = []
    confirming: list[Message] = []
    refused: list[str] = []
    for choice in choices:
        try:
            target = parse_candidate(choice, example)
            if example.target.tool_calls is not None:
                target = with_calls(example, target)
        except UnfitCandidateError as error:
            refused.append(str(error))
            continue
        if _same(example, target, example.target):
            confirming.append(target)
        elif (lost := lost_form(example, target, checks)) is not None:
            refused.append(lost)
        elif not any(_same(example, target, other) for other in apart):
            apart.append(target)
    repeated = len(choices) - len(apart) - len(confirming) - len(refused)
    return Sifted(tuple(apart), tuple(confirming), repeated, tuple(refused))


def _same(example: Example, first: Message, second: Message) -> bool:
    if example.tools is not None or example.target.tool_calls is not None:
        one, other = (read_calls(target.tool_calls or target.text) for target in (first, second))
        if one is not None and other is not None:
            return same_calls(one, other)
    return exact_match(first.text, second.text)
