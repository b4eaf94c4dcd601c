"""The batches of one run: looked after first, then filled with what the stages ask."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from clear_pipeline.durable import file_sha256, write_atomically
from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.batch.batch import INTENDED, Batch
from clear_pipeline.llm.batch.carrier import (
    ENDED,
    UNKNOWN,
    Seen,
    requests_path,
)
from clear_pipeline.llm.batch.collector import Collector
from clear_pipeline.llm.batch.engines import Engine, Engines
from clear_pipeline.llm.batch.intake import take_in
from clear_pipeline.llm.batch.lines import Sent, sent_by_id
from clear_pipeline.llm.batch.queue import Part
from clear_pipeline.llm.batch.record import RECORD, Record
from clear_pipeline.llm.batch.settings import BatchSettings
from clear_pipeline.llm.batch.words import commands_for, failed, progress_of, unknown
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.meter import Amount, Totals
from clear_pipeline.llm.rescue import set_damaged_aside
from clear_pipeline.llm.settings import ModelSettings


class Batches:
    """Everything that a run has to do with batches; one process at a time.

    Args:
        directory: Their folder in the run directory.
        settings: Limits.
        models: As they are set now: batches of theirs are looked for there, whatever address they
            were submitted to.
        cache_path: Where answers go.
        offline: Whether new batches are for an engine that is started by hand.
        note: Told, a line each, what came of each batch.
        read_only: Whether it is only looked at.

    Raises:
        DamagedRunError: The record cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        settings: BatchSettings,
        *,
        models: Iterable[ModelSettings],
        cache_path: Path,
        offline: bool,
        note: Callable[[str], None],
        read_only: bool = False,
    ) -> None:
        self._directory = directory
        self._offline = offline
        self._note = note
        self._record = Record(directory / RECORD, read_only=read_only)
        self._cache_path = cache_path
        self._engines = Engines(directory, settings, models=models, record=self._record)

    def model(self, settings: ModelSettings) -> ChatModel:
        """The model, as one whose answers come with batches."""
        engine = self._engines.of(settings, offline=self._offline)
        return Collector(
            settings.identity,
            engine.chat.dialect,
            self._record,
            engine.queue,
            max_attempts=settings.max_attempts,
        )

    def open(self) -> list[Batch]:
        """The batches that are not all in the cache, as they were last seen."""
        return self._record.open()

    def totals(self) -> dict[str, Totals]:
        """What all batches of the run took, or at most can take, see `Record.totals`."""
        return self._record.totals()

    @property
    def reserved(self) -> Amount:
        """The most that open batches can take."""
        return self._record.reserved()

    def rounds(self, stage: str) -> int:
        """In how many rounds questions of a stage have been submitted."""
        return self._record.rounds(stage)

    @property
    def waiting(self) -> int:
        """Requests in open batches."""
        return self._record.waiting()

    @property
    def left_over(self) -> int:
        """Questions for which there was no room."""
        return sum(len(engine.queue) for engine in self._engines)

    async def look(self) -> list[Batch]:
        """The open batches as their engines see them now; nothing is taken in.

        Raises:
            RunFailedError: An engine cannot be asked.
        """
        return [(await self._engines.seen(batch)).of(batch) for batch in self.open()]

    async def visit(self, *, submit: bool = True) -> None:
        """Look after the open batches: take in the results of those that have ended.

        Args:
            submit: Whether a batch is submitted that an earlier process meant to; else it is looked
                for, and given up if nobody has it.

        Raises:
            RunFailedError: A whole batch has failed, or the provider cannot be asked. The same
                command goes on.
        """
        stops: list[ClearPipelineError] = []
        for batch in self.open():
            known = await self._recovered(batch, submit=submit)
            if known is None:
                continue
            seen = await self._engines.seen(known)
            now = seen.of(known)
            self._record.update(now)
            if seen.state == "failed":
                self._record.end(now, failures={})
                requests_path(self._directory, now).unlink(missing_ok=True)
                stops.append(failed(now, seen))
            elif seen.state == UNKNOWN:
                stops.append(unknown(now, seen, self._directory.parent))
            elif seen.state in ENDED:
                stops += await self._take_in(now, seen)
        if stops:
            raise stops[0]

    async def submit(self, stage: str, budget: Budget) -> None:
        """Submit what the models were asked since the last visit, as far as there is room.

        Args:
            stage: Whose questions these are.
            budget: The caps of the run; a batch counts at the most that it can take until it ends.

        Raises:
            RunFailedError: The provider does not take it now. The same command goes on.
            BudgetExceededError: A cap forbids any of it, and no batch is open.
        """
        round_ = self._record.rounds(stage) + 1
        for engine in self._engines:
            enqueued = self._record.enqueued_tokens(engine.settings.identity)
            budget.spend.elsewhere = self._record.totals()
            budget.spend.reserved = self.reserved
            parts = engine.queue.parts(enqueued=enqueued, fits=budget.fits)
            first = engine.queue.first
            if first is not None and not parts and not budget.fits(first) and not self.open():
                raise budget.exceeded(first)
            batches = [self._intended(part, engine, stage, round_) for part in parts]
            for batch in batches:
                path = requests_path(self._directory, batch)
                await engine.carrier.submit(batch, path, self._record.update, again=False)

    def finish(self, stage: str) -> None:
        """A stage is through, or has stopped: its next run begins with its first round."""
        self._record.finish(stage)

    def forgive(self) -> None:
        """The run is through, or has stopped: what has failed is asked again by the next one.

        Not before: while later stages wait for answers, each visit looks at a row with a failed
        call again, and would put it off anew.
        """
        self._record.forgive()

    async def cancel(self) -> list[Batch]:
        """Have nothing more answered; returns the batches that were open.

        What has been answered is taken in by the next visit.

        Raises:
            RunFailedError: The provider cannot be asked.
        """
        cancelled = []
        for batch in self.open():
            known = await self._recovered(batch, submit=False)
            if known is None:
                cancelled.append(replace(batch, state="cancelled"))
            elif known.offline:
                seen = await self._engines.seen(known)
                if seen.state in ENDED:  # its results are whole
                    cancelled.append(seen.of(known))
                    continue
                cancelled.append(replace(known, state="cancelled"))
                self._record.end(cancelled[-1], failures={})
            else:
                await self._engines.of_batch(known).carrier.cancel(known)
                cancelled.append((await self._engines.seen(known)).of(known))
                self._record.update(cancelled[-1])
                if cancelled[-1].state == UNKNOWN:
                    # It may go on in another account: nobody will know what it took.
                    lost = Totals(requests=batch.requests, unaccounted=batch.most)
                    self._record.end(cancelled[-1], failures={}, totals=lost)
        return cancelled

    def progress(self) -> str:
        """The open batches in a few words."""
        return progress_of(self.open())

    def commands(self) -> list[str]:
        """What to run by hand for the offline batches that are open."""
        return commands_for(self.open(), self._directory)

    async def close(self) -> None:
        """Release connections and files."""
        await self._engines.close()
        self._record.close()

    async def _recovered(self, batch: Batch, *, submit: bool) -> Batch | None:
        """A batch with its id, whatever an earlier process left undone; None if it is no more."""
        if batch.batch_id is not None:
            return batch
        engine = self._engines.of_batch(batch)
        path = requests_path(self._directory, batch)
        if submit and path.is_file() and file_sha256(path) == batch.sha256:
            found = await engine.carrier.submit(batch, path, self._record.update, again=True)
            self._note(f"batch {batch.number}, begun when the run stopped, is {found.batch_id}")
            return found
        batch_id = await engine.carrier.find(batch)
        if batch_id is None:
            self._note(f"batch {batch.number} was never submitted; what it asks is asked anew")
            self._record.end(batch, failures={})
            return None
        found = replace(batch, batch_id=batch_id, state="validating")
        self._record.update(found)
        return found

    async def _take_in(self, batch: Batch, seen: Seen) -> list[ClearPipelineError]:
        engine = self._engines.of_batch(batch)
        path = requests_path(self._directory, batch)
        sent: dict[str, Sent] = {}
        if path.is_file():
            with path.open("rb") as file:
                sent = sent_by_id(file)
        lines = await engine.carrier.results(seen)
        if told := set_damaged_aside(self._cache_path):
            self._note(told)
        with closing(Answers(self._cache_path)) as answers:
            intake = take_in(
                lines,
                self._record.asked(batch),
                sent,
                state=seen.state,
                offline=batch.offline,
                chat=engine.chat,
                answers=answers,
            )
        self._record.learn(batch.model.identity, engine.chat.dialect.learned())
        self._record.end(batch, failures=intake.failures, totals=intake.totals(batch))
        if not batch.offline:
            path.unlink(missing_ok=True)
        self._note(intake.words(batch))
        return [] if intake.fatal is None else [intake.fatal]

    def _intended(self, part: Part, engine: Engine, stage: str, round_: int) -> Batch:
        """Write the file of a batch, then the intent to submit it."""
        number = self._record.next_number()
        path = self._directory / f"requests-{number}.jsonl"

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(engine.queue.lines(part))

        write_atomically(path, write)
        batch = Batch(
            number, uuid.uuid4().hex, stage, round_, self._offline, engine.settings,
            part.requests, part.tokens, file_sha256(path), INTENDED, most=part.most,
        )  # fmt: skip
        self._record.intend(batch, engine.queue.questions(part))
        engine.queue.remove(part)
        return batch
