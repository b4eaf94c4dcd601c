"""What an engine tells of sweeps and of work that reads no shard."""

from __future__ import annotations

from pathlib import Path

from clear_pipeline.engine.local import LocalEngine
from clear_pipeline.stages.base import SilentProgress
from clear_pipeline.store import Store


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
