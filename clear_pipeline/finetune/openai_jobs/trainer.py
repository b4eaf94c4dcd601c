"""The trainer `openai-jobs`: settings, and how a job's pieces make up a training."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field
from tenacity import wait_exponential

from clear_pipeline.errors import BatchPendingError, RunFailedError, UsageError
from clear_pipeline.finetune.base import (
    Finding,
    Price,
    Standing,
    Trained,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.general import answers_command
from clear_pipeline.finetune.openai_jobs.curve import curve_of
from clear_pipeline.finetune.openai_jobs.follow import Follower
from clear_pipeline.finetune.openai_jobs.platform import Platform, Seen
from clear_pipeline.finetune.openai_jobs.record import (
    ENDED,
    GIVEN_UP,
    NEVER_CREATED,
    SUCCEEDED,
    Job,
    Record,
)
from clear_pipeline.finetune.openai_jobs.survey import Surveyor
from clear_pipeline.llm.endpoint import Endpoint, client_of
from clear_pipeline.llm.keys import read_key
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.tokens import counter_for
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings
from clear_pipeline.store import Store

Auto: TypeAlias = Literal["auto"]

CLOSING: Final = (
    "OpenAI's self-serve fine-tuning closes to everyone on 2027-01-06, by its deprecations page"
)

_LONGEST: Final = (
    (re.compile(r"(?:ft:)?gpt-4(?:o|\.1)"), 65_536),
    (re.compile(r"(?:ft:)?gpt-3\.5-turbo"), 16_385),
)
"""Tokens of a row that OpenAI trains on, by the start of a model's name."""


