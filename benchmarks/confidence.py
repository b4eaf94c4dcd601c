"""Which score finds the bad rows, and what does it cost? This package beside its peers.

    python -m benchmarks.confidence measure A.jsonl B.jsonl --split report --rows 100 \
        --base-url http://127.0.0.1:8099/v1 --model NAME --results scores.jsonl \
        --systems fast best tlm uqlm rating length overlap random --peers PEERS
    python -m benchmarks.confidence report scores.jsonl [more.jsonl ...]

Every system scores the first rows of the split (with --balanced the first bad ones and as many good
ones, which makes AUROC surer for the same number of calls) on the same server, behind one counting
proxy: all systems on the first row of each set, then the second row, and so on, so that whatever
slows the machine slows all alike. Each score is a line of the results file, written before the next
begins; the same command resumes. The file holds no text of the data, and one model and split alone.
Several servers take a part of the rows each (--part 1/4, each into a file of its own).
The report compares the systems with the most rows on the rows of all, and each slower one on its
own. Columns of DATA: see benchmarks/rectify.py; benchmarks/peers/install.sh makes PEERS.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.confidence_report import report
from benchmarks.counting import CountingProxy
from benchmarks.rectify import Case, read_cases
from benchmarks.results_file import Result, ResultsFile, read_results
from benchmarks.systems import PEERS, SYSTEMS, Endpoint, NoScoreError, Peer, System
from clear_pipeline.errors import UsageError

FAILURES_IN_A_ROW = 8
"""So many rows that a system fails one after the other end the run: something else is wrong."""

DEFAULT = ("fast", "tlm", "best", "uqlm", "likelihood", "rating", "length", "overlap", "random")


def in_turn(sets: Mapping[str, Sequence[Case]]) -> Iterator[tuple[str, Case]]:
    """The first row of every set, then the second of every set, and so on."""
    for n in range(max(map(len, sets.values()))):
        yield from ((name, cases[n]) for name, cases in sets.items() if n < len(cases))


def alternating(cases: Sequence[Case], rows: int) -> list[Case]:
    """The first bad row, the first good one, the second bad one, and so on: half of either."""
    kinds = ([case for case in cases if case.bad is bad][: rows // 2] for bad in (True, False))
    return [case for pair in zip(*kinds, strict=False) for case in pair]


def part_of_all(text: str) -> slice:
    """`2/4` as the slice that takes the second of every four rows.

    Raises:
        ArgumentTypeError: There is no such part.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is no part: 1/4 is the first of four")
    return slice(int(number) - 1, None, int(count))


def _rows_of(path: Path, args: argparse.Namespace) -> list[Case]:
    if args.balanced:
        cases = alternating(read_cases(path, split=args.split, rows=None), args.rows)
    else:
        cases = read_cases(path, split=args.split, rows=args.rows)
    part: slice = args.part
    return cases[part]


def _done(args: argparse.Namespace) -> set[tuple[str, str, str]]:
    """System, set and row of what the results file has.

    Raises:
        UsageError: It is of another model or split, or two data files have one name.
    """
    stems = [path.stem for path in args.data]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise UsageError(
            f"two files are called {', '.join(twice)}, and results go by that name: rename one"
        )
    results = read_results(args.results)
    if results and (results[0].model, results[0].split) != (args.model, args.split):
        raise UsageError(
            f"{args.results} is of {results[0].model}, split {results[0].split}, and this is "
            f"{args.model}, split {args.split}: name another file with --results"
        )
    return {
        (r.system, r.set, r.row) for r in results if r.score is not None or not args.again_failed
    }


async def measure(args: argparse.Namespace) -> None:
    """Score what the results file does not have yet.

    Raises:
        UsageError: The results file or the names of the data do not allow it.
    """
    done = _done(args)
    sets = {path.stem: _rows_of(path, args) for path in args.data}
    results = ResultsFile(args.results)
    proxy = CountingProxy(args.base_url, model=args.model)
    await proxy.start()
    endpoint = Endpoint(proxy.url, args.model, args.peers, args.timeout)
    systems = {name: SYSTEMS[name](endpoint) for name in SYSTEMS if name in args.systems}
    failed = dict.fromkeys(systems, 0)
    try:
        for n, (stem, case) in enumerate(in_turn(sets), 1):
            for name in [name for name in systems if (name, stem, case.example.id) not in done]:
                try:
                    measured = await _measured(systems[name], case, proxy)
                except UsageError as cannot:
                    print(f"{name} is left out: {cannot}")
                    await systems.pop(name).close()
                    continue
                origin = {"model": args.model, "split": args.split, "bad": case.bad}
                results.add(Result(name, stem, case.example.id, **origin, **measured))
                failed[name] = 0 if measured["error"] is None else failed[name] + 1
                _stop_if_hopeless(name, failed[name], measured["error"])
            print(f"... row {n} of {sum(map(len, sets.values()))}", flush=True)
    finally:
        for system in systems.values():
            await system.close()
        await proxy.close()
        results.close()


def _stop_if_hopeless(name: str, failed: int, error: str | None) -> None:
    if failed == FAILURES_IN_A_ROW:
        raise SystemExit(
            f"{name}: {failed} rows failed one after the other, the last with: {error}. Mend the "
            "cause and run the same command with --again-failed."
        )


async def _measured(system: System, case: Case, proxy: CountingProxy) -> dict[str, Any]:
    """The fields of `Result` from `score` on."""
    if isinstance(system, Peer):
        await system.start()
    counts = proxy.begin()
    score, error, began = None, None, time.perf_counter()
    try:
        score = await system.score(case)
    except NoScoreError as raised:
        error = " ".join(str(raised).split())[:300]
    return {
        "score": score,
        "error": error,
        "calls": counts.calls,
        "prompt_tokens": counts.usage.prompt,
        "cached_tokens": counts.usage.cached,
        "completion_tokens": counts.usage.completion,
        "seconds": round(time.perf_counter() - began, 4),
    }


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("measure", help="score rows; run again to resume")
    run.add_argument("data", type=Path, nargs="+")
    run.add_argument("--split", choices=["tune", "report"], required=True)
    run.add_argument("--rows", type=int, default=100, help="per file")
    run.add_argument("--balanced", action="store_true", help="half of the rows bad, half good")
    run.add_argument("--part", type=part_of_all, default="1/1", metavar="N/OF", help="of the rows")
    run.add_argument("--base-url", required=True)
    run.add_argument("--model", required=True)
    run.add_argument("--results", type=Path, required=True)
    run.add_argument("--systems", nargs="+", choices=SYSTEMS, default=DEFAULT)
    run.add_argument("--peers", type=Path, help="folder made by peers/install.sh")
    run.add_argument("--timeout", type=float, default=900.0, help="seconds for a row of a peer")
    run.add_argument("--again-failed", action="store_true", help="ask again for rows without score")
    show = commands.add_parser("report", help="print the tables")
    show.add_argument("results", type=Path, nargs="+")
    show.add_argument("--systems", nargs="+", choices=SYSTEMS, help="all that were measured")
    show.add_argument("--main", nargs="+", choices=SYSTEMS, help="those to compare together")
    args = parser.parse_args()
    try:
        if args.command == "report":
            if missing := [str(path) for path in args.results if not path.exists()]:
                parser.error(f"no such file: {', '.join(missing)}")
            print("\n".join(report(read_results(*args.results), args.systems, args.main)))
            return
        if args.peers is None and set(args.systems) & set(PEERS):
            parser.error("--peers is needed for " + ", ".join(set(args.systems) & set(PEERS)))
        asyncio.run(measure(args))
    except UsageError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
