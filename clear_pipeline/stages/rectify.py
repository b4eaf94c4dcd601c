"""Auto-Correct: replace a doubtful target where the model is sure of a better one.

A candidate is written for each row in scope and judged against the row's own response in both
orders (Chen & Mueller 2024). It becomes the target only above `eta`; otherwise the row keeps the
fate that the filter gave it. The original stays beside it in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.counted import Counted
from clear_pipeline.prompts.candidate import (
    UnfitCandidateError,
    candidate_request,
    parse_candidate,
)
from clear_pipeline.schema import JSON, MESSAGE, Example, Message, examples
from clear_pipeline.scoring.answers import same_answer
from clear_pipeline.scoring.bsdetector import PAPER_BETA, PAPER_K, PAPER_TEMPERATURE
from clear_pipeline.scoring.preference import (
    Form,
    OneToken,
    Preference,
    Sampled,
    Verdict,
    YesNo,
    prefer,
)
from clear_pipeline.stages.base import Context, Settings, Shard, map_rows
from clear_pipeline.stages.usage import USAGE, usage_of

Share = Annotated[float, Field(ge=0, le=1)]

COLUMNS = pa.schema(
    [
        pa.field("candidate", pa.large_string()),
        pa.field("preference", pa.float64()),
        pa.field("preference_first", pa.float64()),
        pa.field("preference_second", pa.float64()),
        pa.field("verdict", pa.string()),
        pa.field("rectified", pa.bool_()),
        pa.field("new_target", MESSAGE),
        pa.field("rectify_reason", pa.large_string()),
        pa.field("candidate_usage", USAGE),
        pa.field("judge_usage", USAGE),
    ]
)
"""What `Rectify` adds; null where there was no candidate, or no row in scope."""


@dataclass(slots=True)
class RowRepair:
    """One row of `COLUMNS`, filled step by step, so that a failure keeps what came before it."""

    candidate: str | None = None
    preference: float | None = None
    preference_first: float | None = None
    preference_second: float | None = None
    verdict: Verdict | None = None
    rectified: bool | None = None
    new_target: Message | None = None
    rectify_reason: str | None = None
    candidate_usage: dict[str, int] | None = None
    judge_usage: dict[str, int] | None = None


class Rectify(Settings):
    """Write a candidate, judge it in both orders, replace above `eta`.

    A verdict on which the two orders disagree is a tie, and a tie replaces nothing. A row whose
    calls fail keeps its fate, with the reason.
    """

    name: ClassVar[str] = "rectify"
    version: ClassVar[int] = 8

    kind: Literal["rectify"] = "rectify"
    scope: Literal["low", "all"] = "low"
    """low: rows that the filter would drop. all: also rows that it keeps, as in the paper."""
    form: Literal["yes-no", "one-token", "sampled"] = "yes-no"
    """How a preference is read: the probability of one letter, of Yes for either response, or the
    paper's sampled verdicts."""
    eta: Share = 0.8
    """Replace where the preference is above this, strictly. 0.8 is the paper's."""
    k: Annotated[int, Field(ge=1, le=64)] = PAPER_K
    """Verdicts per order, for `sampled`."""
    beta: Share = PAPER_BETA
    """Weight of the share of verdicts against reflection on them, for `sampled`."""
    verdict_temperature: Annotated[float, Field(ge=0, le=2)] = PAPER_TEMPERATURE
    """Of the verdicts, for `sampled`."""
    max_verdict_tokens: Annotated[int, Field(ge=1)] = 256
    """Room for one verdict with its reasoning, for `sampled`."""
    max_candidate_tokens: Annotated[int, Field(ge=1)] = 512
    """A longer candidate is refused. The paper's inference limit."""
    candidate_temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0: the model's one best answer, as in the paper."""
    max_failed_fraction: Share = 0.05
    """A run stops when more of the rows in scope than this have failed."""

    def needs(self) -> tuple[str, ...]:
        """The filter's decision."""
        return ("keep",)

    def adds(self) -> pa.Schema:
        """`COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """Who writes, and who judges."""
        return ("candidate", "judge")

    def rounds(self, models: Mapping[str, ChatModel]) -> int:  # noqa: ARG002
        """A candidate, then verdicts on it; sampled ones are reflected on."""
        return 3 if self.form == "sampled" else 2

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],
        state: JSON,  # noqa: ARG002 - a row-wise stage has none
        ctx: Context,
    ) -> pa.Table:
        """Repair the rows in scope, `ctx.rows_in_flight` at a time.

        Raises:
            TooManyFailuresError: More rows failed than `max_failed_fraction` allows.
        """

        async def repair(row: tuple[Example, bool]) -> RowRepair:
            example, in_scope = row
            repaired = await self._repair(example, ctx) if in_scope else RowRepair()
            ctx.progress.advance()
            return repaired

        keep = shard.table["keep"].to_pylist()
        scope = [
            lives and (self.scope == "all" or kept is False)
            for lives, kept in zip(alive, keep, strict=True)
        ]
        rows = list(zip(examples(shard.table), scope, strict=True))
        repaired = await map_rows(repair, rows, limit=ctx.rows_in_flight)
        lines: list[dict[str, Any]] = [asdict(row) for row in repaired]
        return pa.Table.from_pylist(lines, schema=COLUMNS)

    async def _repair(self, example: Example, ctx: Context) -> RowRepair:
        """Repair a row; what it asked of either model is recorded even if a call fails."""
        writer, judge = (Counted(ctx.models[role]) for role in self.roles())
        row = await self._judged(example, writer, judge, ctx)
        row.candidate_usage = usage_of(writer)
        row.judge_usage = usage_of(judge)
        return row

    async def _judged(
        self, example: Example, writer: ChatModel, judge: ChatModel, ctx: Context
    ) -> RowRepair:
        row = RowRepair(rectified=False)
        ctx.tally.begun += 1
        try:
            target = await self._write(writer, example)
        except UnfitCandidateError as error:
            row.rectify_reason = f"candidate refused: {error}"
            return row
        except CallError as error:
            return self._failed(row, "candidate", error, ctx)
        row.candidate = target.text
        if same_answer(target.text, example.response):
            row.rectify_reason = "candidate equals the original"
            return row
        try:
            preference = await prefer(judge, example, target.text, form=self._form())
        except CallError as error:
            return self._failed(row, "judge", error, ctx)
        self._decide(row, preference, target)
        return row

    async def _write(self, writer: ChatModel, example: Example) -> Message:
        request = candidate_request(
            example,
            max_tokens=self.max_candidate_tokens,
            temperature=self.candidate_temperature,
        )
        completion = await writer.complete(request)
        return parse_candidate(completion.choices[0], example)

    def _form(self) -> Form:
        if self.form == "one-token":
            return OneToken()
        if self.form == "yes-no":
            return YesNo()
        return Sampled(self.k, self.beta, self.verdict_temperature, self.max_verdict_tokens)

    def _failed(self, row: RowRepair, who: str, error: CallError, ctx: Context) -> RowRepair:
        row.rectify_reason = f"{who} failed: {error}"
        ctx.tally.fail(self.name, row.rectify_reason, self.max_failed_fraction, kind=error.kind)
        return row

    def _decide(self, row: RowRepair, preference: Preference, target: Message) -> None:
        row.preference = preference.score
        row.preference_first = preference.first.preference
        row.preference_second = preference.second.preference
        row.verdict = preference.verdict
        if preference.score <= self.eta:
            row.rectify_reason = f"candidate not preferred: {preference.score:.2f} <= {self.eta:g}"
        elif preference.verdict != "candidate":
            row.rectify_reason = (
                "the orders disagree: candidate preferred "
                f"{row.preference_first:.2f} and {row.preference_second:.2f}"
            )
        else:
            row.rectify_reason = f"candidate preferred {preference.score:.2f} > {self.eta:g}"
            row.rectified = True
            row.new_target = target
