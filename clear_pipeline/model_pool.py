"""The models of a run by role: known by name at once, opened only when a call is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clear_pipeline.config import EMBEDDER, Config
from clear_pipeline.errors import ConfigError
from clear_pipeline.llm.base import Capabilities, ChatModel
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.llm.budget import Budget, spent_words
from clear_pipeline.llm.budgeted import Budgeted
from clear_pipeline.llm.cache import Cached
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.dialect import Dialect
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.open import model_identity, open_model
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.rescue import set_damaged_aside
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.spend import with_spend
from clear_pipeline.llm.spend_file import SpendFile
from clear_pipeline.llm.tokens import ByLength, TokenCounter, counter_for
from clear_pipeline.manifest import ModelRecord
from clear_pipeline.stages.base import Stage
from clear_pipeline.store import CACHE, SPEND


def identity_of(role: str, config: Config, given: Mapping[str, ChatModel]) -> str:
    """What tells the model of a role apart from others, before any is opened.

    Args:
        role: One of `config.ROLES`.
        config: Settings by role.
        given: Ready models by role, used instead.

    Raises:
        ConfigError: No model serves the role.
    """
    if role in given:
        return given[role].identity
    return model_identity(config.model_for(role), embeds=role == EMBEDDER)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is known of a model before it is asked.

    Attributes:
        identity: As in cache keys.
        name: For people.
        settings: None for a ready model that was handed over.
        capabilities: As far as they are known without a call.
        counter: Counts its tokens.
    """

    identity: str
    name: str
    settings: ModelSettings | None
    capabilities: Capabilities
    counter: TokenCounter


@dataclass(frozen=True, slots=True)
class Shared:
    """What a run has in common with other work.

    Attributes:
        answers: The cache of all of them; a SQLite file, made if absent.
        beside: What the others have spent: the caps hold over all.
    """

    answers: Path
    beside: Totals = field(default_factory=Totals)


