"""What a stage is: a frozen pydantic model that adds columns to row shards.

A stage never drops, adds or reorders rows. `annotate` returns one value per row for exactly the
columns of `adds()`; rows that are not alive get null and cost no call. A dataset-wise stage also
looks at all shards (`survey`) and comes to one state per shard before it annotates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.pending import Independent
from clear_pipeline.manifest import StageRecord
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings as Settings  # noqa: PLC0414  # stages are Settings
from clear_pipeline.stages.failures import FailureTally

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows that are computed together.

    Attributes:
        key: Name of the shard, from the content of its rows; stable when other files change.
        table: `ROWS` plus the columns of all earlier stages.
    """

    key: str
    table: pa.Table

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.table.num_rows)


class Progress(Protocol):
    """Where long steps report. Implemented by the command line; `SilentProgress` elsewhere."""

    def start(self, label: str, total: int) -> None:
        """A step of `total` rows begins."""
        ...

    def advance(self, rows: int = 1) -> None:
        """So many more rows are done."""
        ...

    def finish(self) -> None:
        """The step that was started last is over."""
        ...

    def spent(self, tell: Callable[[], str]) -> None:
        """What tells the calls, tokens and dollars so far in words, whenever they are shown."""
        ...

    def note(self, text: str) -> None:
        """One line that the user must see: a warning with its figure, a decision taken."""
        ...


class SilentProgress:
    """Reports nothing, keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, label: str, total: int) -> None:
        """Ignore."""

    def advance(self, rows: int = 1) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""

    def spent(self, tell: Callable[[], str]) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Keep."""
        self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage may use besides its rows. No paths.

    Attributes:
        models: By role: `scorer`, `candidate`, `judge`.
        progress: Where to report rows done and notes.
        rows_in_flight: How many rows to work on at once; the calls themselves are limited by
            the model.
        tally: What failed so far, over all shards; a context is made for one stage of one run.
        records: Settings and model identities of the earlier stages of the chain, by kind.
        told: What `note_once` has said.
        found: What the stage has found out about its models, by identity.
    """

    models: Mapping[str, ChatModel] = field(default_factory=dict)
    progress: Progress = field(default_factory=SilentProgress)
    rows_in_flight: int = 64
    tally: FailureTally = field(default_factory=FailureTally)
    records: Mapping[str, StageRecord] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    found: dict[str, bool] = field(default_factory=dict)

    def note_once(self, text: str) -> None:
        """Note what holds for the whole stage, at its first shard alone."""
        if text not in self.told:
            self.told.add(text)
            self.progress.note(text)


@runtime_checkable
class Stage(Protocol):
    """A row-wise stage. Implement as a `Settings` subclass with these members."""

    name: ClassVar[str]
    """The stage's `kind` in a config, and the name of its folder in the run directory."""
    version: ClassVar[int]
    """Bumped whenever equal input and settings may give other output."""

    def needs(self) -> tuple[str, ...]:
        """Columns that earlier stages must have added."""
        ...

    def adds(self) -> pa.Schema:
        """The columns that `annotate` returns."""
        ...

    def roles(self) -> tuple[str, ...]:
        """Roles of the models that are called; empty for a stage without calls."""
        ...

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        """Compute the columns of `adds()` for every row of `shard`, in order.

        Of a stage without roles, several shards are computed at once, in threads.

        Args:
            shard: The rows, with the columns of earlier stages.
            alive: Per row, whether it may still reach the export.
            state: What `survey` returned for this shard; None for a row-wise stage.
            ctx: Models and progress.

        Raises:
            PendingError: An answer is yet to come with a batch; all that can be asked was asked.
            RunFailedError: The stage cannot go on. A single row's failure is never raised.
        """
        ...


