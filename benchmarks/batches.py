"""Batches that fail in part, expire in part, and whose client is killed twice.

    python -m benchmarks.batches --rows 5000

A server on loopback with the paths and states of OpenAI's Batch API answers; of the requests that
it sees for the first time 7 % fail and 3 % expire, drawn by chance. The client, a process of its
own, is killed once between creating a batch and writing down its id, and once while it fetches
results. The same command is typed until the run is done. What the server counts is held against
the run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clear_pipeline.run import open_run

TESTS: Final = Path(__file__).parents[1] / "tests"
sys.path.append(str(TESTS))  # the server is the one of the tests

from batch_server import BatchServer  # noqa: E402

if TYPE_CHECKING:
    from batch_server import Outcome

FAILED: Final = 0.07
EXPIRED: Final = 0.03
PRICES: Final = {"input": 0.40, "output": 1.60}
"""Dollars per million tokens."""


def main() -> None:
    """Read the command line, run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000, help="one request each")
    parser.add_argument("--per-batch", type=int, default=2_000, help="batch.max_requests")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, BatchServer(seed=args.seed) as server:
        measure(server, Path(scratch), args.rows, args.per_batch, args.seed)


def measure(
    server: BatchServer, scratch: Path, rows: int, per_batch: int, seed: int
) -> Counter[str]:
    """Visit until the run is done, killed at the first batch and at the first results.

    Returns:
        How often each request was answered.
    """
    failed, expired = round(FAILED * rows), round(EXPIRED * rows)
    fates: list[Outcome] = ["answer"] * (rows - failed - expired)
    fates += ["fail"] * failed
    fates += ["expire"] * expired
    random.Random(seed).shuffle(fates)
    drawn = iter(fates)
    server.outcome = lambda _, asked: next(drawn) if asked == 1 else "answer"
    command = _command(server.url, _written(scratch / "rows.jsonl", rows), scratch, per_batch)
    begun, visits = time.monotonic(), Counter[int]()
    for hook in ("created", "fetched", None):
        status = 4
        while status == 4:
            status = _visit(server, command, hook)
            visits[status] += 1
    _report(server, scratch / "run", rows, Counter(fates), visits, seconds=time.monotonic() - begun)
    return server.answered


def _written(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            row = {"prompt": f"What is {n} + {n}?", "response": str(2 * n)}
            file.write(json.dumps(row) + "\n")
    return path


def _command(url: str, data: Path, scratch: Path, per_batch: int) -> list[str]:
    settings = [
        "score.preset=paper", "score.k=0", "score.reflection=[yes_no]",
        f"batch.max_requests={per_batch}", f"models.scorer.price_per_mtok={json.dumps(PRICES)}",
    ]  # fmt: skip
    return [
        sys.executable, "-m", "clear_pipeline", "run", str(data), "--out", str(scratch / "run"),
        "--base-url", url, "--model", "stub", "--mode", "batch", "--yes",
        "--stages", "score,filter", *(word for text in settings for word in ("--set", text)),
    ]  # fmt: skip


def _visit(server: BatchServer, command: list[str], hook: str | None) -> int:
    """One visit; with a hook, its process is killed when the server comes to that point."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if hook is not None:
        setattr(server, hook, lambda: os.kill(process.pid, signal.SIGKILL))
    _, said = process.communicate()
    if hook is not None:
        setattr(server, hook, lambda: None)
    if process.returncode not in (0, 4, -signal.SIGKILL):
        raise SystemExit(f"the run ended with status {process.returncode}: {said.decode()}")
    return process.returncode


def _report(
    server: BatchServer,
    out: Path,
    rows: int,
    first: Counter[Outcome],
    visits: Counter[int],
    *,
    seconds: float,
) -> None:
    run = open_run(out)
    batches = run.usage()["stub, batches"]
    billed = (server.prompt * PRICES["input"] + server.completion * PRICES["output"]) / 1e6 / 2
    unscored = run.ledger(["id"], fate="unscored").num_rows
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{rows:,} requests in {len(server.batches)} batches; of those seen first "
        f"{first['fail']:,} failed and {first['expire']:,} expired "
        f"({first['fail'] / rows:.1%}, {first['expire'] / rows:.1%})"
    )
    print(
        f"visits: {visits[-signal.SIGKILL]} killed, {visits[4]} that had to wait, {visits[0]} done"
    )
    print(
        f"answered: {len(server.answered):,} requests, {server.answered.total():,} answers, "
        f"at most {max(server.answered.values())} each; rows without a score: {unscored}"
    )
    print(
        f"asked: {server.asked.total():,} times, {rows + first['fail'] + first['expire']:,} needed"
    )
    print(
        f"tokens: the server counted {server.prompt:,} + {server.completion:,}, the run "
        f"{batches.usage.prompt:,} + {batches.usage.completion:,}"
    )
    print(f"cost: ${billed:.6f} by the server's count, ${batches.usd or 0.0:.6f} by the run's")
    print(f"{seconds:.0f} s in all, {peak:.0f} MiB at most in one visit")


if __name__ == "__main__":
    main()