class ModelPool:
    """Opens each model once, shares it between the roles that it serves, and sums the spend.

    Args:
        config: Settings by role.
        given: Ready models by role, used instead; their answers are cached all the same.
        directory: Of the run: answers are kept in it, and what was spent.
        spent: Totals by model from earlier sessions of this run.
        note: Told what the user must know, such as a download of weights.
        batches: Those of the run, if it has any. Unless the mode is live, questions are put there
            instead of being asked; embeddings are asked for live in any case.
        shared: What it has in common with other work; None = answers are kept in `directory`, and
            nothing else is spent.

    Attributes:
        budget: The caps of the run.
    """

    def __init__(
        self,
        config: Config,
        given: Mapping[str, ChatModel],
        *,
        directory: Path,
        spent: Mapping[str, Mapping[str, Any]],
        note: Callable[[str], None],
        batches: Batches | None = None,
        shared: Shared | None = None,
    ) -> None:
        shared = shared or Shared(directory / CACHE)
        self._config = config
        self._given = given
        self.cache_path = shared.answers
        self._note = note
        self._batches = batches
        self._spent = {name: Totals.from_json(dict(total)) for name, total in spent.items()}
        by_batch = {} if batches is None else batches.totals()
        earlier = {name: total for name, total in self._spent.items() if name not in by_batch}
        self.budget = Budget(config.budget, SpendFile(directory / SPEND, earlier=earlier))
        self.budget.spend.elsewhere = by_batch
        if batches is not None:
            self.budget.spend.reserved = batches.reserved
        self.budget.spend.beside = shared.beside
        self._meters: dict[str, Meter] = {}
        self._open: dict[str, Cached] = {}
        self._looked_through = False

    def identities(self, roles: Sequence[str]) -> dict[str, str]:
        """What tells the models of these roles apart from others, for fingerprints."""
        return {role: self._identity(role) for role in roles}

    def _identity(self, role: str) -> str:
        return identity_of(role, self._config, self._given)

    def _name(self, role: str) -> str:
        if role in self._given:
            return self._given[role].identity
        return self._config.model_for(role).model

    def mend_answers(self) -> None:
        """Put a new cache in the place of a damaged one: once, and before anything reads it.

        Raises:
            UnwritableError: The new one cannot be written.
        """
        if self._looked_through:
            return
        if told := set_damaged_aside(self.cache_path):
            self._note(told)
        self._looked_through = True

    async def open(self, roles: Sequence[str]) -> dict[str, ChatModel]:
        """The models of these roles, started or connected to on first use.

        Raises:
            UnreachableError: A server does not answer.
            WeightsError: The embedded model's weights could not be had.
        """
        if roles:
            self.mend_answers()
        for role in roles:
            identity = self._identity(role)
            if identity not in self._open:
                self._open[identity] = await self._opened(role)
        return {role: self._open[self._identity(role)] for role in roles}

    async def _opened(self, role: str) -> Cached:
        meter = self._meters.setdefault(self._name(role), Meter())
        if role in self._given:
            account = self.budget.account(self._name(role), None, meter)
            model = Budgeted(self._given[role], account)
            return Cached(model, path=self.cache_path, meter=meter)
        settings = self._config.model_for(role)
        if self._batches is not None and self._config.mode != "live" and role != EMBEDDER:
            self.budget.account(settings.model, prices(settings), meter)  # refuses a vain cap
            return Cached(self._batches.model(settings), path=self.cache_path, meter=meter)
        return await open_model(
            settings,
            cache_path=self.cache_path,
            meter=meter,
            budget=self.budget,
            note=self._note,
            embeds=role == EMBEDDER,
        )

    def rows_in_flight(self, roles: Sequence[str]) -> int:
        """How many rows to work on at once: as many as the opened models take calls.

        More rows than a server has slots would push each other's prompts out of its cache.
        """
        limits = [self._config.model_for(r).max_in_flight for r in roles if r not in self._given]
        opened = [self._open[i] for r in roles if (i := self._identity(r)) in self._open]
        slots = [model.capabilities.slots for model in opened]
        return min([*limits, *(n for n in slots if n is not None)], default=64)

    async def endpoint(self, role: str) -> Endpoint:
        """What is known of a role's model without a call that could be paid.

        Raises:
            UnreachableError: A server does not answer.
            WeightsError: The embedded model's weights could not be had.
        """
        identity, name = self._identity(role), self._name(role)
        if role in self._given:
            given = self._given[role]
            return Endpoint(identity, name, None, given.capabilities, ByLength())
        settings = self._config.model_for(role)
        if settings.is_openai and embedded_model(settings) is None:
            counter = await counter_for(name, None, llama_cpp=False)
            return Endpoint(identity, name, settings, Dialect(settings).capabilities, counter)
        await self.open([role])
        opened = self._open[identity]
        known = opened.capabilities
        counter = await counter_for(name, opened.client, llama_cpp=known.grammar)
        return Endpoint(identity, name, settings, known, counter)

    def records(self, stages: Iterable[Stage]) -> dict[str, ModelRecord]:
        """For the manifest: which model serves which role.

        Raises:
            ConfigError: The second opinion would be the first one's, or two servers could not
                be told apart.
        """
        roles = {role for stage in stages for role in stage.roles()}
        self._refuse_twins(sorted(roles - set(self._given)))
        if {"second", "scorer"} <= roles and self._identity("second") == self._identity("scorer"):
            raise ConfigError(
                f"models.second: {self._name('second')} is the scorer itself; "
                "a second opinion takes another model"
            )
        return {role: self._record(role) for role in sorted(roles)}

    def _refuse_twins(self, roles: Sequence[str]) -> None:
        """No two addresses under one identity: one would be asked for both, and cached as both."""
        first: dict[str, str] = {}
        for role in roles:
            other = first.setdefault(self._identity(role), role)
            here, there = (self._config.model_for(r).url for r in (role, other))
            if here != there:
                raise ConfigError(
                    f"models.{role}: {here} and {there} (models.{other}) both serve "
                    f"{self._name(role)} on one host, and answers are kept without the port; if "
                    f"they are two models, set models.{role}.revision to any word, else give both "
                    "roles one address"
                )

    def _record(self, role: str) -> ModelRecord:
        endpoint = "in this process"
        if role not in self._given:
            settings = self._config.model_for(role)
            if embedded_model(settings) is None:
                endpoint = settings.url
        return ModelRecord(model=self._name(role), endpoint=endpoint, identity=self._identity(role))

    def totals(self) -> dict[str, Totals]:
        """Counts by model, over all sessions of the run; what batches took stands by itself."""
        totals = dict(self._spent)
        for name, meter in self._meters.items():
            totals[name] = totals.get(name, Totals()) + meter.snapshot()
        live = with_spend(totals, self.budget.spend.totals())
        return live if self._batches is None else live | self._batches.totals()

    def commit_answers(self) -> None:
        """Put on the disk what the models have answered."""
        for model in self._open.values():
            model.commit()

    def usage(self) -> dict[str, dict[str, Any]]:
        """`totals` as plain values."""
        return {name: total.to_json() for name, total in self.totals().items()}

    def spend(self) -> str:
        """Calls, tokens and dollars so far in words; "" before the first call."""
        totals = [*self.totals().values(), self.budget.spend.beside]
        total = sum(totals, Totals())
        if total.requests + total.cached_samples == 0:
            return ""
        return spent_words(totals, self._config.budget)

    def _session(self) -> Totals:
        return sum((meter.snapshot() for meter in self._meters.values()), Totals())

    def answered(self) -> int:
        """Requests of this session that the models answered; those in flight are yet to be."""
        total = self._session()
        return total.requests - sum(total.failures.values()) - self.budget.spend.open

    def failures(self) -> str:
        """Requests of this session that failed, by kind, in words; "" if none did."""
        total = self._session()
        if not total.failures:
            return ""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in total.failures.items())
        return (
            f"{sum(total.failures.values()):,} requests failed ({kinds}); "
            f"{total.failed:,} questions got no answer"
        )

    async def close(self) -> None:
        """Close every model that was opened, and the record of spend."""
        try:
            while self._open:
                _, model = self._open.popitem()
                await model.close()
        finally:
            self.budget.close()
