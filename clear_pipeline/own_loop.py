"""Coroutines from plain code, also where a loop runs already, as in Jupyter."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in another thread if this one already runs a loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: Future[T] = Future()
    begun: Future[Callable[[], object]] = Future()

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        begun.set_result(lambda: task and loop.call_soon_threadsafe(task.cancel))
        return await work

    def target() -> None:
        try:
            outcome.set_result(asyncio.run(cancellable()))
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            outcome.set_exception(error)

    thread = threading.Thread(target=target, name="clear-pipeline")
    thread.start()
    try:
        wait([outcome])
    except KeyboardInterrupt:  # a notebook's "stop": nothing may go on asking in the background
        with suppress(RuntimeError):  # the loop has just ended
            begun.result()()
        wait([outcome])
        raise
    finally:
        thread.join()
    return outcome.result()
