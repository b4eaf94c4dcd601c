"""How much of what a server could do the score stage has it do, and in how much memory.

    python -m benchmarks.throughput rate --rows 5000 --runs 5 --results F
    python -m benchmarks.throughput memory --rows 100000 --results F
    python -m benchmarks.throughput embedded --rows 200 --runs 3 --results F
    python -m benchmarks.throughput report F

`rate` runs the command line, with cache, limits, caps, ledger and progress, in front of a server on
loopback that answers after 50 ms; then it sends the very same requests with nothing but
`openai[aiohttp]`, as many at once. `memory` samples one long run. `embedded` compares in the same
way a run with the embedded model and a plain loop. Each appends a line per measurement to F; the
same command again measures what is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.caps import write_data
from benchmarks.faulty_server import Body, Served, serving
from benchmarks.process_cost import Cost, run_command
from benchmarks.recorded import read_sums
from benchmarks.results_file import ResultsFile
from benchmarks.throughput_report import EMBEDDED, MEMORY, RATE, Measurement, read_measurements
from benchmarks.throughput_report import report as tables
from clear_pipeline.llm.embedded import SLOTS

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results" / "throughput.md"
MODEL: Final = "smollm2-135m"

_SECONDS: Final = 3600.0
"""No measurement takes longer."""

_BETWEEN_S: Final = 1.0
"""Seconds between two looks at how far a run is."""


def command(data: Path, out: Path, *more: str) -> list[str]:
    """The words after `clear-pipeline` of a run that scores."""
    cap = ["--max-calls", "1000000000"]
    return ["run", str(data), "--out", str(out), "--stages", "score", "--yes", *cap, *more]


def at_server(url: str, in_flight: int) -> list[str]:
    """Options that have the run ask a server."""
    limit = ["--set", f"models.scorer.max_in_flight={in_flight}"]
    return ["--base-url", url, "--model", "steady", *limit]


@contextmanager
def steady(scratch: Path, latency: float, record: Path | None = None) -> Iterator[Served]:
    """A server that answers after `latency` seconds, and writes down what it is asked."""
    written = ["--record", str(record)] if record else []
    options = ["--latency", f"{latency:g}", *written]
    with serving(scratch, *options, server="benchmarks.steady_server") as server:
        yield server


def timed(words: list[str], scratch: Path, *, terminal: bool = True) -> Cost:
    """Run Python with these arguments.

    Raises:
        SystemExit: It failed.
    """
    cost = run_command(
        [sys.executable, *words],
        seconds=_SECONDS,
        log=scratch / "log",
        folder=ROOT,
        terminal=terminal,
    )
    if cost.status != 0:
        raise SystemExit(f"{' '.join(words)}: exit status {cost.status}: {cost.said}")
    return cost


def rate_figures(stats: Body, cost: Cost) -> dict[str, float]:
    """What is told of one client."""
    return {
        "requests": stats["requests"],
        "rate": stats["rate"],
        "steady_rate": stats["steady_rate"],
        "most_open": stats["most_open"],
        "server_cpu": stats["cpu"],
        "client_cpu": cost.cpu_seconds,
        "peak_mib": cost.peak_mib,
    }


def measure_rate(rows: int, run: int, *, in_flight: int, latency: float) -> list[Measurement]:
    """One run, and its requests once more by the bare client.

    Raises:
        SystemExit: The two did not send the same requests.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data, asked, again = (scratch / name for name in ("rows.jsonl", "asked", "again"))
        write_data(data, rows)
        with steady(scratch, latency, asked) as server:
            words = command(data, scratch / "run", *at_server(server.url, in_flight))
            cost = timed(["-m", "clear_pipeline", *words], scratch)
            ours = rate_figures(server.stats(), cost)
        with steady(scratch, latency, again) as server:
            options = ["--url", server.url, "--in-flight", str(in_flight)]
            cost = timed(["-m", "benchmarks.bare_client", str(asked), *options], scratch)
            bare = rate_figures(server.stats(), cost)
        if sorted(asked.read_bytes().splitlines()) != sorted(again.read_bytes().splitlines()):
            raise SystemExit("the bare client did not send what the run had sent")
    return [
        Measurement(RATE, system, rows, in_flight, run, figures)
        for system, figures in (("ours", ours), ("bare", bare))
    ]


