"""The engines that answer a run's batches: one for each model and way, made on first use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.carrier import Carrier, Offline, Seen
from clear_pipeline.llm.batch.provider import Provider
from clear_pipeline.llm.batch.queue import Queue
from clear_pipeline.llm.batch.record import Record
from clear_pipeline.llm.batch.settings import BatchSettings
from clear_pipeline.llm.endpoint import client_of
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import ModelSettings

if TYPE_CHECKING:
    from clear_pipeline.llm.openai_chat import OpenAIChat


@dataclass(frozen=True, slots=True)
class Engine:
    """One model: its client, the way of its batches, and what is to be asked of it next."""

    settings: ModelSettings
    chat: OpenAIChat
    carrier: Carrier
    queue: Queue


class Engines:
    """Those of one run.

    Args:
        directory: The folder of batches in the run directory.
        settings: Limits.
        models: As they are set now: batches of theirs are looked for there, whatever address they
            were submitted to.
        record: Of the batches; knows what has been learned of each endpoint's dialect.
    """

    def __init__(
        self,
        directory: Path,
        settings: BatchSettings,
        *,
        models: Iterable[ModelSettings],
        record: Record,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._models = {model.identity: model for model in models}
        self._record = record
        self._made: dict[tuple[str, bool], Engine] = {}

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._made.values())

    def of(self, settings: ModelSettings, *, offline: bool) -> Engine:
        """The engine of a model; with `offline` one that is started by hand."""
        key = (settings.identity, offline)
        if key not in self._made:
            self._made[key] = self._new(settings, offline=offline)
        return self._made[key]

    def of_batch(self, batch: Batch) -> Engine:
        """The engine that a batch was made for."""
        return self.of(batch.model, offline=batch.offline)

    async def seen(self, batch: Batch) -> Seen:
        """A batch as its engine sees it now.

        Raises:
            RunFailedError: The engine cannot be asked.
        """
        if batch.batch_id is None:
            return Seen(batch.state)
        return await self.of_batch(batch).carrier.look(batch)

    async def close(self) -> None:
        """Release connections and files."""
        for engine in self:
            engine.queue.close()
            await engine.chat.close()

    def _new(self, settings: ModelSettings, *, offline: bool) -> Engine:
        settings = self._models.get(settings.identity, settings)
        chat = client_of(settings, offline=offline)
        learned = self._record.learned(settings.identity)
        if learned is not None:
            chat.dialect.recall(learned)
        carrier: Carrier = Offline(self._directory)
        if not offline:
            carrier = Provider(chat, settings, window=self._settings.completion_window)
        queue = Queue(self._settings, prices=prices(settings), at_batch_price=not offline)
        return Engine(settings, chat, carrier, queue)
