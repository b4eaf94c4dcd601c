"""Kill a run again and again in front of a real server: how many calls are asked twice?

    python benchmarks/kill_resume.py DATA --base-url http://127.0.0.1:8099/v1 --model NAME \
        --rows 40 --kills 5 --in-flight 4

A proxy on loopback hands every request on to the server, counts the questions, and kills the
client with SIGKILL after so many answers. Then the same command runs to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

_FORWARDED = ("Content-Type", "Authorization")


class CountingProxy:
    """Forwards every request; counts chat questions; kills `client` at its next quota."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.questions: Counter[str] = Counter()
        self.client: asyncio.subprocess.Process | None = None
        self.quota: int | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Pass a request on, and its answer back."""
        body = await request.read()
        if request.path.endswith("/chat/completions"):
            self.questions[hashlib.sha256(body).hexdigest()] += 1
            if self.quota is not None and self.questions.total() >= self.quota and self.client:
                self.quota = None
                self.client.kill()
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        url = self._upstream + request.path_qs
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=body, headers=headers) as reply,
        ):
            text = await reply.read()
            kind = reply.content_type
        return web.Response(status=reply.status, body=text, content_type=kind)


async def _serve(proxy: CountingProxy) -> tuple[web.AppRunner, int]:
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return runner, port


async def measure(args: argparse.Namespace, out: Path) -> None:
    """Kill `args.kills` times, then finish, and print the counts."""
    parts = urlsplit(args.base_url)
    proxy = CountingProxy(f"{parts.scheme}://{parts.netloc}")
    runner, port = await _serve(proxy)
    command = [sys.executable, "-m", "clear_pipeline", "run", str(args.data), "--out", str(out),
               "--base-url", f"http://127.0.0.1:{port}{parts.path}", "--model", args.model,
               "--preset", args.preset, "--stages", "dedup,score,filter",
               "--limit", str(args.rows),
               "--set", f"models.scorer.max_in_flight={args.in_flight}"]  # fmt: skip
    killed, status = 0, -1
    while status != 0:
        proxy.quota = None
        if killed < args.kills:
            proxy.quota = proxy.questions.total() + args.calls_per_kill
        proxy.client = await asyncio.create_subprocess_exec(*command, stdout=-3, stderr=-3)
        status = await proxy.client.wait()
        killed += status < 0
        if status > 0:
            raise SystemExit(f"the run ended with status {status}: {' '.join(command)}")
    await runner.cleanup()
    asked, distinct = proxy.questions.total(), len(proxy.questions)
    print(
        f"{args.data.name}, {args.rows} rows, {killed} kills, {args.in_flight} in flight: the "
        f"server got {asked} questions, {distinct} different ones, {asked - distinct} repeats "
        f"(at most {killed * args.in_flight} may be)"
    )


def main() -> None:
    """Read the command line and measure in a scratch directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--calls-per-kill", type=int, default=7)
    parser.add_argument("--in-flight", type=int, default=4)
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(measure(parser.parse_args(), Path(scratch) / "run"))


if __name__ == "__main__":
    main()
