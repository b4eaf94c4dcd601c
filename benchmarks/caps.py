"""Runs with random caps, 64 requests in flight, faults and kills: is any cap passed?

    python -m benchmarks.caps --runs 30 --kills 10

Each run is the command line as a process in front of a server that keeps its own count. A run that
its cap stops goes on with the command that it names itself, a killed one with the same command,
until all rows are scored. After each process the server's count is held against the cap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from benchmarks.billing import PRICES, BillingServer
from clear_pipeline.llm.meter import Amount
from clear_pipeline.llm.spend_file import read_spend

IN_FLIGHT: Final = 64
_OPTIONS: Final = {"calls": "--max-calls", "tokens": "--max-tokens", "usd": "--max-usd"}
_MOST_PROCESSES: Final = 40
_WORDS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet")


@dataclass
class Outcome:
    """What became of one run.

    Attributes:
        unit: What was capped: calls, tokens or usd.
        cap: The first cap.
        at_stop: The server's count when the first cap had stopped the run; None if it did not.
        processes: How often the command was started.
        killed: How many of these were killed.
        passed: Caps in force that the server's count was above, with that count.
        billed: The server's count at the end.
        spent: The run's own record of it.
        unaccounted: The part of it that may not have been billed.
        most_open: Requests that were open at once, at most.
        complete: Whether every row was scored in the end.
    """

    unit: str
    cap: float
    at_stop: float | None = None
    processes: int = 0
    killed: int = 0
    passed: list[tuple[float, float]] = field(default_factory=list)
    billed: Amount = field(default_factory=Amount)
    spent: Amount = field(default_factory=Amount)
    unaccounted: Amount = field(default_factory=Amount)
    most_open: int = 0
    complete: bool = False

    @property
    def holds(self) -> bool:
        """No cap was passed, nothing that was billed is missing, and the run came to its end."""
        covered = (
            self.spent.calls >= self.billed.calls
            and self.spent.tokens >= self.billed.tokens
            and self.spent.nanodollars >= self.billed.nanodollars
        )
        return not self.passed and covered and self.complete


def write_data(path: Path, rows: int) -> None:
    """Rows of different lengths, no two alike."""
    drawn = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt = f"Question {number}: " + " ".join(
                drawn.choices(_WORDS, k=drawn.randint(5, 80))
            )
            response = " ".join(drawn.choices(_WORDS, k=drawn.randint(3, 40)))
            file.write(json.dumps({"prompt": prompt, "completion": response}) + "\n")


def command(data: Path, out: Path, url: str, *more: str) -> list[str]:
    """The words after `clear-pipeline`."""
    model = {"max_in_flight": IN_FLIGHT, "timeout_s": 2, "backoff_s": 0.01, "max_attempts": 20,
             "price_per_mtok": PRICES}  # fmt: skip
    assigned = [
        w for k, v in model.items() for w in ("--set", f"models.scorer.{k}={json.dumps(v)}")
    ]
    return ["run", str(data), "--out", str(out), "--base-url", url, "--model", "billing",
            "--stages", "dedup,score,filter", "--set", "score.reflection=[yes_no]", "--yes",
            *assigned, *more]  # fmt: skip


async def start(words: Sequence[str], server: BillingServer) -> tuple[int, str]:
    """Run a command to its end; its exit status and the next command that it names."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "clear_pipeline", *words, stdout=-1, stderr=-1
    )
    server.client = process
    out, err = await process.communicate()
    status = await process.wait()
    if status not in (0, 3, -9):
        raise SystemExit(f"exit status {status}: {err.decode()}")
    named = [line for line in out.decode().splitlines() if line.startswith("next: ")]
    return status, named[-1].removeprefix("next: clear-pipeline ") if named else ""


