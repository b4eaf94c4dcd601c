"""Coroutines from plain code, also where a loop runs already, as in Jupyter; stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Handler: TypeAlias = Callable[[int, FrameType | None], object]


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in another thread if this one already runs a loop.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the coroutine has cleaned up behind itself. It need not
            wait for anything to be stopped: what it computes between two waits is stopped as well,
            but in another thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(work)
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


def _run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, but what computes is stopped as well.

    A signal that would raise KeyboardInterrupt does so while the task of `work` itself computes.
    While that task waits it is cancelled instead: others may be about to store an answer that was
    paid for. A second such signal raises in any case.
    """
    interrupted = False
    handlers = _handlers()

    async def interruptible() -> T:
        nonlocal interrupted
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            try:
                handlers[number](number, frame)
            except KeyboardInterrupt:
                again, interrupted = interrupted, True
                if task is None or again or asyncio.current_task(loop) is task:
                    raise
                task.cancel()
                loop.call_soon_threadsafe(lambda: None)  # it may be blocked, waiting for a reply

        with _handling(stop, handlers):
            try:
                return await work
            except KeyboardInterrupt:  # as the end of a task it would be logged as an error
                interrupted = True
                raise asyncio.CancelledError from None

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise


def _handlers() -> dict[int, Handler]:
    """What handles the signals that end a process, where it is code that this thread may run."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    set_ = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return {number: handler for number, handler in set_.items() if callable(handler)}


@contextmanager
def _handling(handler: Handler, signals: Iterable[int]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
