"""What an engine tells of sweeps and of work that reads no shard, and what it reads for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from clear_pipeline.engine.base import ShardTask, annotated
from clear_pipeline.engine.local import LocalEngine
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
