"""What the steps of one run share."""

from __future__ import annotations

from dataclasses import dataclass

from clear_pipeline.config import Config
from clear_pipeline.engine.base import Engine
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.manifest import Manifest, StageRecord
from clear_pipeline.model_pool import ModelPool
from clear_pipeline.run_log import RunLog
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import Store


@dataclass(frozen=True, slots=True)
class Work:
    """One run that is under way.

    Attributes:
        config: What to compute.
        store: Its files.
        manifest: What of it is computed.
        pool: Its models.
        engine: Where shards are computed.
        progress: Where it reports.
        log: What happened.
        batches: Those of the run, if it has any.
    """

    config: Config
    store: Store
    manifest: Manifest
    pool: ModelPool
    engine: Engine
    progress: Progress
    log: RunLog
    batches: Batches | None

    def save(self) -> None:
        """Write the manifest, with what was spent so far."""
        self.manifest.usage = self.pool.usage()
        self.manifest.save(self.store.directory)

    def enter(self, record: StageRecord, key: str) -> None:
        """Enter a finished part of a stage in the manifest, with what was spent so far."""
        self.manifest.usage = self.pool.usage()
        self.manifest.enter(self.store.directory, record, key)
