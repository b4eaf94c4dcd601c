"""How much of what a server allows is used, and how much it must refuse.

    python -m benchmarks.limits                  # 50 requests/s allowed, told in six ways
    python -m benchmarks.limits --memory         # 20,000 calls, resident memory every 2,000

The server counts; each way is one client that asks `--calls` different questions.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.faulty_server import Body, serving
from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Message

_AT_WORK: Final = 64
"""Questions that wait for an answer at any time, as rows in flight do."""

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Way:
    """One server and what the client is told.

    Attributes:
        name: For the table.
        options: Of the server.
        per_minute: `requests_per_minute` of the client.
        allowed: Part of the server's rate that comes to answers.
    """

    name: str
    options: tuple[str, ...]
    per_minute: float | None = None
    allowed: float = 1.0


def ways(rate: float) -> list[Way]:
    """What is measured, for a server that allows so many requests a second."""
    limited = ("--rate", f"{rate:g}")
    return [
        Way("rate in headers", (*limited, "--headers")),
        Way("rate in the settings", limited, per_minute=60 * rate),
        Way("429 alone", limited),
        Way("429 with Retry-After", (*limited, "--retry-after")),
        Way("30 % of requests refused besides", (*limited, "--refuse", "0.3"), allowed=0.7),
        Way("the same, rate in headers", (*limited, "--refuse", "0.3", "--headers"), allowed=0.7),
    ]


async def ask_all(
    settings: ModelSettings, calls: int, *, cache: Path | None = None, every: int = 0
) -> Totals:
    """Ask so many different questions; print resident memory at `every` so many."""
    meter, process = Meter(), psutil.Process()
    model = await open_model(settings, cache_path=cache, meter=meter)
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            text = f"Question {number}: Yes or No?"
            with suppress(CallError):  # the meter counts it
                await model.complete(ChatRequest((Message("user", text),), 1, 0.0, top_logprobs=5))
            if every and (number + 1) % every == 0:
                print(f"| {number + 1:,} | {process.memory_info().rss / 2**20:.1f} |", flush=True)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_WORK):
                group.create_task(worker())
    finally:
        await model.close()
    return meter.snapshot()


def measure(way: Way, args: argparse.Namespace, scratch: Path) -> None:
    """One line of the table and the chart of one way."""
    with serving(scratch, "--latency", f"{args.latency:g}", *way.options) as server:
        settings = ModelSettings(
            model="faulty", base_url=server.url, requests_per_minute=way.per_minute
        )
        began = time.monotonic()
        totals = asyncio.run(ask_all(settings, args.calls))
        seconds = time.monotonic() - began
        stats = server.stats()
    rate = args.calls / seconds
    share = rate / (args.rate * way.allowed)
    refused = stats["outcomes"].get("429", 0) / stats["requests"]
    print(
        f"| {way.name} | {args.rate * way.allowed:g} | {rate:.1f} | {share:.0%} | {refused:.0%} "
        f"| {max(requests_per_second(stats))} | {totals.failed} |",
        flush=True,
    )
    print(f"    {chart(requests_per_second(stats), 2 * args.rate)}", flush=True)


def requests_per_second(stats: Body) -> list[int]:
    """Requests that came in each second, from the first that had one."""
    seconds = {int(second): counts[0] for second, counts in stats["seconds"].items()}
    return [seconds.get(second, 0) for second in range(min(seconds), max(seconds) + 1)]


def chart(values: Sequence[int], top: float) -> str:
    """One block per value, full at `top`; above it, `^`."""
    steps = [round(value / top * (len(_BLOCKS) - 1)) for value in values]
    return "".join(_BLOCKS[step] if step < len(_BLOCKS) else "^" for step in steps)


def main() -> None:
    """Read the command line and measure, one way after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--only", help="ways whose name holds this")
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.memory:
            with serving(scratch, "--latency", "0.005") as server:
                settings = ModelSettings(model="faulty", base_url=server.url)
                print("| calls | resident, MiB |\n|---|---|")
                asyncio.run(ask_all(settings, 20_000, cache=scratch / "cache", every=2_000))
            return
        print("| way | allowed/s | answers/s | share | refused | most in a second | given up |")
        print("|---|---|---|---|---|---|---|")
        for way in ways(args.rate):
            if args.only is None or args.only in way.name:
                measure(way, args, scratch)


if __name__ == "__main__":
    main()
