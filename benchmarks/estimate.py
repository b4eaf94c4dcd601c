"""How near an estimate comes to what the run then takes: tokens of prompts, and of all.

    python benchmarks/serve.py MODEL.gguf --port 8099 --slots 4 &
    python -m benchmarks.estimate DATA... --rows 100 --base-url http://127.0.0.1:8099/v1 \
        --model NAME --out DIR

Per set and way one run, all against the same server. `counts`: the estimate is made before
the run, and the server is asked to count tokens. `learns`: the server is seen through a proxy that
hides everything but the API, and has a price, so that nothing is known beforehand; the estimate is
made when 50 calls have been answered, and is held against what the rest took.

The same command resumes: an estimate is kept as it was made, runs go on where they were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from clear_pipeline.config import Config, build_config
from clear_pipeline.estimate.learning import ENOUGH
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.meter import Totals
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run

STAGES: Final = ("dedup", "score", "filter")
WAYS: Final = ("counts", "learns")
STEP: Final = 10
"""So many rows more are asked about, until `ENOUGH` calls were answered."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is asked, and how."""

    base_url: str
    model: str
    preset: str

    def config(self, *, priced: bool, limit: int | None = None) -> Config:
        """Of a run that scores its first `limit` rows, or all."""
        scorer: dict[str, Any] = {"model": self.model, "base_url": self.base_url}
        if priced:
            scorer["price_per_mtok"] = {"input": 1.0, "output": 1.0}
        flags: dict[str, Any] = {"models": {"scorer": scorer}, "load": {"limit": limit}}
        return build_config(flags=flags, stages=STAGES, preset=self.preset)


@dataclass(frozen=True, slots=True)
class Compared:
    """One estimate and what came of it, in tokens: both ends, and the truth."""

    dataset: str
    way: str
    rows: int
    learnt_from: int
    calls: tuple[int, int, int]
    prompt: tuple[int, int, int]
    total: tuple[int, int, int]

    def line(self) -> str:
        """One row of the table."""
        cells = [_cell(*figure) for figure in (self.calls, self.prompt, self.total)]
        return " | ".join(["", self.dataset, self.way, f"{self.rows}", *cells, ""]).strip()


def _cell(low: int, high: int, actual: int) -> str:
    """Both ends, the truth, and how far the middle is off it."""
    off = (low + high) / 2 / actual - 1
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{span} / {actual:,} ({off:+.1%})"


def compare(data: Path, endpoint: Endpoint, *, way: str, rows: int, out: Path) -> Compared:
    """Estimate, run, compare; what is there already is not made again."""
    folder = out / f"{data.stem}-{way}"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / data.name
    with data.open(encoding="utf-8") as lines:
        part.write_text("".join(islice(lines, rows)), encoding="utf-8")
    config = endpoint.config(priced=way == "learns")
    run, kept = folder / "run", folder / "estimate.json"
    if way == "learns" and not kept.exists():
        begin(part, endpoint, out=run)
    if not kept.exists():
        begun = run if way == "learns" else None
        made = Pipeline(config).estimate(part, out=begun).to_json()
        before = _usage(Run(run)) if begun else Totals()
        kept.write_text(json.dumps({"estimate": made, "before": before.to_json()}))
    stored = json.loads(kept.read_text())
    spent = _usage(Pipeline(config).run(part, out=run))
    return _compared(data.stem, way, stored["estimate"], Totals.from_json(stored["before"]), spent)


def begin(data: Path, endpoint: Endpoint, *, out: Path) -> None:
    """Run the first rows, as few as it takes for `ENOUGH` answered calls."""
    for limit in count(STEP, STEP):
        run = Pipeline(endpoint.config(priced=True, limit=limit)).run(data, out=out)
        rows = sum(file.rows + file.quarantined for file in run.manifest.files)
        if _usage(run).samples >= ENOUGH or rows < limit:
            return


def _compared(
    dataset: str, way: str, made: dict[str, Any], before: Totals, after: Totals
) -> Compared:
    used, had = after.usage, before.usage
    rest = Usage(prompt=used.prompt - had.prompt, completion=used.completion - had.completion)
    total = made["total"]
    prompt, completion = total["prompt_tokens"], total["completion_tokens"]
    return Compared(
        dataset,
        way,
        made["rows"],
        made["models"][0]["learnt_from"],
        (*total["calls"], after.requests - before.requests),
        (*prompt, rest.prompt),
        (prompt[0] + completion[0], prompt[1] + completion[1], rest.prompt + rest.completion),
    )


def _usage(run: Run) -> Totals:
    return sum((Totals.from_json(t) for t in run.manifest.usage.values()), Totals())


@contextmanager
def api_alone(base_url: str) -> Iterator[str]:
    """A proxy on loopback that hands on what is under the path of `base_url`, and knows no more."""
    parts = urlsplit(base_url)
    loop, started, port = asyncio.new_event_loop(), threading.Event(), 0

    async def hand_on(request: web.Request) -> web.Response:
        url = f"{parts.scheme}://{parts.netloc}{request.path_qs}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                request.method,
                url,
                data=await request.read(),
                headers={"Content-Type": "application/json"},
            ) as reply,
        ):
            text = await reply.read()
        return web.Response(status=reply.status, body=text, content_type=reply.content_type)

    def serve() -> None:
        nonlocal port
        asyncio.set_event_loop(loop)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", f"{parts.path}/{{path:.*}}", hand_on)
        runner = web.AppRunner(app)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        port = runner.addresses[0][1]
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{port}{parts.path}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def main() -> None:
    """Print one line per set and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--rows", type=int, default=100, help="the first rows of each set")
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--out", type=Path, required=True, help="keeps runs and estimates")
    args = parser.parse_args()
    print("| set | way | rows | calls | prompt tokens | prompt and completion tokens |")
    print("|---|---|---|---|---|---|")
    with api_alone(args.base_url) as bare:
        urls = {"counts": args.base_url, "learns": bare}
        for data in args.data:
            for way in args.ways:
                endpoint = Endpoint(urls[way], args.model, args.preset)
                found = compare(data, endpoint, way=way, rows=args.rows, out=args.out)
                print(found.line(), flush=True)


if __name__ == "__main__":
    main()
