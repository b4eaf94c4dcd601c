"""Duplicates: this package beside its peers, on the same files, by the same similarity.

    python -m benchmarks.dedup measure --sizes 50000 200000 --peers PEERS --results dedup.jsonl
    python -m benchmarks.dedup report dedup.jsonl
    python -m benchmarks.dedup share DATA... --show 20

`measure` makes the files with the generator of --shared, runs every system in a process of its own,
one after the other and then the next round, and appends a line per measurement: the same command
again measures only what is missing. What failed once on a file is not tried there again. `share`
prints what the stage with its default settings would leave out of your own files.

Two texts are duplicates if the sets of their runs of 5 words have a Jaccard similarity of at least
0.8. Seconds count from the first byte of the JSONL to the list of which row stays for which.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from platformdirs import user_cache_path

from benchmarks.dedup_files import I64, DataFile, Order, prepared
from benchmarks.dedup_ours import columns, load
from benchmarks.dedup_report import Measurement, read_measurements, report
from benchmarks.dedup_truth import Pairs, all_pairs, precision, recall, roots
from benchmarks.process_cost import run_command
from benchmarks.results_file import ResultsFile
from clear_pipeline.errors import UsageError
from clear_pipeline.schema import examples
from clear_pipeline.stages.dedup import Dedup

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = user_cache_path("clear-pipeline") / "benchmarks"
RESULTS: Final = ROOT / "benchmarks" / "results" / "dedup.md"

Command = Callable[[Path], tuple[list[str], list[str]]]
"""From the peers' Python to the words before DATA OUT SCRATCH, and those after."""


def _ours(_: Path) -> tuple[list[str], list[str]]:
    return [sys.executable, "-m", "benchmarks.dedup_ours"], []


def _peer(name: str, *arguments: str) -> Command:
    worker = ROOT / "benchmarks" / "peers" / f"dedup_{name}_worker.py"
    return lambda python: ([str(python), str(worker)], list(arguments))


SYSTEMS: Final[dict[str, Command]] = {
    "ours": _ours,
    "datasketch": _peer("datasketch", "first"),
    "datasketch-all": _peer("datasketch", "all"),
    "rensa": _peer("rensa"),
    "text-dedup": _peer("text_dedup"),
    "datatrove": _peer("datatrove"),
}
"""By name, the worker; see benchmarks/README.md for what each does."""
BY_DEFAULT: Final = [name for name in SYSTEMS if name != "datasketch-all"]
"""The one that is left out takes hours on many equal rows."""


class Truth:
    """What there is to find in one file."""

    def __init__(self, file: DataFile) -> None:
        self.texts = file.texts()
        self._subset = file.subset()
        found = all_pairs([self.texts[row] for row in self._subset])
        rows = self._subset
        self.pairs = Pairs(rows[found.first], rows[found.second], found.jaccard)

    def judge(self, kept: I64) -> dict[str, object]:
        """The figures of a measurement that are about what was found."""
        kept = roots(kept)
        right = precision(self.texts, kept)
        pairs, found = recall(self.pairs, kept)
        return {
            "removed": right.removed,
            "direct": right.direct,
            "chained": right.chained,
            "pairs": pairs,
            "found": found,
        }


def measure_one(
    system: str, order: Order, run: int, *, file: DataFile, python: Path, seconds: float
) -> tuple[Measurement, I64 | None]:
    """Run a system once; its figures without those about what it found, and what it found."""
    program, arguments = SYSTEMS[system](python)
    with tempfile.TemporaryDirectory() as folder:
        out, scratch = Path(folder) / "kept", Path(folder) / "scratch"
        scratch.mkdir()
        command = [*program, str(file.path), str(out), str(scratch), *arguments]
        cost = run_command(command, seconds=seconds, log=Path(folder) / "log", folder=ROOT)
        measured = Measurement(system, order.rows, order.giant, order.seed, run)
        if cost.status is None:
            return measured.with_figures(error=f"not done after {seconds:,.0f} s"), None
        if cost.status != 0 or not out.exists():
            last = cost.said.splitlines()[-1:] or [""]
            return measured.with_figures(error=f"exit status {cost.status}: {last[0][:200]}"), None
        took = json.loads(out.with_suffix(".json").read_text())
        return (
            measured.with_figures(
                seconds=took["seconds"],
                found_seconds=took.get("found_seconds"),
                stage_seconds=took.get("stage_seconds"),
                # Processes that a server of processes has forked are no children of the worker.
                cpu_seconds=max(took["cpu_seconds"], cost.cpu_seconds - took["cpu_before"]),
                peak_mib=max(took["peak_mib"], cost.peak_mib),
                version=took["version"],
            ),
            np.fromfile(out, np.int64),
        )


