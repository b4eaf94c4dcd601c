"""A million rows through load, dedup, score, filter and export: seconds and memory by step.

    python -m benchmarks.million --rows 1000000
    python -m benchmarks.million --rows 20000 --profile

The model is scripted and answers at once, so that what is measured is the pipeline. Rows are
written to a cache directory once and kept. A run that is killed goes on with the same command;
its figures are then those of what was left.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import math
import os
import pstats
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil
from platformdirs import user_cache_path

from benchmarks.million_data import copies, unusable, written
from clear_pipeline.config import build_config
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat, uniform
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.stages.base import SilentProgress

STAGES = ("dedup", "score", "filter")
_EVERY = 0.01
"""Seconds between two looks at the memory."""
_SHOWN = 25
"""Functions of a profile that are printed."""


@dataclass(slots=True)
class Step:
    """What one step of a run took.

    Attributes:
        label: Its name, or what it comes after.
        seconds: By the clock.
        cpu: Seconds of this process, which other processes do not stretch.
        peak: The most resident memory during it, in bytes.
    """

    label: str
    seconds: float = 0.0
    cpu: float = 0.0
    peak: int = 0


class Steps(SilentProgress):
    """A progress that measures each step of a run, and what lies between the steps.

    Args:
        profile: Whether to print where the time of each step went.
    """

    def __init__(self, *, profile: bool) -> None:
        super().__init__()
        self.steps = [Step("before load")]
        self._profile = cProfile.Profile(time.thread_time) if profile else None
        self._process = psutil.Process()
        self.least = self._memory()
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def start(self, label: str, total: int) -> None:  # noqa: ARG002
        """A step begins, and what was before it ends."""
        self._next(label)

    def finish(self) -> None:
        """A step ends."""
        self._next(f"after {self.steps[-1].label}")

    def close(self) -> None:
        """The run is over."""
        self._next("")
        self._over.set()
        self._sampler.join()

    def _next(self, label: str) -> None:
        step = self.steps[-1]
        step.seconds, step.cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        if self._profile is not None:
            self._profile.disable()
            _print_profile(step.label, self._profile)
            self._profile = cProfile.Profile(time.thread_time)
            self._profile.enable()
        step.peak = max(step.peak, self._memory())
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self.steps.append(Step(label))

    def _sample(self) -> None:
        while not self._over.wait(_EVERY):
            step = self.steps[-1]
            step.peak = max(step.peak, self._memory())

    def _memory(self) -> int:
        return int(self._process.memory_info().rss)


def _print_profile(label: str, profile: cProfile.Profile) -> None:
    text = io.StringIO()
    try:
        stats = pstats.Stats(profile, stream=text)
    except TypeError:  # nothing was called
        return
    if stats.total_tt > 0.05:  # type: ignore[attr-defined]
        stats.sort_stats("tottime").print_stats(_SHOWN)
        print(f"--- {label}\n{text.getvalue()}")


def reply(request: ChatRequest, sample: int) -> Choice:
    """Yes or No with log-probabilities, from the question alone."""
    share = uniform(request, sample)
    top = (("Yes", math.log(max(share, 1e-9))), ("No", math.log(1 - share)))
    best = max(top, key=lambda pair: pair[1])
    return Choice(best[0], "stop", (Token(best[0], best[1], top),))


def run(
    data: Path,
    out: Path,
    *,
    stages: Sequence[str] = STAGES,
    shard_rows: int | None = None,
    profile: bool = False,
    kill_after: int | None = None,
) -> Steps:
    """The whole chain on a directory; a run that is there goes on.

    Args:
        data: The directory.
        out: The run directory.
        stages: Those between load and export.
        shard_rows: `load.shard_rows`, if not the default.
        profile: Whether to print where the time of each step went.
        kill_after: This process ends with SIGKILL in place of the call after so many.
    """
    calls = 0

    def script(request: ChatRequest, sample: int) -> Choice:
        nonlocal calls
        if calls == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        model.requests.clear()  # kept for tests, one a row
        return reply(request, sample)

    model = ScriptedChat(script)
    cuts = [] if shard_rows is None else [f"load.shard_rows={shard_rows}"]
    config = build_config(preset="fast", stages=list(stages), assignments=cuts)
    steps = Steps(profile=profile)
    try:
        Pipeline(config, models={"scorer": model}, progress=steps).run(data, out=out)
    finally:
        steps.close()
    return steps


def check(out: Path, rows: int, *, stages: Sequence[str] = STAGES) -> dict[str, int]:
    """The fates of a run of these stages, which are those of all rows.

    Raises:
        ValueError: They do not sum, or the planted faults are not among them.
    """
    fates = Run(out).manifest.fates
    if sum(fates.values()) != rows:
        raise ValueError(f"the fates of {rows:,} rows sum to {sum(fates.values()):,}: {fates}")
    least = copies(rows) if "dedup" in stages else 0
    if fates["quarantined"] != unusable(rows) or fates["duplicate"] < least:
        raise ValueError(f"planted: {unusable(rows)} unusable, {copies(rows)} copies; got {fates}")
    return {fate: count for fate, count in fates.items() if count}


def table(steps: Steps, rows: int) -> str:
    """One line a step; bytes a row are what its peak has above the memory before the run."""
    total = Step(
        "all",
        sum(step.seconds for step in steps.steps),
        sum(step.cpu for step in steps.steps),
        max(step.peak for step in steps.steps),
    )
    head = f"{'step':<28}{'seconds':>10}{'cpu':>9}{'rows/s':>10}{'peak MiB':>10}{'bytes/row':>11}"
    shown = [step for step in steps.steps if step.seconds >= 0.05]
    lines = (
        f"{step.label:<28}{step.seconds:>10.1f}{step.cpu:>9.1f}{rows / step.seconds:>10,.0f}"
        f"{step.peak / 2**20:>10,.0f}{(step.peak - steps.least) / rows:>11,.0f}"
        for step in (*shown, total)
    )
    return "\n".join((head, *lines))


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, default=user_cache_path("clear-pipeline-benchmarks"))
    parser.add_argument("--out", type=Path, help="a run directory to keep; else a scratch one")
    parser.add_argument("--stages", nargs="*", default=STAGES, help="between load and export")
    parser.add_argument("--shard-rows", type=int)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--kill-after", type=int, metavar="CALLS", help="end with SIGKILL")
    args = parser.parse_args()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # its memory is not the run's
        data = pool.submit(written, args.rows, args.cache).result()
    out = args.out or Path(tempfile.mkdtemp(prefix="million-", dir=args.cache)) / "run"
    try:
        steps = run(
            data,
            out,
            stages=args.stages,
            shard_rows=args.shard_rows,
            profile=args.profile,
            kill_after=args.kill_after,
        )
        fates = check(out, args.rows, stages=args.stages)
    finally:
        if args.out is None:
            shutil.rmtree(out.parent, ignore_errors=True)
    print(f"{args.rows:,} rows, {fates}")
    print(table(steps, args.rows))


if __name__ == "__main__":
    main()
