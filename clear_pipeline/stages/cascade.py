"""Cascade: the costly question, what would the model say itself, for undecided rows alone.

`score` asks every row cheaply. Rows far from the filter's threshold are decided by that; the share
`band` around it is asked for draws of its own (BSDetector's observed consistency), and both passes
are put on one scale, on which no row crosses the edge of the band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel, Usage
from clear_pipeline.llm.counted import Counted
from clear_pipeline.schema import JSON, Example, examples
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.consistency import NoDrawError
from clear_pipeline.scoring.cross_encoder import load_cross_encoder
from clear_pipeline.stages.band import Band, band_around, into_band
from clear_pipeline.stages.base import Context, Shard, Shards, map_rows
from clear_pipeline.stages.confidence import Key, rank_keys
from clear_pipeline.stages.filter import AboveMedian, Confidence, Keep, Precision, kept_rows
from clear_pipeline.stages.ranking import Ranking, ranking_of
from clear_pipeline.stages.sampling import Fraction, Sampling
from clear_pipeline.stages.usage import TOKENS, USAGE

Tokens: TypeAlias = Mapping[str, int]
NOTHING: Final = {"calls": 0, **dict.fromkeys(TOKENS, 0)}
"""What a row of the band took for which draws say nothing (`draw_for`, `longest_answer`)."""

COLUMNS: Final = pa.schema(
    [
        pa.field("cascaded", pa.float64()),
        pa.field("cascade_step", pa.string()),
        pa.field("cascade_consistency", pa.float64()),
        pa.field("cascade_entailment", pa.float64()),
        pa.field("cascade_exact_match", pa.float64()),
        pa.field("cascade_draws", pa.list_(pa.large_string())),
        pa.field("cascade_error", pa.large_string()),
        pa.field("cascade_cost", USAGE),
    ]
)
"""What `Cascade` adds; null = not computed for this row. docs/cascade.md explains each column.
`cascade_cost` is without the tokens of draws that the cheap pass had taken already."""


@dataclass(slots=True)
class RowCascade:
    """One row of `COLUMNS`."""

    cascaded: float | None = None
    cascade_step: Literal["cheap", "sampled"] | None = None
    cascade_consistency: float | None = None
    cascade_entailment: float | None = None
    cascade_exact_match: float | None = None
    cascade_draws: list[str] | None = None
    cascade_error: str | None = None
    cascade_cost: dict[str, int] | None = None


class Cascade(Sampling):
    """Ask the rows around the threshold for draws; `cascaded` is their confidence from then on.

    With O the observed consistency and c the `confidence` of the cheap pass, a row of the band
    gets low + (high - low) * (beta * O + (1 - beta) * c); low and high are the room that the rows
    outside leave. Any other row keeps c, and so what the filter decides about it. Where the cheap
    pass draws too (`k` of the score, fewer than here), its draws are the first ones of these.

    Source: Chen & Mueller 2023 (arXiv 2308.16175) for O and its combination; the band is ours.
    """

    name: ClassVar[str] = "cascade"
    version: ClassVar[int] = 8

    kind: Literal["cascade"] = "cascade"
    band: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Share of the rows that is asked, by rank, half on either side of the threshold; 1 = all."""
    keep: Keep = AboveMedian()
    """The threshold that the band lies around, in the forms of the filter's `keep`."""
    k: Annotated[int, Field(ge=1, le=64)] = bsdetector.PAPER_K
    """Draws per row."""
    beta: Fraction = bsdetector.PAPER_BETA
    """Weight of consistency against the confidence of the cheap pass."""
    max_failed_fraction: Fraction = 0.05
    """A run stops when more of the rows that are asked than this have failed."""

    @field_validator("keep")
    @classmethod
    def _known_before_calibration(cls, keep: Keep) -> Keep:
        if isinstance(keep, Precision):
            raise ValueError("a precision is known after calibration only; name a quantile")  # noqa: TRY004
        return keep

    @model_validator(mode="after")
    def _draws_differ(self) -> Cascade:
        self.require_variety(self.k)
        return self

    def go_on_from(self, cheap: Sampling, k: int) -> None:
        """The draws of the cheap pass are the first ones here, so that none is paid for twice.

        Args:
            cheap: Its settings.
            k: Its draws per row, at least one.

        Raises:
            ValueError: It draws as many, or in another way.
        """
        if k >= self.k:
            raise ValueError(
                f"the score takes {k} draws of every row and the cascade {self.k}, so that none is "
                "left to ask for: leave out the stage cascade, or --set score.k=1"
            )
        names = ("draw_form", "temperature", "max_answer_tokens")
        if other := [name for name in names if getattr(self, name) != getattr(cheap, name)]:
            ways = " ".join(f"--set stages.cascade.{n}={getattr(cheap, n)}" for n in other)
            raise ValueError(
                f"the draws of the score could not count as the cascade's first ones, since "
                f"{' and '.join(other)} differ: {ways}"
            )

    def needs(self) -> tuple[str, ...]:
        """The cheap pass."""
        return ("confidence", "score_status")

    def adds(self) -> pa.Schema:
        """`COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """The model that scores, and the one that embeds if draws are compared by it."""
        return ("scorer", *self.sampling_roles())

    def rounds(self, models: Mapping[str, ChatModel]) -> int:  # noqa: ARG002
        """Draws, then verdicts on them."""
        return self.sampling_rounds

    def survey(self, shards: Shards, ctx: Context) -> list[JSON]:
        """The edges of the band, the same for each shard; empty where nothing is to be asked.

        Raises:
            NoSurvivorsError: The filter would keep no row.
        """
        ranking = ranking_of(shards, cheap_confidence)
        kept = kept_rows(self.keep, ranking.ranked)
        band = band_around(ranking, kept=kept, share=self.band)
        if band is None or not self._undecided(band, kept):
            ctx.progress.note(f"cascade asks no row: {_why_none(ranking, kept)}")
            return [{}] * len(shards)
        most = "at most " if self.draws_for_some else ""
        ctx.progress.note(
            f"cascade asks {most}{len(band.ranks)} of {len(ranking)} rows, those with a confidence "
            f"from {band.last[0]:.3f} to {band.first[0]:.3f}, around the threshold ({self.keep})"
        )
        edges = asdict(band)
        del edges["ranks"]
        return [edges] * len(shards)

    def _undecided(self, band: Band, kept: int) -> bool:
        """Whether what is asked may decide: a fixed count fills up from above the band first."""
        return isinstance(self.keep, Confidence) or band.ranks.start < kept < band.ranks.stop

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        """Ask the rows of the band, `ctx.rows_in_flight` at a time.

        Raises:
            TooManyFailuresError: More rows failed than `max_failed_fraction` allows.
        """
        if not isinstance(state, dict):
            raise TypeError(f"cascade needs the state that survey returned, got {state!r}")

        async def refine(row: tuple[Example, Key, bool, Tokens]) -> RowCascade:
            example, key, lives, paid = row
            if not lives:
                refined = RowCascade()
            elif not state or not tuple(state["last"]) <= key <= tuple(state["first"]):
                refined = RowCascade(cascaded=key[0], cascade_step="cheap")
            elif self.draws_for(example):
                refined = await self._ask(example, key[0], state, ctx, paid=paid)
            else:  # in the band, and asked nothing
                refined = RowCascade(cascaded=key[0], cascade_step="cheap", cascade_cost=NOTHING)
            ctx.progress.advance()
            return refined

        if state and self.similarity == "nli":
            load_cross_encoder(self.nli_model)  # what is missing shows before the first call
        rows = list(zip(examples(shard.table), _keys(shard), alive, _paid(shard), strict=True))
        refined = await map_rows(refine, rows, limit=ctx.rows_in_flight)
        lines = [asdict(row) for row in refined]
        return pa.Table.from_pylist(lines, schema=COLUMNS)

    async def _ask(
        self,
        example: Example,
        cheap: float,
        edges: Mapping[str, Any],
        ctx: Context,
        *,
        paid: Tokens,
    ) -> RowCascade:
        """A row of the band; if a call fails, its cheap confidence stays."""
        row = RowCascade(cascaded=cheap, cascade_step="cheap")
        model = Counted(ctx.models["scorer"])
        ctx.tally.begun += 1
        try:
            score = await self._sampled(model, example, cheap, row, ctx=ctx)
            row.cascaded = into_band(score, low=edges["low"], high=edges["high"])
            row.cascade_step = "sampled"
        except CallError as error:
            row.cascade_error = str(error)
            if not (self.draws_for_some and isinstance(error, NoDrawError)):
                ctx.tally.fail(
                    self.name, row.cascade_error, self.max_failed_fraction, kind=error.kind
                )
        finally:
            used = asdict(model.usage or Usage())
            tokens = {name: max(used[name] - paid.get(name, 0), 0) for name in TOKENS}
            row.cascade_cost = {"calls": model.calls, **tokens}
        return row

    async def _sampled(
        self, model: ChatModel, example: Example, cheap: float, row: RowCascade, *, ctx: Context
    ) -> float:
        """BSDetector's confidence, with the cheap one in the place of the reflection."""
        row.cascade_draws = await self.sample(model, example, k=self.k)
        models = {**ctx.models, "scorer": model}
        seen = await self.compare(models, example, row.cascade_draws, via=_via(ctx))
        row.cascade_consistency = seen.score
        row.cascade_entailment = seen.entailment
        row.cascade_exact_match = seen.exact_match
        return self.beta * seen.score + (1 - self.beta) * cheap


