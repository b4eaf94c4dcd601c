"""A model server on loopback that answers every question the same, after a fixed time.

    python -m benchmarks.steady_server --port-file F --latency 0.05 --record BODIES

It does as little as it can, so that its clients are what is measured. BODIES gets the body of every
chat request, a line each, in order of arrival. GET /stats tells what it has answered, and how fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from pathlib import Path
from typing import BinaryIO, Final

from aiohttp import web

from benchmarks.faulty_server import Body

_LISTED: Final = [
    {"token": word, "logprob": math.log(share)} for word, share in (("Yes", 0.75), ("No", 0.25))
]
_ANSWER: Final = json.dumps(
    {
        "id": "steady",
        "object": "chat.completion",
        "created": 0,
        "model": "steady",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Yes"},
                "logprobs": {"content": [{**_LISTED[0], "top_logprobs": _LISTED}]},
            }
        ],
        "usage": {"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 51},
    }
).encode()


class SteadyServer:
    """Handles requests without routes.

    Args:
        latency: Seconds per answer.
        record: Where the bodies go; None for nowhere.
    """

    def __init__(self, latency: float, record: BinaryIO | None) -> None:
        self._latency = latency
        self._record = record
        self._answered: list[float] = []
        self._began = 0.0
        self._open = self._most_open = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a chat request, or tell the counts."""
        if request.path == "/stats":
            return web.json_response(self.stats())
        if not request.path.endswith("/chat/completions"):
            return web.Response(status=404)
        self._began = self._began or time.monotonic()
        self._open += 1
        self._most_open = max(self._most_open, self._open)
        body = await request.read()
        if self._record is not None:
            self._record.write(body + b"\n")
        await asyncio.sleep(self._latency)
        self._open -= 1
        self._answered.append(time.monotonic())
        return web.Response(body=_ANSWER, content_type="application/json")

    def stats(self) -> Body:
        """Requests per second of all, and of those between the first and the last tenth."""
        if self._record is not None:
            self._record.flush()
        at, count = self._answered, len(self._answered)
        first, last = count // 10, count - 1 - count // 10
        stats = {"requests": count, "most_open": self._most_open, "cpu": time.process_time()}
        if last > first:
            stats["rate"] = count / (at[-1] - self._began)
            stats["steady_rate"] = (last - first) / (at[last] - at[first])
        return stats


async def serve(args: argparse.Namespace) -> None:
    """Listen on a free port and write it to the file, until killed."""
    record = args.record.open("wb") if args.record else None
    runner = web.ServerRunner(web.Server(SteadyServer(args.latency, record).handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    partial = args.port_file.with_suffix(".partial")
    partial.write_text(str(runner.addresses[0][1]))
    partial.replace(args.port_file)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds per answer")
    parser.add_argument("--record", type=Path, help="file for the bodies of chat requests")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
