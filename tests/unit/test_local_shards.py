"""What the local engine computes at once, what it tells of it, and what it reads for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from clear_pipeline.engine.base import ShardTask, annotated
from clear_pipeline.engine.local import LocalEngine, cores
from clear_pipeline.errors import RunFailedError
from clear_pipeline.manifest import Part
from clear_pipeline.schema import JSON, ROWS, rows_table
from clear_pipeline.stages.base import Context, Settings, Shard, SilentProgress
from clear_pipeline.stages.held import HeldShards
from clear_pipeline.store import Store
from dedup_rows import rows


class Heard(SilentProgress):
    """Keeps the steps with their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, int]] = []

    def start(self, label: str, total: int) -> None:
        assert total == 0
        self.steps.append((label, 0))

    def advance(self, rows: int = 1) -> None:
        label, done = self.steps[-1]
        self.steps[-1] = (label, done + rows)


def test_items_that_are_no_rows_are_not_told_as_rows(tmp_path: Path) -> None:
    """The step is told by its name; its results come in order."""
    progress = Heard()
    with LocalEngine(Store(tmp_path)).shards("dedup", [], progress) as shards:
        found = list(shards.spread(abs, [-3, -1, -2], step="hashing"))
    assert found == [3, 1, 2]
    assert progress.steps == [("dedup, hashing", 0)]


def stored(folder: Path) -> tuple[Store, list[ShardTask]]:
    """Two rows, of which the second is a duplicate of the first, with a column of a stage."""
    store, table = Store(folder), rows_table(rows([("Hi", "Hello"), ("Bye", "Ciao")]))
    marks = pa.table({"id": table["id"], "duplicate_of": [None, "a.jsonl:1"], "mark": [1, 2]})
    parts = tuple(
        (name, store.write(name, "key", columns, fingerprint="f"))
        for name, columns in (("rows", table), ("dedup", marks))
    )
    return store, [ShardTask("key", parts)]


def names_and_turns(shard: Shard, alive: Sequence[bool]) -> tuple[list[str], object, list[bool]]:
    turns = shard.table["messages"].to_pylist() if "messages" in shard.table.column_names else None
    return shard.table.column_names, turns, list(alive)


def test_a_sweep_reads_the_columns_that_it_names(tmp_path: Path) -> None:
    """Of rows and of stages, fields of structs too; who is alive is known all the same."""
    store, tasks = stored(tmp_path)
    with LocalEngine(store).shards("x", tasks, SilentProgress()) as shards:
        wanted = ("messages.content", "mark", "nowhere")
        [(names, turns, alive)] = shards.map(names_and_turns, columns=wanted)
        assert set(names) == {"id", "messages", "duplicate_of", "mark"}
        assert turns == [[{"content": "Hi"}], [{"content": "Bye"}]]
        assert alive == [True, False]
        [(names, turns, alive)] = shards.map(names_and_turns)
        assert names == [*ROWS.names, "duplicate_of", "mark"]
        assert alive == [True, False]


def test_held_shards_have_the_named_columns_alone(tmp_path: Path) -> None:
    """So that what a sweep reads without naming it is missed where it is tested."""
    held = HeldShards([(Shard("s", rows_table(rows([("Hi", "Hello")]))), [True])], tmp_path)
    [(names, _, _)] = held.map(names_and_turns, columns=("messages.content", "file"))
    assert names == ["file", "messages"]


class Named(Settings):
    """Tells the columns that it is given."""

    name: ClassVar[str] = "named"
    version: ClassVar[int] = 1

    def needs(self) -> tuple[str, ...]:
        return ()

    def adds(self) -> pa.Schema:
        return pa.schema([("given", pa.string())])

    def roles(self) -> tuple[str, ...]:
        return ()

    def reads(self) -> tuple[str, ...]:
        return ("response",)

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        given = f"{sorted(shard.table.column_names)} {list(alive)}"
        return pa.table({"given": [given] * shard.rows}, self.adds())


