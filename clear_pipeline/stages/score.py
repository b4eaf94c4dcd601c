"""Score: how much the model trusts each row's response, every part a column of its own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.counted import Counted
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.schema import JSON, Example, examples
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.consistency import NoDrawError
from clear_pipeline.scoring.cross_encoder import load_cross_encoder
from clear_pipeline.scoring.likelihood import (
    Form,
    likelihood,
    require_likelihood,
    scores_text,
)
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.stages.base import Context, Shard, map_rows
from clear_pipeline.stages.presets import idle_settings, merged_weights, own_values, preset_beside
from clear_pipeline.stages.sampling import Fraction, Sampling
from clear_pipeline.stages.score_row import COLUMNS, RowScore, tokens_of

_Part: TypeAlias = Callable[[ChatModel, Example, RowScore], Awaitable[None]]
"""Asks the model about a row and fills columns."""


class Score(Sampling):
    """BSDetector confidence of every row's own response, in [0, 1]; higher is better.

    `preset` fills what is not given, so that the settings of a run name every value that was
    used. A row whose calls fail is `unscored` with the error, never 0.

    Source: Chen & Mueller 2023 (arXiv 2308.16175) and 2024 (arXiv 2403.12776).
    """

    name: ClassVar[str] = "score"
    version: ClassVar[int] = 9

    kind: Literal["score"] = "score"
    preset: Literal["fast", "paper", "best", "likelihood"] = "fast"
    """fast: one question, one token, and how likely the response is where the endpoint scores text.
    best: the same, and draws where the final answer is a value. paper: the constants of the paper.
    likelihood: no question, what the request adds to the probability of the response; needs an
    endpoint that scores text."""
    reflection: tuple[str, ...] = ("yes_no",)
    """Names of the questions, see `prompts.reflection.WORDINGS`; none = no reflection."""
    reflection_via: Literal["logprobs", "text"] = "logprobs"
    """How verdicts are read; `logprobs` falls back to grammar, then text, where it must."""
    orders: Annotated[int, Field(ge=1, le=5)] = 1
    """Each question is asked in so many orders of its options, and averaged: a model that prefers
    a place cancels itself out. One call more for each, all but its end in the server's cache."""
    text_samples: Annotated[int, Field(ge=1, le=64)] = 1
    """Where verdicts are read as text: one at temperature 0, or the share of so many at 1."""
    in_parts: bool = True
    """A response of several sentences is judged whole and part by part, and without what may speak
    to the judge; the lowest verdict counts (`prompts.views`)."""
    k: Annotated[int, Field(ge=0, le=64)] = 0
    """Draws per row for observed consistency; the paper's is 5."""
    beta: Fraction = bsdetector.PAPER_BETA
    """Weight of consistency against reflection, where both are computed."""
    likelihood_weight: Fraction = 0.0
    """Weight of likelihood against the two others; 0 = not computed."""
    weights: Mapping[str, float] = Field(default_factory=dict)
    """Weights of the parts in the log-odds of the confidence, by name: a question, `consistency`
    or `likelihood`; negative ones turn a part. None given: BSDetector's alpha and beta."""
    likelihood: Form = "gain_per_token"
    """What the likelihood is made of: what the request adds to the log-probability of the
    response, or how likely the response is after it; per token, or the sum."""
    likelihood_tokens: Annotated[int, Field(ge=1)] = 16
    """The first so many tokens of the response enter the likelihood."""
    max_failed_fraction: Fraction = 0.05
    """A run stops when more of its rows than this have failed."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:  # noqa: ANN401 - what pydantic hands over
        if not isinstance(data, Mapping):
            return data
        return {**preset_beside(data), **data, **merged_weights(data)}

    @field_validator("reflection")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in WORDINGS:
                raise ValueError(f"unknown wording {name!r}; known: {', '.join(WORDINGS)}")
        return names

    @model_validator(mode="after")
    def _weighted_parts_exist(self) -> Score:
        asked = (*self.reflection, *(("consistency",) if self.k else ()))
        for name in self.weights:
            if name not in (*asked, "likelihood"):
                raise ValueError(
                    f"weights: {name!r} is not computed; name a question of `reflection`, "
                    "consistency (with k > 0) or likelihood"
                )
        for name in asked:
            if self.weights and name not in self.weights:
                raise ValueError(
                    f"weights: {name!r} would be asked for and not counted; give it a weight"
                )
        for name, weight in self.weights.items():
            if weight == 0.0 or not math.isfinite(weight):
                raise ValueError(
                    f"weights: {name}: {weight:g} is no weight; leave out what counts 0"
                )
        return self

    @model_validator(mode="after")
    def _every_part_counts(self) -> Score:
        """What is asked for is paid for."""
        self.require_variety(self.k)
        if self.weights and self.likelihood_weight:
            raise ValueError("likelihood_weight: weights are given; name likelihood there")
        if not self.weights and self.likelihood_weight == 1.0 and (self.reflection or self.k):
            whose = ", as preset likelihood sets it," if self.preset == "likelihood" else ""
            raise ValueError(
                f"likelihood_weight: at 1{whose} reflection and k would be asked for and not "
                "counted; lower it, or leave them out"
            )
        return self

    @model_validator(mode="after")
    def _every_setting_counts(self) -> Score:
        idle = idle_settings(
            questions=self.reflection,
            k=self.k,
            weights=self.weights,
            likelihood=self.wants_likelihood,
            similarity=self.similarity,
        )
        for name, reason in idle.items():
            default = type(self).model_fields[name].default
            if getattr(self, name) not in own_values(self.preset, name, default):
                raise ValueError(f"{name}: has no effect: {reason}")
        return self

    @model_validator(mode="after")
    def _rows_without_draws_have_a_part(self) -> Score:
        by_weight = set(self.weights) - {"consistency", "likelihood"}  # not every endpoint has it
        other = by_weight if self.weights else self.reflection or self.likelihood_weight == 1.0
        if self.k > 0 and self.draws_for_some and not other:
            raise ValueError(
                "longest_answer, draw_for: a row without draws would have no confidence; add a "
                "question to `reflection`, or leave both out"
            )
        return self

    @model_validator(mode="after")
    def _something_to_compute(self) -> Score:
        if self.weights:
            return self
        if not self.reflection and self.k == 0 and self.likelihood_weight == 0.0:
            raise ValueError("nothing to compute: set reflection, k or likelihood_weight")
        if not self.reflection and self.k == 0 and self.likelihood_weight < 1.0:
            raise ValueError("without reflection and k, likelihood_weight must be 1")
        return self

    def needs(self) -> tuple[str, ...]:
        """Nothing beyond the rows."""
        return ()

    def adds(self) -> pa.Schema:
        """`COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """The model that scores, and the one that embeds if draws are compared by it."""
        return ("scorer", *(self.sampling_roles() if self.k > 0 else ()))

    def rounds(self, models: Mapping[str, ChatModel]) -> int:
        """Its parts side by side; a likelihood by the tokens of a prompt takes two questions."""
        likelihood = 0
        if self.wants_likelihood:
            able = models["scorer"].capabilities.prompt_logprobs
            likelihood = {None: 4, True: 2, False: 0}[able]  # whether it is able is asked first
        return max(
            1 if self.reflection else 0,
            self.sampling_rounds if self.k > 0 else 0,
            likelihood,
        )

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],
        state: JSON,  # noqa: ARG002 - a row-wise stage has none
        ctx: Context,
    ) -> pa.Table:
        """Score the rows that are alive, `ctx.rows_in_flight` at a time.

        Raises:
            TooManyFailuresError: More rows failed than `max_failed_fraction` allows.
            UsageError: The endpoint cannot do what the preset needs.
        """
        model = ctx.models["scorer"]
        rows = list(zip(examples(shard.table), alive, strict=True))
        asked = any(lives and example.unscorable is None for example, lives in rows)
        if self.k > 0 and self.similarity == "nli":
            load_cross_encoder(self.nli_model)  # what is missing shows before the first call

        async def score(row: tuple[Example, bool]) -> RowScore:
            example, lives = row
            scored = await self._score(model, example, ctx, likely=able) if lives else RowScore()
            ctx.progress.advance()
            return scored

        able = asked and self._rests_on_likelihood
        if able:
            await require_likelihood(model)
        with Independent() as independent:
            if asked and not able:
                with independent.part():
                    able = await self._scores_text(model, ctx)
            scored = await map_rows(score, rows, limit=ctx.rows_in_flight)
        columns = {name: [getattr(row, name) for row in scored] for name in COLUMNS.names}
        return pa.table(columns, schema=COLUMNS)

    async def _scores_text(self, model: ChatModel, ctx: Context) -> bool:
        """Whether the likelihood is asked for; a preset of several parts can do without it."""
        if not self.wants_likelihood:
            return False
        able = ctx.found.get(model.identity)
        if able is None:
            able = ctx.found[model.identity] = await scores_text(model)
        if not able:
            ctx.note_once(
                f"{model.identity} scores no given text, so the likelihood is left out and the "
                f"confidence is that of {', '.join(n for n in self.weights if n != 'likelihood')}"
            )
        return able

    async def _score(
        self, model: ChatModel, example: Example, ctx: Context, *, likely: bool
    ) -> RowScore:
        row = RowScore(score_status="unscored", score_error=example.unscorable)
        if example.unscorable is not None:
            return row
        ctx.tally.begun += 1
        parts: dict[str, _Part] = {
            "reflection_usage": self._reflect,
            "consistency_usage": partial(self._observe, ctx=ctx),
            **({"likelihood_usage": self._likelihood} if likely else {}),
        }
        try:
            with Independent() as independent:
                for column, part in parts.items():
                    with independent.part():
                        await self._counted(part, column, model, example, row)
        except CallError as error:
            row.score_error = str(error)
            ctx.tally.fail(self.name, row.score_error, self.max_failed_fraction, kind=error.kind)
            return row
        row.confidence = self._confidence(row)
        row.score_status = "scored"
        return row

    async def _counted(
        self, part: _Part, column: str, model: ChatModel, example: Example, row: RowScore
    ) -> None:
        """Compute one part; what it asked is recorded even if it fails."""
        counted = Counted(model)
        try:
            await part(counted, example, row)
        finally:
            setattr(row, column, tokens_of(counted.usage))

    async def _reflect(self, model: ChatModel, example: Example, row: RowScore) -> None:
        if self.reflection:
            verdict = await reflect(
                model,
                example,
                self.reflection,
                via=self.reflection_via,
                orders=self.orders,
                text_samples=self.text_samples,
                in_parts=self.in_parts,
            )
            row.reflection = verdict.score
            row.reflections = verdict.values
            row.choice_mass = verdict.choice_mass
            row.reflection_via = verdict.via
            row.reflection_whole = verdict.whole
            row.reflection_view = verdict.lowest

    async def _observe(
        self, model: ChatModel, example: Example, row: RowScore, *, ctx: Context
    ) -> None:
        if self.k == 0 or not self.draws_for(example):
            return
        try:
            row.draws = await self.sample(model, example, k=self.k)
        except NoDrawError:
            if not self.draws_for_some:
                raise
            row.draws = []  # the others count, as for a row that is not drawn for
            return
        models = {**ctx.models, "scorer": model}
        seen = await self.compare(models, example, row.draws, via=self.reflection_via)
        row.consistency = seen.score
        row.entailment = seen.entailment
        row.exact_match = seen.exact_match

    async def _likelihood(self, model: ChatModel, example: Example, row: RowScore) -> None:
        found = await likelihood(
            model, example, max_tokens=self.likelihood_tokens, form=self.likelihood
        )
        row.likelihood = found.score
        row.logp_given_prompt = found.given_prompt
        row.logp_alone = found.alone
        row.response_tokens = found.tokens
        row.response_cut = found.cut

    @property
    def _rests_on_likelihood(self) -> bool:
        """Whether an endpoint that scores no text cannot serve at all."""
        return self.wants_likelihood and not set(self.weights) - {"likelihood"}

    @property
    def wants_likelihood(self) -> bool:
        """Whether any weight falls on the likelihood."""
        return self.likelihood_weight > 0.0 or "likelihood" in self.weights

    def _confidence(self, row: RowScore) -> float:
        if self.weights:
            parts = row.weighable()
            there = {name: weight for name, weight in self.weights.items() if name in parts}
            return bsdetector.weighted_log_odds(parts, there)
        judged = bsdetector.combine(row.consistency, row.reflection, beta=self.beta)
        weighted = [(1 - self.likelihood_weight, judged), (self.likelihood_weight, row.likelihood)]
        return sum(weight * part for weight, part in weighted if part is not None)
