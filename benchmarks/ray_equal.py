"""The same rows on the local engine and on Ray, once undisturbed and once with workers killed.

    python -m benchmarks.ray_equal --rows 20000

The rows, in six formats, pass load, dedup, score with a scripted model and filter. Ray has two
nodes of one processor each, both on this machine. Exit status 1 unless every ledger is that of the
local engine byte for byte, and no question was asked twice.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.million import STAGES, reply
from benchmarks.million_data import written
from clear_pipeline.config import build_config
from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline

ROOT: Final = Path(__file__).parents[1]
WORKER: Final = "ray::_annotate_shard"
"""What the processes are called that score a shard."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.

    Attributes:
        engine: Where it ran, and what was done to it.
        seconds: By the clock.
        questions: How many the model was asked.
        ledger: The bytes of `ledger.parquet`.
        killed: How many workers were.
    """

    engine: str
    seconds: float
    questions: int
    ledger: bytes
    killed: int


def kill_a_worker() -> bool:
    """Kill one of this process's Ray workers that scores; whether there was one."""
    for process in psutil.Process().children(recursive=True):
        try:
            if WORKER in " ".join(process.cmdline()):
                os.kill(process.pid, signal.SIGKILL)
                return True
        except psutil.Error:
            continue
    return False


def outcome(
    data: Path, out: Path, engine: str, *, shard_rows: int, kill_at: tuple[int, ...] = ()
) -> Outcome:
    """Run the chain; before the questions of these numbers a worker is killed."""
    asked = killed = 0

    def script(request: ChatRequest, sample: int) -> Choice:
        nonlocal asked, killed
        asked += 1
        killed += asked in kill_at and kill_a_worker()
        model.requests.clear()  # kept for tests, one a row
        return reply(request, sample)

    model = ScriptedChat(script)
    settings = [f"load.shard_rows={shard_rows}", f"engine.kind={engine}"]
    config = build_config(preset="fast", stages=list(STAGES), assignments=settings)
    began = time.perf_counter()
    Pipeline(config, models={"scorer": model}).run(data, out=out)
    seconds = time.perf_counter() - began
    ledger = (out / "ledger.parquet").read_bytes()
    name = f"{engine}, workers killed" if kill_at else engine
    return Outcome(name, seconds, asked, ledger, killed)


def compared(data: Path, folder: Path, *, rows: int, shard_rows: int) -> list[Outcome]:
    """The three runs, on the Ray that this process is connected to."""
    at = (rows // 3, 2 * rows // 3)
    return [
        outcome(data, folder / "local", "local", shard_rows=shard_rows),
        outcome(data, folder / "ray", "ray", shard_rows=shard_rows),
        outcome(data, folder / "killed", "ray", shard_rows=shard_rows, kill_at=at),
    ]


def differences(outcomes: list[Outcome]) -> list[str]:
    """What is not as the first run has it, in words."""
    first, *others = outcomes
    told = [f"{each.engine}: another ledger" for each in others if each.ledger != first.ledger]
    told += [
        f"{each.engine}: {each.questions:,} questions, not {first.questions:,}"
        for each in others
        if each.questions != first.questions
    ]
    if not others[-1].killed:
        told.append("no worker was there to be killed")
    return told


@contextmanager
def two_nodes() -> Iterator[None]:
    """A Ray of two nodes on this machine, whose workers import this copy of the package."""
    from ray.cluster_utils import Cluster

    from clear_pipeline.engine.cluster import connected

    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONPATH"] = path
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        nodes.add_node(num_cpus=1)
        with connected(nodes.address):
            yield
    finally:
        nodes.shutdown()


def main() -> None:
    """Read the command line, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--shard-rows", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, two_nodes():
        folder = Path(name)
        data = written(args.rows, folder)
        outcomes = compared(data, folder, rows=args.rows, shard_rows=args.shard_rows)
    for each in outcomes:
        print(
            f"{each.engine}: {each.seconds:.1f} s, {each.questions:,} questions, "
            f"ledger of {len(each.ledger):,} bytes, {each.killed} workers killed"
        )
    told = differences(outcomes)
    print("\n".join(told) or f"{args.rows:,} rows: the ledgers are equal byte for byte")
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