def _via(ctx: Context) -> Literal["logprobs", "text"]:
    """Verdicts on pairs are read as the score read its own, so that none is asked for twice."""
    scored = ctx.records.get("score")
    return "text" if scored and scored.settings.get("reflection_via") == "text" else "logprobs"


def cheap_confidence(table: pa.Table) -> pa.ChunkedArray:
    """What the band goes by: the score's own, however it was refined since."""
    return table["confidence"]


def _keys(shard: Shard) -> list[Key]:
    return rank_keys(shard.table, cheap_confidence(shard.table))


def _paid(shard: Shard) -> list[Tokens]:
    """Per row: what the draws of the cheap pass took, which are the first ones here."""
    if "consistency_usage" not in shard.table.column_names:
        return [{}] * shard.rows
    return [used or {} for used in shard.table["consistency_usage"].to_pylist()]


def _why_none(ranking: Ranking, kept: int) -> str:
    if kept == len(ranking):
        return "the filter keeps them all"
    beside = [float(ranking.ranked[rank]) for rank in (kept - 1, kept) if rank >= 0]
    tied, confidence = max((ranking.with_just(value), value) for value in beside)
    if tied == 1:
        return (
            "the band is too narrow to hold a row on either side of the threshold; a larger one "
            "does: --set stages.cascade.band=1"
        )
    return (
        f"{tied} of {len(ranking)} rows have a confidence of {confidence:.3f}, at the threshold, "
        "too many for the band; a score read from log-probabilities has finer steps, and a larger "
        "band holds more: --set stages.cascade.band=1"
    )