class OpenAIJobs(Settings):
    """Trains where the rows are uploaded to: any endpoint with `/v1/fine_tuning/jobs`."""

    name: ClassVar[str] = "openai-jobs"
    version: ClassVar[int] = 1

    kind: Literal["openai-jobs"] = "openai-jobs"
    base: ModelSettings | None = None
    """The model that is trained, as the platform names it, and where; must be given."""
    method: Literal["supervised"] = "supervised"
    """How: to say what the rows say."""
    n_epochs: Annotated[int, Field(ge=1)] | Auto = 3
    """How often all rows are learnt; auto leaves it to the platform, and the price open."""
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Rows of one update of the weights; auto leaves it to the platform."""
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Times the platform's own learning rate; auto leaves it to the platform."""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Part of the trained model's name."""
    seed: int | None = 0
    """Of the platform's training; None leaves it to the platform."""
    metadata: bool = True
    """Whether the job is tagged in its metadata; false for a platform that takes none."""
    price_per_mtok: Annotated[float, Field(ge=0)] | None = None
    """US dollars per million trained tokens; None = 0 on machines of one's own, else not known."""
    max_tokens_per_row: Annotated[int, Field(ge=1)] | None = None
    """Longer rows are errors; None = as OpenAI has it for its models, no limit for others."""
    max_file_bytes: Annotated[int, Field(ge=1)] = 512_000_000
    """Larger files are errors."""
    poll_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds between the first two looks at a job; doubles up to `max_poll_s`."""
    max_poll_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds between two looks at most."""
    wait: bool = True
    """Whether to wait for the job's end; else the same command looks again."""

    def identity(self) -> dict[str, JSON]:
        """What the platform is asked for: neither prices, limits, keys nor waiting times."""
        return {"base": None if self.base is None else self.base.identity, **self._asked()}

    def base_model(self) -> ModelSettings:
        """As `Trainer.base_model`: `base`, whose key is there.

        Raises:
            UsageError: No model is given, or its key is not there.
        """
        model = self._base()
        read_key(model)
        return model

    def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
        """What the platform would refuse, and what it would take but nobody wants.

        Raises:
            UsageError: No model is given, or its key is not there.
        """
        model = self._base()
        read_key(model)
        if model.is_openai:
            ctx.progress.note(CLOSING)

        async def looked() -> tuple[Finding, ...]:
            surveyor = await self._surveyor(model)
            train = await surveyor.train(data.train)
            if data.valid is None:
                return tuple(train.findings)
            valid = await surveyor.valid(data.valid, train.lines)
            return (*train.findings, *valid.findings)

        return in_own_loop(looked())

    def standing(self, ctx: TrainingContext) -> Standing:
        """As `Trainer.standing`; a job has begun once the platform has given its id."""
        job = Record(ctx.folder).read()
        if job is None:
            return "fresh"
        if job.job_id is None:
            return "left"
        return "lost" if job.state in GIVEN_UP else "begun"

    def price(self, data: TrainingData) -> Price:
        """Tokens times epochs times the price of a trained token, before anything is uploaded."""
        model = self._base()

        async def counted() -> tuple[int, str]:
            surveyor = await self._surveyor(model)
            return (await surveyor.train(data.train)).tokens, surveyor.counter.how

        tokens, how = in_own_loop(counted())
        basis = f"counting {tokens:,} tokens {how} (the platform's own count is billed)"
        price = self._dollars(model)
        if self.n_epochs == "auto":
            each = "" if price is None else f", ${price:g} per million and epoch"
            known = 0.0 if price == 0 else None
            return Price(known, None, f"{basis}{each}; n_epochs: auto leaves their number open")
        trained = tokens * self.n_epochs
        basis += f" in {self.n_epochs} epochs"
        if price is None:
            return Price(None, trained, f"{basis}; no price is known: give price_per_mtok")
        return Price(trained * price / 1e6, trained, f"{basis}, at ${price:g} per million")

    async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
        """Upload, have a job created and follow it; or go on with the one that was begun.

        Ctrl-C leaves the job running.

        Raises:
            UsageError: The endpoint has no fine-tuning jobs, or the key is not there.
            RunFailedError: The job failed, was cancelled or refused, or cannot be seen now.
            BatchPendingError: The job has not ended, and nobody waits for it.
        """
        model, record = self._base(), Record(ctx.folder)
        job, again = record.read(), True
        if job is None or job.state in GIVEN_UP:
            job, again = record.write(Job()), False
        async with self._follower(model, ctx) as follower:
            if job.job_id is None:
                job = await follower.submit(job, data, self._body(model), again=again)
                ctx.progress.note(f"job {job.job_id} at {model.url}")
            poll = wait_exponential(multiplier=self.poll_s, max=self.max_poll_s)
            try:
                job, seen = await follower.follow(job, poll, wait=self.wait)
            except (asyncio.CancelledError, KeyboardInterrupt):
                ctx.progress.note(
                    f"job {job.job_id} goes on at the platform; --cancel ends it, and what it has "
                    "trained is still paid"
                )
                raise
            return await self._trained(job, seen, follower, record, data)

    async def cancel(self, ctx: TrainingContext) -> str:
        """Have the job in a folder cancelled; what has become of it, in a line.

        Raises:
            RunFailedError: The platform cannot be asked now.
            RunLockedError: Another process may be about to create the job.
        """
        record = Record(ctx.folder)
        if (begun := record.read()) is not None and begun.job_id is None:
            with Store(ctx.folder).locked(ctx.progress.note):  # nobody is about to create it
                return await self._cancelled(record, ctx)
        return await self._cancelled(record, ctx)

    async def _cancelled(self, record: Record, ctx: TrainingContext) -> str:
        job = record.read()
        if job is None or job.state == NEVER_CREATED:
            return "no job is open"
        if job.state in ENDED:
            return f"job {job.job_id} has ended: {job.state}"
        async with self._follower(self._base(), ctx) as follower:
            left = await follower.cancel(job)
        if left is None:
            return "the job that was begun here was never created; it is given up"
        return f"job {left.job_id}: {left.state}"

    def _base(self) -> ModelSettings:
        if self.base is None:
            raise UsageError(
                "trainer openai-jobs: no model is given to train; set base: {model: NAME}, with "
                "the base_url of its platform where that is not OpenAI"
            )
        return self.base

    def _asked(self) -> dict[str, JSON]:
        """What a job is created with, beside the model and the files."""
        given: dict[str, JSON] = {
            name: getattr(self, name)
            for name in ("n_epochs", "batch_size", "learning_rate_multiplier")
        }
        asked: dict[str, JSON] = {
            "method": {"type": self.method, self.method: {"hyperparameters": given}}
        }
        for name in ("suffix", "seed"):
            if (value := getattr(self, name)) is not None:
                asked[name] = value
        return asked

    def _body(self, model: ModelSettings) -> dict[str, Any]:
        return {"model": model.model, **self._asked()}

    def _dollars(self, model: ModelSettings) -> float | None:
        """Per million trained tokens; those of the price list are of answers, but for free ones."""
        if self.price_per_mtok is not None:
            return self.price_per_mtok
        known = prices(model)
        return 0.0 if known is not None and known.is_free else None

    async def _surveyor(self, model: ModelSettings) -> Surveyor:
        longest = next((most for name, most in _LONGEST if name.match(model.model)), None)
        return Surveyor(
            await counter_for(model.model, None, llama_cpp=False),
            max_tokens=self.max_tokens_per_row or longest,
            max_bytes=self.max_file_bytes,
        )

    @asynccontextmanager
    async def _follower(
        self, model: ModelSettings, ctx: TrainingContext
    ) -> AsyncIterator[Follower]:
        chat = client_of(model)
        try:
            endpoint = Endpoint(chat, model)
            platform = Platform(endpoint, model.url, tags=self.metadata)
            yield Follower(endpoint, platform, Record(ctx.folder), ctx.progress.note)
        finally:
            await chat.close()

    async def _trained(
        self, job: Job, seen: Seen, follower: Follower, record: Record, data: TrainingData
    ) -> Trained:
        """The model of a job that has succeeded.

        Raises:
            RunFailedError: It has not, or names none.
            BatchPendingError: It has not ended.
        """
        if seen.state not in ENDED:
            raise BatchPendingError(f"job {job.job_id}: {seen.state}; the same command looks again")
        if seen.state != SUCCEEDED:
            why = f": {seen.reason}" if seen.reason else ""
            raise RunFailedError(
                f"job {job.job_id} {_ENDS[seen.state]}{why}; the same command begins a new one, "
                "which is paid anew"
            )
        if seen.model is None:
            raise RunFailedError(
                f"job {job.job_id} has succeeded but names no model yet; the same command looks "
                "again"
            )
        model = self._base()
        price, tokens = self._dollars(model), seen.trained_tokens
        summary: dict[str, str | int | float | None] = {
            "job": job.job_id,
            "trained_tokens": tokens,
            "epochs": seen.epochs,
            "usd": None if price is None or tokens is None else tokens * price / 1e6,
            "checkpoints": ", ".join(await follower.checkpoints(job)) or None,
        }
        route = model.model_copy(update={"model": seen.model, "price_per_mtok": None})
        if data.general is not None:  # nobody here has its weights
            command = answers_command(data.general, model.model, route)
            summary["answers to general rows"] = command
        return Trained(model=route, curve=curve_of(record.events(str(job.job_id))), summary=summary)


_ENDS: Final = {"failed": "has failed", "cancelled": "was cancelled"}
