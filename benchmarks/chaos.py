"""A run among faults and kills, beside the same run in calm.

    python -m benchmarks.chaos --rows 2000 --kills 50

A fifth of all requests fail, in every way that the server knows. The run is killed with SIGKILL
again and again, at random requests and while it writes a file, and the same command is typed
each time until it ends. The server counts how often it answered a question twice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.faulty_server import Body, Served, serving

_DUPLICATES, _MALFORMED = 0.03, 0.01
_SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "wu",
]


@dataclass
class Outcome:
    """What the chaos came to.

    Attributes:
        kills: Processes killed, by whether they wrote a file at that moment.
        stops: Times that the run ended by itself with an error, or with rows to be asked again.
        stats: The server's counts.
    """

    kills: Counter[str]
    stops: int
    stats: Body


def write_rows(path: Path, count: int) -> None:
    """Rows of made-up words; some twice, some malformed."""
    draw = random.Random(0)

    def word() -> str:
        return "".join(draw.choices(_SYLLABLES, k=3))

    lines: list[str] = []
    for _ in range(count):
        if lines and draw.random() < _DUPLICATES:
            lines.append(draw.choice(lines))
        elif draw.random() < _MALFORMED:
            lines.append('{"prompt": ')
        else:
            prompt = " ".join(word() for _ in range(12))
            lines.append(json.dumps({"prompt": f"{prompt}?", "completion": f"{word()}."}))
    path.write_text("\n".join(lines) + "\n")


def start(data: Path, out: Path, server: Served, in_flight: int) -> subprocess.Popen[bytes]:
    """The command that is typed again and again."""
    settings = {
        "load.shard_rows": 100,
        "models.scorer.max_in_flight": in_flight,
        "models.scorer.timeout_s": 3,
        "models.scorer.backoff_s": 0.1,
        "score.weights": "{yes_no: 1.0}",
        "score.likelihood_weight": 0,
    }
    assigned = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "clear_pipeline", "run", str(data), "--out", str(out),
               "--base-url", server.url, "--model", "faulty", "--preset", "fast",
               "--stages", "dedup,score,filter", *assigned]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def unfinished_files(out: Path) -> set[str]:
    """Path and inode of each file that is not in its place yet; one may go as we look."""
    found = set[str]()
    for path in out.glob("**/.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{path} {path.stat().st_ino}")
    return found


def killed_while_writing(process: subprocess.Popen[bytes], out: Path, sightings: int) -> bool:
    """Kill the process at that sighting of an unfinished file; False if it ends before."""
    seen: set[str] = set()
    while process.poll() is None:
        unfinished = unfinished_files(out)
        seen |= unfinished
        if unfinished and len(seen) >= sightings:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.001)
    return False


def chaos(data: Path, out: Path, server: Served, args: argparse.Namespace) -> Outcome:
    """Start the run, kill it, start it again, until it is through."""
    draw, kills, stops = random.Random(args.seed), Counter[str](), 0
    while True:
        left = args.kills - kills.total()
        process = start(data, out, server, args.in_flight)
        if left > 0:
            asked = server.stats()["questions"]
            per_kill = max(1, (args.rows - asked) // (left + 1))
            server.kill(process.pid, after=draw.randint(1, 2 * per_kill))
            if draw.random() < args.writing and killed_while_writing(
                process, out, draw.randint(1, 8)
            ):
                server.killed()
                kills["while it wrote"] += 1
                continue
        status = process.wait()
        if status == -signal.SIGKILL:
            kills["at a request"] += 1
        elif status == 0 and not to_be_asked_again(out):
            return Outcome(kills, stops, server.stats())
        else:
            stops += 1
            if stops > 20:
                raise SystemExit(f"the run does not come to its end; last status {status}")


def to_be_asked_again(out: Path) -> int:
    """Rows that failed in a way that the same command mends."""
    manifest = json.loads((out / "manifest.json").read_text())
    return sum(part["failed"] for stage in manifest["stages"] for part in stage["parts"].values())


def differing_columns(one: Path, other: Path) -> list[str]:
    """Columns of two ledgers that are not equal; "rows" if they have other rows."""
    tables = [pq.read_table(run / "ledger.parquet") for run in (one, other)]
    if tables[0].num_rows != tables[1].num_rows:
        return ["rows"]
    return [n for n in tables[0].column_names if not tables[0][n].equals(tables[1][n])]


def report(outcome: Outcome, calm: Path, out: Path, args: argparse.Namespace) -> bool:
    """Print the table; whether every promise held."""
    stats = outcome.stats
    ledger = pq.read_table(out / "ledger.parquet")
    lines = (calm.parent / "rows.jsonl").read_text().count("\n")
    fates = Counter(ledger["fate"].to_pylist())
    differing = differing_columns(calm, out)
    equal = (calm / "ledger.parquet").read_bytes() == (out / "ledger.parquet").read_bytes()
    worst = max(stats["repeated"])
    outcomes: dict[str, int] = stats["outcomes"]
    failed = sum(count for kind, count in outcomes.items() if kind != "answered")
    rows = [
        ("rows read, rows with a fate", f"{lines:,}, {sum(fates.values()):,}"),
        ("fates", ", ".join(f"{count:,} {fate}" for fate, count in sorted(fates.items()))),
        ("kills", ", ".join(f"{count} {how}" for how, count in sorted(outcome.kills.items()))),
        ("ended by itself before all rows were scored", f"{outcome.stops} times"),
        ("requests, different questions", f"{stats['requests']:,}, {stats['questions']:,}"),
        ("requests that met a fault", f"{failed:,}, of {len(outcomes) - 1} kinds"),
        ("requests open at a kill, at most", f"{max(stats['killed'], default=0)}"),
        ("questions answered twice, in all", f"{stats['answered_again']}"),
        ("answers lost by one kill, at most", f"{worst} (of {args.in_flight} in flight)"),
        ("ledger", "equal to the calm run's, byte for byte" if equal else f"differs: {differing}"),
    ]  # fmt: skip
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    return equal and lines == sum(fates.values()) and worst <= args.in_flight


def main() -> None:
    """Read the command line; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--writing", type=float, default=0.5, help="share of kills at a write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data, calm, out = (scratch / name for name in ("rows.jsonl", "calm", "chaos"))
        write_rows(data, args.rows)
        with serving(scratch) as server:
            if status := start(data, calm, server, args.in_flight).wait():
                raise SystemExit(f"the calm run ended with status {status}")
        options = ("--faults", str(args.faults), "--seed", str(args.seed))
        with serving(scratch, *options) as server:
            outcome = chaos(data, out, server, args)
        sys.exit(not report(outcome, calm, out, args))


if __name__ == "__main__":
    main()