def measure_memory(rows: int, *, in_flight: int, latency: float) -> Measurement:
    """One run, with what is resident by how many requests have been answered."""
    with tempfile.TemporaryDirectory() as folder, steady(Path(folder), latency) as server:
        scratch = Path(folder)
        data = scratch / "rows.jsonl"
        write_data(data, rows)
        series: list[tuple[int, float]] = []
        seen = last = 0.0

        def watch(resident: float) -> None:
            nonlocal seen, last
            last = resident or last  # nothing is resident of a process that has just ended
            if time.monotonic() - seen >= _BETWEEN_S:
                seen = time.monotonic()
                series.append((server.stats()["requests"], last))

        words = command(data, scratch / "run", *at_server(server.url, in_flight))
        cost = run_command(
            [sys.executable, "-m", "clear_pipeline", *words],
            seconds=_SECONDS,
            log=scratch / "log",
            folder=ROOT,
            terminal=True,
            watch=watch,
        )
        if cost.status != 0:
            raise SystemExit(f"the run ended with exit status {cost.status}: {cost.said}")
        figures = rate_figures(server.stats(), cost)
        series.append((int(figures["requests"]), last))
    return Measurement(MEMORY, "ours", rows, in_flight, 0, figures, series)


def measure_embedded(rows: int, run: int, *, data: Path | None = None) -> list[Measurement]:
    """One run with the embedded model, and its requests by a plain loop on such a server."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        asked, again = scratch / "asked", scratch / "again"
        if data is None:
            data = scratch / "rows.jsonl"
            write_data(data, rows)
        words = command(data, scratch / "run", "--model", MODEL, "--limit", str(rows))
        ours = timed(["-m", "benchmarks.recorded", str(asked), *words], scratch)
        options = ["--embedded", MODEL, "--in-flight", str(SLOTS), "--note", str(again)]
        bare = timed(["-m", "benchmarks.bare_client", str(asked), *options], scratch)
        measured = []
        for system, noted, cost in (("ours", asked, ours), ("bare", again, bare)):
            sums = read_sums(noted)
            figures = {
                "requests": sums.requests,
                "tokens": sums.tokens,
                "seconds": sums.seconds,
                "client_cpu": cost.cpu_seconds,
                "peak_mib": cost.peak_mib,
            }
            measured.append(Measurement(EMBEDDED, system, rows, SLOTS, run, figures))
    return measured


def missing(args: argparse.Namespace, in_flight: int) -> Iterator[int]:
    """Rounds that the results file lacks."""
    done = {each.key for each in read_measurements(args.results)}
    for run in range(args.runs):
        if (args.command, "ours", args.rows, in_flight, run) not in done:
            yield run


def measure(args: argparse.Namespace) -> None:
    """Measure what is missing, and print each line."""
    in_flight = SLOTS if args.command == EMBEDDED else args.in_flight
    results = ResultsFile(args.results)
    for run in missing(args, in_flight):
        if args.command == RATE:
            measured = measure_rate(args.rows, run, in_flight=in_flight, latency=args.latency)
        elif args.command == MEMORY:
            measured = [measure_memory(args.rows, in_flight=in_flight, latency=args.latency)]
        else:
            measured = measure_embedded(args.rows, run, data=args.data)
        for each in reversed(measured):  # a round is complete when its line of ours is there
            results.add(each)
            print(each.line(), flush=True)
    results.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, rows, runs in ((RATE, 5000, 5), (MEMORY, 100_000, 1), (EMBEDDED, 200, 3)):
        sub = commands.add_parser(name)
        sub.add_argument("--rows", type=int, default=rows)
        sub.add_argument("--runs", type=int, default=runs, choices=[1] if name == MEMORY else None)
        sub.add_argument("--results", type=Path, required=True)
        if name == EMBEDDED:
            sub.add_argument("--data", type=Path, help="rows of your own; made up without it")
        else:
            sub.add_argument("--in-flight", type=int, default=256)
            sub.add_argument("--latency", type=float, default=0.05, help="seconds per answer")
    sub = commands.add_parser("report")
    sub.add_argument("results", type=Path, nargs="+")
    sub.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.command != "report":
        measure(args)
        return
    text = tables(read_measurements(*args.results))
    args.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
