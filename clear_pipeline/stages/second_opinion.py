"""Second opinion: another model looks at the rows that the first one is sure of.

A model's own draws agree with its own errors. Where the score is highest, only somebody else can
object. Nothing but columns comes of it: people read the rows on which the two disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Final, Literal

import pyarrow as pa
from pydantic import Field

from clear_pipeline.calibration import Calibration
from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.counted import Counted
from clear_pipeline.schema import JSON, Example, examples
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.stages.base import Context, Settings, Shard, Shards, map_rows
from clear_pipeline.stages.confidence import REFINED, Key, final_confidence, rank_keys
from clear_pipeline.stages.ranking import ranking_of
from clear_pipeline.stages.usage import USAGE, usage_of

COLUMNS: Final = pa.schema(
    [
        pa.field("second_confidence", pa.float64()),
        pa.field("disagreement", pa.float64()),
        pa.field("second_error", pa.large_string()),
        pa.field("second_usage", USAGE),
    ]
)
"""What `SecondOpinion` adds; null for rows that were not asked."""

QUESTIONS: Final = ("yes_no",)
"""Asked where the first model was asked no question (likelihood)."""


@dataclass(slots=True)
class RowOpinion:
    """One row of `COLUMNS`."""

    second_confidence: float | None = None
    disagreement: float | None = None
    second_error: str | None = None
    second_usage: dict[str, int] | None = None


class SecondOpinion(Settings):
    """Ask the model `second` what the scorer was asked, about the rows the scorer is surest of.

    `disagreement` is |first - second|, in [0, 1]: first is the scorer's `reflection`. It is the
    final confidence where the scorer was asked no question, and for all rows where a calibration
    found the scorer's own verdict upside down: 0.1 then means a good row. It changes no fate.
    """

    name: ClassVar[str] = "second_opinion"
    version: ClassVar[int] = 9

    kind: Literal["second_opinion"] = "second_opinion"
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the rows that is asked: those with the highest confidence."""
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A run stops when more of the rows that are asked than this have failed."""

    def needs(self) -> tuple[str, ...]:
        """A confidence of the first model."""
        return ("confidence", "score_status")

    def adds(self) -> pa.Schema:
        """`COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """The other model."""
        return ("second",)

    def rounds(self, models: Mapping[str, ChatModel]) -> int:  # noqa: ARG002
        """All questions at once."""
        return 1

    def survey(self, shards: Shards, ctx: Context) -> list[JSON]:
        """The key of the last row that is asked, empty without rows, and how the scorer was asked.

        The same for each shard.
        """
        ranking = ranking_of(shards, final_confidence)
        rows = math.ceil(Fraction(str(self.fraction)) * len(ranking))
        turned = _turned(ctx)
        state: dict[str, JSON] = {"how": dict(_asked_how(ctx)), "turned": bool(turned)}
        if rows == 0:
            return [{**state, "last": []}] * len(shards)
        last = ranking.key(rows - 1)
        ctx.progress.note(
            f"second opinion on {rows} of {len(ranking)} rows, those with a confidence of "
            f"{last[0]:.3f} or more"
        )
        if turned:
            ctx.progress.note(
                f"second opinion: the calibration turned {', '.join(turned)}, so it is compared "
                "with the calibrated confidence"
            )
        return [{**state, "last": list(last)}] * len(shards)

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        """Ask about the surest rows, `ctx.rows_in_flight` at a time.

        Raises:
            TooManyFailuresError: More rows failed than `max_failed_fraction` allows.
        """
        if not isinstance(state, dict):
            raise TypeError(f"second_opinion needs the state that survey returned, got {state!r}")

        async def ask(row: tuple[Example, bool, float, tuple[str, ...]]) -> RowOpinion:
            example, sure, first, questions = row
            opinion = RowOpinion()
            if sure:
                opinion = await self._ask(example, first, questions, how, ctx)
            ctx.progress.advance()
            return opinion

        how, last = state["how"], tuple(state["last"])
        sure = [
            bool(last) and lives and key >= last
            for key, lives in zip(_keys(shard), alive, strict=True)
        ]
        firsts = _firsts(shard.table, turned=state["turned"])
        rows = zip(examples(shard.table), sure, firsts, _questions(shard.table), strict=True)
        opinions = await map_rows(ask, list(rows), limit=ctx.rows_in_flight)
        return pa.Table.from_pylist([asdict(row) for row in opinions], schema=COLUMNS)

    async def _ask(
        self,
        example: Example,
        first: float,
        questions: tuple[str, ...],
        how: Mapping[str, Any],
        ctx: Context,
    ) -> RowOpinion:
        ctx.tally.begun += 1
        model = Counted(ctx.models["second"])
        try:
            second = (await reflect(model, example, questions, **how)).score
        except CallError as error:
            ctx.tally.fail(self.name, str(error), self.max_failed_fraction, kind=error.kind)
            return RowOpinion(second_error=str(error), second_usage=usage_of(model))
        return RowOpinion(second, abs(first - second), second_usage=usage_of(model))


def _asked_how(ctx: Context) -> Mapping[str, Any]:
    """How the scorer was asked: what is compared differs in nothing but the model."""
    score = ctx.records.get("score")
    if score is None:
        return {}
    names = {
        "via": "reflection_via",
        "orders": "orders",
        "text_samples": "text_samples",
        "in_parts": "in_parts",
    }
    return {name: score.settings[key] for name, key in names.items() if key in score.settings}


def _turned(ctx: Context) -> list[str]:
    """The scorer's verdicts, or confidences made of them, that a calibration found upside down."""
    record = ctx.records.get("calibrate")
    if record is None:
        return []
    turned = Calibration.model_validate(record.settings["file"]).turned
    own = ("reflection", *REFINED)
    return [name for name in turned if name.partition(".")[0] in own]


def _keys(shard: Shard) -> list[Key]:
    return rank_keys(shard.table, final_confidence(shard.table))


def _firsts(table: pa.Table, *, turned: bool) -> list[Any]:
    """Per row what the second confidence is compared with: like with like where there is such."""
    confidence: list[Any] = final_confidence(table).to_pylist()
    if turned or "reflection" not in table.column_names:
        return confidence
    asked = table["reflection"].to_pylist()
    return [c if r is None else r for r, c in zip(asked, confidence, strict=True)]


def _questions(table: pa.Table) -> list[tuple[str, ...]]:
    """Per row the names of the questions that the scorer answered."""
    if "reflections" not in table.column_names:
        return [QUESTIONS] * table.num_rows
    asked = table["reflections"].to_pylist()
    return [tuple(name for name, _ in answers or ()) or QUESTIONS for answers in asked]
