"""Score: how much the model trusts each row's response, every part a column of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, TypeAlias

import pyarrow as pa

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.counted import Counted
from clear_pipeline.llm.pending import Independent
from clear_pipeline.schema import JSON, Example, examples
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.consistency import NoDrawError
from clear_pipeline.scoring.cross_encoder import load_cross_encoder
from clear_pipeline.scoring.likelihood import likelihood, require_likelihood, scores_text
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.stages.base import Context, Shard, map_rows
from clear_pipeline.stages.score_row import COLUMNS, RowScore
from clear_pipeline.stages.score_settings import ScoreSettings
from clear_pipeline.stages.usage import usage_of

_Part: TypeAlias = Callable[[ChatModel, Example, RowScore], Awaitable[None]]
"""Asks the model about a row and fills columns."""


class Score(ScoreSettings):
    """BSDetector confidence of every row's own response, in [0, 1]; higher is better.

    A row whose calls fail is `unscored` with the error, never 0.

    Source: Chen & Mueller 2023 (arXiv 2308.16175) and 2024 (arXiv 2403.12776).
    """

    name: ClassVar[str] = "score"
    version: ClassVar[int] = 11

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

        able = asked and self.rests_on_likelihood
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
            setattr(row, column, usage_of(counted))

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

    def _confidence(self, row: RowScore) -> float:
        if self.weights:
            parts = row.weighable()
            there = {name: weight for name, weight in self.weights.items() if name in parts}
            return bsdetector.weighted_log_odds(parts, there)
        judged = bsdetector.combine(row.consistency, row.reflection, beta=self.beta)
        weighted = [(1 - self.likelihood_weight, judged), (self.likelihood_weight, row.likelihood)]
        return sum(weight * part for weight, part in weighted if part is not None)