class Shards(Protocol):
    """All shards of a run, wherever an engine reads them.

    What is computed of them comes back in their order, and only a few results ahead of what is
    taken, so that a survey need not hold them all.
    """

    @property
    def scratch(self) -> Path:
        """A directory for what does not fit into memory; it goes when the stage is through."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def shard(self, number: int) -> Shard:
        """One of them."""
        ...

    def map(
        self,
        look: Callable[..., R],
        *given: Iterable[Any],
        step: str = "",
        columns: Collection[str] | None = None,
    ) -> Iterator[R]:
        """`look(shard, alive, *values)` of each shard.

        Args:
            look: Reads one shard and the flags of its alive rows. It may run in another thread,
                process or machine: a function of a module or a method of a stage, that changes
                nothing and returns what can be pickled.
            given: For each further argument of `look` one value per shard, as with `map`.
            step: What is done, in a word or two, for the progress.
            columns: Those that `look` reads; others need not be there. `messages.content` is a
                field of the structs in `messages`. All by default.
        """
        ...

    def spread(self, work: Callable[[T], R], items: Iterable[T], *, step: str = "") -> Iterator[R]:
        """`work(item)` of each item, for work that reads no shard; `work` as `look` above.

        An item is taken when there is room for it, so that they need not all be there at once.
        """
        ...


@runtime_checkable
class DatasetStage(Stage, Protocol):
    """A stage that must see the whole dataset before it can annotate one shard."""

    def survey(self, shards: Shards, ctx: Context) -> Sequence[JSON]:
        """One state per shard, in their order. Its hash enters the fingerprint.

        A state is asked for when its shard is annotated, and may be made then.

        Raises:
            NoSurvivorsError: The stage would leave no row.
        """
        ...


@runtime_checkable
class ReadingStage(Stage, Protocol):
    """A stage that reads files beside DATA."""

    def require_files(self) -> None:
        """Look at the files, so that what is wrong with one is known before any work.

        Raises:
            UsageError: A file is not there or not what it is said to be; one line.
        """
        ...


@runtime_checkable
class NarrowStage(Stage, Protocol):
    """A stage whose `annotate` reads few columns of its shard."""

    def reads(self) -> tuple[str, ...]:
        """Which, beside `id`; others need not be there. As the `columns` of `Shards.map`."""
        ...


@runtime_checkable
class AskingStage(Stage, Protocol):
    """A stage that asks models."""

    def rounds(self, models: Mapping[str, ChatModel]) -> int:
        """How many batches, one after the other, answer all its questions about a row.

        That is its longest chain of questions that wait for each other's answers, where every
        answer can be read in the way in which it is asked for.
        """
        ...


ALIVE_BY: Final = ("duplicate_of", "contaminated_by", "score_status")
"""The columns that say which rows are alive, where earlier stages have added them."""


def alive_rows(table: pa.Table) -> list[bool]:
    """Which rows may still reach the export, from the columns that are there.

    A row is dead if it is a duplicate, contaminated, or if scoring ran and failed on it.
    """
    mask = pa.repeat(True, table.num_rows)
    *marks, status = ALIVE_BY
    for column in marks:
        if column in table.column_names:
            mask = pc.and_(mask, pc.is_null(table[column]))
    if status in table.column_names:
        scored = pc.fill_null(pc.equal(table[status], "scored"), fill_value=False)
        mask = pc.and_(mask, scored)
    alive: list[bool] = np.asarray(mask).tolist()
    return alive


async def map_rows(
    function: Callable[[T], Awaitable[R]], items: Sequence[T], *, limit: int
) -> list[R]:
    """Apply an async function to all items, at most `limit` at once; results in input order.

    The first exception cancels the rest and is raised as it is, but for a `PendingError`: that one
    is raised when all items have been seen.
    """
    results: dict[int, R] = {}
    rest = iter(enumerate(items))

    async def worker() -> None:
        for index, item in rest:
            with independent.part():
                results[index] = await function(item)

    with Independent() as independent:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(limit, len(items))):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return [results[index] for index in range(len(items))]