async def one_run(data: Path, out: Path, *, calm: Amount, seed: int, kill: bool) -> Outcome:
    """One run under a random cap, until it is complete.

    Args:
        data: The rows.
        out: The run directory.
        calm: What a run without a cap is billed.
        seed: Of the cap, the kill and the server.
        kill: Whether the first process is killed on the way to its cap.
    """
    drawn = random.Random(seed)
    unit = list(_OPTIONS)[seed % len(_OPTIONS)]
    share = drawn.uniform(0.1, 0.9)
    cap = round(share * getattr(calm, unit), 5 if unit == "usd" else None)
    server = BillingServer(seed, IN_FLIGHT)
    url = await server.start()
    outcome = Outcome(unit, cap)
    if kill:
        server.kill_at = drawn.randint(3, max(4, int(0.5 * share * calm.calls)))
    words = command(data, out, url, _OPTIONS[unit], str(cap))
    try:
        while outcome.processes < _MOST_PROCESSES:
            status, named = await start(words, server)
            outcome.processes += 1
            outcome.killed += status == -9
            in_force, count = float(words[-1]), getattr(server.billed, unit)
            if count > in_force:
                outcome.passed.append((in_force, count))
            if status == 0:
                break
            if status == 3:
                outcome.at_stop = count if outcome.at_stop is None else outcome.at_stop
                words = shlex.split(named)
    finally:
        await server.stop()
    finish(outcome, out, server)
    return outcome


def finish(outcome: Outcome, out: Path, server: BillingServer) -> None:
    """Compare the record of the run with the server's."""
    sums = (read_spend(out / "spend.sqlite") or {}).values()
    outcome.billed, outcome.most_open = server.billed, server.most_open
    outcome.spent = sum((each.spent for each in sums), Amount())
    outcome.unaccounted = sum((each.unaccounted for each in sums), Amount())
    ledger = out / "ledger.parquet"
    if ledger.exists():
        table = pq.read_table(ledger, columns=["fate", "confidence"])
        outcome.complete = "unscored" not in table["fate"].to_pylist()


async def measure(
    *, runs: int, kills: int, rows: int, scratch: Path, seed: int = 0
) -> list[Outcome]:
    """All runs, one after the other; the first `kills` of them are killed once.

    Args:
        runs: How many.
        kills: How many of them are killed, at most `runs`.
        rows: Rows of the data.
        scratch: An empty directory.
        seed: Of the first run; the others follow.
    """
    data = scratch / "rows.jsonl"
    write_data(data, rows)
    calm = BillingServer(seed, IN_FLIGHT)
    url = await calm.start()
    await start(command(data, scratch / "calm", url), calm)
    await calm.stop()
    outcomes = []
    for number in range(runs):
        outcome = await one_run(
            data, scratch / f"run-{number}", calm=calm.billed, seed=seed + number + 1,
            kill=number < kills,
        )  # fmt: skip
        outcomes.append(outcome)
        print(line(number + 1, outcome), flush=True)
    return outcomes


HEAD: Final = (
    "| run | cap | server's count at the first stop | of the cap | processes | killed | in flight "
    "| billed in the end | recorded | of it unaccounted | holds |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def line(number: int, outcome: Outcome) -> str:
    """One row of the table."""
    unit, stop = outcome.unit, outcome.at_stop
    amounts = (outcome.billed, outcome.spent, outcome.unaccounted)
    cells = [
        str(number),
        shown(outcome.cap, unit),
        "not reached" if stop is None else shown(stop, unit),
        "-" if stop is None else f"{stop / outcome.cap:.1%}",
        str(outcome.processes),
        str(outcome.killed),
        str(outcome.most_open),
        *(shown(getattr(amount, unit), unit) for amount in amounts),
        "yes" if outcome.holds else f"NO {outcome.passed}",
    ]
    return f"| {' | '.join(cells)} |"


def shown(value: float, unit: str) -> str:
    """With its unit."""
    return f"${value:.5f}" if unit == "usd" else f"{value:,.0f} {unit}"


def verdict(outcomes: Sequence[Outcome]) -> str:
    """In one sentence."""
    killed = sum(outcome.killed for outcome in outcomes)
    passed = sum(bool(outcome.passed) for outcome in outcomes)
    held = sum(outcome.holds for outcome in outcomes)
    processes = sum(outcome.processes for outcome in outcomes)
    return (
        f"{len(outcomes)} runs, {processes} processes, {killed} killed: {passed} runs passed a cap "
        f"by the server's own count; {held} held every cap, recorded all that was billed and were "
        "resumed to completion"
    )


def main() -> None:
    """Measure in a scratch directory and print the table; exit status 1 if a run does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rows", type=int, default=400)
    args = parser.parse_args()
    print(HEAD)
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = asyncio.run(
            measure(runs=args.runs, kills=args.kills, rows=args.rows, scratch=Path(scratch))
        )
    print(f"\n{verdict(outcomes)}")
    sys.exit(not all(outcome.holds for outcome in outcomes))


if __name__ == "__main__":
    main()
