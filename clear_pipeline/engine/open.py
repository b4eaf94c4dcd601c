"""Which engine a run has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clear_pipeline.config import EngineSettings
from clear_pipeline.engine.base import Engine
from clear_pipeline.engine.cluster import connected, require_shared
from clear_pipeline.engine.local import LocalEngine
from clear_pipeline.engine.ray import RayEngine
from clear_pipeline.store import Store


@contextmanager
def opened(settings: EngineSettings, store: Store) -> Iterator[Engine]:
    """The engine, as long as the block lasts.

    Args:
        settings: Which.
        store: Of the run, whose directory is there.

    Raises:
        MissingExtraError: It is not installed.
        UsageError: Its cluster does not answer, or does not see the run directory.
    """
    if settings.kind == "local":
        yield LocalEngine(store)
        return
    with connected(settings.address):
        require_shared(store.directory.absolute())
        yield RayEngine(store)