def test_a_stage_that_reads_few_columns_is_given_these(tmp_path: Path) -> None:
    """And what says which rows are alive; `id` leads its columns as always."""
    store, [task] = stored(tmp_path)
    found = asyncio.run(annotated(Named(), task, store, Context()))
    assert found.to_pylist()[0] == {
        "id": "a.jsonl:1",
        "given": "['duplicate_of', 'id', 'response'] [True, False]",
    }


class Asks(Named):
    """Asks nobody, but might."""

    def roles(self) -> tuple[str, ...]:
        return ("scorer",)


class Refuses(Named):
    """Stops at a row that says `bad`."""

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        if shard.table["response"][0].as_py() == "bad":
            raise RunFailedError("a bad row")
        return await super().annotate(shard, alive, state, ctx)


class Meets(Named):
    """Its shards wait for each other, two and two, and say so."""

    meeting: ClassVar[threading.Barrier] = threading.Barrier(2, timeout=60)

    async def annotate(
        self, shard: Shard, alive: Sequence[bool], state: JSON, ctx: Context
    ) -> pa.Table:
        self.meeting.wait()
        ctx.progress.note("they met")
        ctx.progress.advance(shard.rows)
        return await super().annotate(shard, alive, state, ctx)


class Entered:
    """Parts in a store, and which were entered by which thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.keys: list[str] = []
        self.threads: set[threading.Thread] = set()

    def write(self, key: str, columns: pa.Table) -> Part:
        return self._store.write("named", key, columns, fingerprint="f")

    def enter(self, key: str, part: Part) -> None:
        assert part.rows == 1
        self.keys.append(key)
        self.threads.add(threading.current_thread())


class Sum(SilentProgress):
    """Counts rows."""

    rows = 0

    def advance(self, rows: int = 1) -> None:
        self.rows += rows


def of_one_row(store: Store, *responses: str) -> list[ShardTask]:
    """Shards of one row each."""
    tables = {f"key-{n}": rows_table(rows([("Hi", text)])) for n, text in enumerate(responses)}
    return [
        ShardTask(key, (("rows", store.write("rows", key, table, fingerprint="f")),))
        for key, table in tables.items()
    ]


@pytest.mark.skipif(cores() < 2, reason="with one processor nothing is computed at once")
def test_shards_of_a_stage_that_asks_no_model_are_computed_at_once(tmp_path: Path) -> None:
    """Two meet, then two; all are entered in order by the run's thread; the note stands once."""
    store, progress = Store(tmp_path), Sum()
    entered = Entered(store)
    tasks = of_one_row(store, "a", "b", "c", "d")
    asyncio.run(LocalEngine(store).annotate(Meets(), tasks, Context(progress=progress), entered))
    assert entered.keys == ["key-0", "key-1", "key-2", "key-3"]
    assert entered.threads == {threading.current_thread()}
    assert (progress.rows, progress.notes) == (4, ["they met"])


def test_an_error_in_one_shard_stops_the_others(tmp_path: Path) -> None:
    """What was finished before it in order is entered, what comes after it is not."""
    store = Store(tmp_path)
    entered = Entered(store)
    tasks = of_one_row(store, "a", "b", "bad", "d", "e", "f")
    with pytest.raises(RunFailedError, match="a bad row"):
        asyncio.run(LocalEngine(store).annotate(Refuses(), tasks, Context(), entered))
    assert entered.keys == ["key-0", "key-1"]


def test_columns_are_the_same_whether_or_not_a_stage_might_ask(tmp_path: Path) -> None:
    """One shard after the other, or in threads: the same bytes under the same names."""
    digests = []
    for number, stage in enumerate((Named(), Asks())):
        store = Store(tmp_path / str(number))
        tasks = of_one_row(store, "a", "b", "c")
        asyncio.run(LocalEngine(store).annotate(stage, tasks, Context(), Entered(store)))
        digests.append([store.path("named", task.key).read_bytes() for task in tasks])
    assert digests[0] == digests[1]
