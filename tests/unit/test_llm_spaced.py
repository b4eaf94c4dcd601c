"""Work that is asked for often is done seldom, and never forgotten."""

import asyncio

from clear_pipeline.llm.spaced import Spaced


def test_work_is_done_at_once_and_then_after_the_pause() -> None:
    """What is asked for in one turn is done once, in the next; what comes then waits for all."""

    async def session() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        done = asyncio.Event()

        def work() -> None:
            times.append(loop.time())
            done.set()

        spaced = Spaced(work, pause=0.05)
        for _ in range(3):
            for _ in range(5):
                spaced.soon()
            assert len(times) < 3
            await done.wait()
            done.clear()
        return times

    first, second, third = asyncio.run(session())
    assert second - first >= 0.05
    assert third - second >= 0.05


def test_after_a_long_time_the_next_turn_does() -> None:
    """Nothing waits for a pause that is over."""

    async def session() -> int:
        done: list[None] = []
        spaced = Spaced(lambda: done.append(None), pause=0.0)
        spaced.soon()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        spaced.soon()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return len(done)

    assert asyncio.run(session()) == 2