def wanted(args: argparse.Namespace) -> Iterator[tuple[int, Order, str]]:
    """What is to be measured: all systems on all files, and that in several rounds."""
    orders = [Order(rows, giant, args.seed) for rows in args.sizes for giant in args.giants]
    for run in range(args.runs):
        for order in orders:
            for system in args.systems:
                if order.giant < order.rows:
                    yield run, order, system


def measure(args: argparse.Namespace) -> None:
    """Measure what the results file lacks."""
    earlier = read_measurements(args.results)
    done = {each.key for each in earlier}
    failed = {each.key[:-1] for each in earlier if each.error}
    results = ResultsFile(args.results)
    python = _python(args.peers, args.systems)
    known: dict[Order, Truth] = {}
    for run, order, system in wanted(args):
        where = (system, order.rows, order.giant, order.seed)
        if (*where, run) in done or where in failed:
            continue
        file = prepared(order, shared=args.shared, cache=args.cache)
        measured, kept = measure_one(
            system, order, run, file=file, python=python, seconds=args.seconds
        )
        if kept is not None:
            if order not in known:
                known = {order: Truth(file)}  # one file's texts at a time
            measured = measured.with_figures(**known[order].judge(kept))
        else:
            failed.add(where)
        results.add(measured)
        print(f"{time.strftime('%H:%M:%S')} {measured.line()}", flush=True)
    results.close()


def _python(peers: Path | None, systems: Sequence[str]) -> Path:
    """The Python that runs the peers."""
    if peers is None:
        if others := [name for name in systems if not name.startswith(("ours", "datasketch"))]:
            raise UsageError(
                f"{', '.join(others)}: not installed here; benchmarks/peers/install.sh PEERS dedup "
                "installs them, then give --peers PEERS"
            )
        return Path(sys.executable)
    python = peers / "dedup" / "bin" / "python"
    if not python.exists():
        raise UsageError(f"{python} is not there: run benchmarks/peers/install.sh {peers} dedup")
    return python


def share(path: Path, *, show: int) -> None:
    """Print what the stage leaves out of a file, then the first `show` such rows."""
    shards = load(path)
    began = time.perf_counter()
    found = [row for table in columns(shards, Dedup()) for row in table.to_pylist()]
    seconds = time.perf_counter() - began
    kinds = Counter(row["duplicate_kind"] for row in found if row["duplicate_of"])
    total, removed = len(found), kinds.total()
    print(
        f"{path.name}: {removed} of {total} rows ({removed / total:.2%}): {kinds['exact']} exact, "
        f"{kinds['near']} near; {seconds:.1f} s, {total / seconds:,.0f} rows/s"
    )
    rows = {row.id: row for shard in shards for row in examples(shard.table)} if show else {}
    pairs = zip(rows.values(), found, strict=True) if show else []
    for row, column in [(r, c) for r, c in pairs if c["duplicate_of"]][:show]:
        print(f"\n{row.id} -> {column['duplicate_of']}, similarity {column['similarity']:.3f}")
        for side in (row, rows[column["duplicate_of"]]):
            print(f"  {side.messages[-1].text[-120:]!r}\n    {side.response[:120]!r}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("measure", help="run systems, append to --results")
    sub.add_argument("--sizes", type=int, nargs="+", default=[50_000, 200_000, 1_000_000])
    sub.add_argument("--giants", type=int, nargs="+", default=[0, 100_000])
    sub.add_argument("--systems", nargs="+", choices=SYSTEMS, default=BY_DEFAULT)
    sub.add_argument("--runs", type=int, default=3)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--seconds", type=float, default=3600, help="a system gets so long at most")
    sub.add_argument("--peers", type=Path, help="where benchmarks/peers/install.sh put them")
    sub.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    sub.add_argument("--cache", type=Path, default=CACHE, help="where generated files are kept")
    sub.add_argument("--results", type=Path, required=True)
    sub = commands.add_parser("report", help="print the tables and write them")
    sub.add_argument("results", type=Path, nargs="+")
    sub.add_argument("--out", type=Path, default=RESULTS)
    sub = commands.add_parser("share", help="what the stage would leave out of files")
    sub.add_argument("files", nargs="+", type=Path)
    sub.add_argument("--show", type=int, default=0)
    args = parser.parse_args()
    if args.command == "measure":
        measure(args)
    elif args.command == "report":
        text = report(read_measurements(*args.results))
        args.out.write_text(text, encoding="utf-8")
        print(text, end="")
    else:
        for file in args.files:
            share(file, show=args.show)


if __name__ == "__main__":
    try:
        main()
    except UsageError as error:
        sys.exit(str(error))
