"""How many good rows does rectify damage, and how many bad rows does it fix?

    python benchmarks/rectify.py DATA.jsonl --split report --rows 100 \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

DATA has the columns `label` (good, bad), `split` and `clean_...` (the true target); the stage sees
none of them. Every row gets a candidate, as if the filter had dropped it. A row counts as damaged
or fixed by its final answer after normalisation. Run again with the same cache to resume, or to
read another --eta without a call. Intervals are 95 %, Clopper-Pearson.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.intervals import shown
from clear_pipeline.formats import FORMATS
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Example, rows_table
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.rectify import Rectify


@dataclass(frozen=True, slots=True)
class Case:
    """A row with the truth about it."""

    example: Example
    bad: bool
    clean: str


class Counting(SilentProgress):
    """Prints every tenth row."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    def advance(self, rows: int = 1) -> None:
        """Count."""
        self.done += rows
        if self.done % 10 == 0:
            print(f"... {self.done} rows", flush=True)


def read_cases(path: Path, *, split: str, rows: int | None) -> list[Case]:
    """The first rows of a split, in file order; None = all."""
    with path.open(encoding="utf-8") as lines:
        records = ((n, json.loads(line)) for n, line in enumerate(lines, 1))
        wanted = ((n, record) for n, record in records if record["split"] == split)
        return [_case(path.name, n, record) for n, record in islice(wanted, rows)]


def _case(file: str, line: int, record: dict[str, Any]) -> Case:
    hidden = {name for name in record if name in ("label", "split") or name.startswith("clean_")}
    clean = next(record[name] for name in hidden if name.startswith("clean_"))
    shown = {name: value for name, value in record.items() if name not in hidden}
    layout = next(f for f in FORMATS.values() if f.matches(shown))
    parsed = layout.read(shown)
    example = Example(
        id=f"{file}:{line}",
        file=file,
        line=line,
        format=layout.key,
        messages=parsed.messages,
        target=parsed.target,
        original=json.dumps(shown),
    )
    return Case(example, record["label"] == "bad", clean)


async def repair(cases: Sequence[Case], stage: Rectify, args: argparse.Namespace) -> list[Any]:
    """Run the stage over all rows; its columns as one mapping per row."""
    meter = Meter()
    settings = ModelSettings.model_validate(
        {"model": args.model, "base_url": args.base_url, "max_in_flight": args.in_flight}
    )
    model = await open_model(settings, cache_path=args.cache, meter=meter)
    table = rows_table(case.example for case in cases)
    table = table.append_column("keep", pa.array([False] * len(cases)))
    ctx = Context({"candidate": model, "judge": model}, Counting(), args.in_flight)
    try:
        made = await stage.annotate(Shard("all", table), [True] * len(cases), None, ctx)
    finally:
        await model.close()
    print(f"requests {meter.snapshot().requests}, tokens {meter.snapshot().usage}")
    rows: list[Any] = made.to_pylist()
    return rows


def report(cases: Sequence[Case], rows: Sequence[Any], etas: Sequence[float]) -> None:
    """Print the figures at each eta."""
    written = [(case, row) for case, row in zip(cases, rows, strict=True) if row["candidate"]]
    right = sum(exact_match(row["candidate"], case.clean) for case, row in written)
    judged = [row for _, row in written if row["preference"] is not None]
    flips = sum((r["preference_first"] > 0.5) != (r["preference_second"] > 0.5) for r in judged)
    print(f"candidates that are right: {shown(right, len(cases))}; judged: {len(judged)}")
    print(f"verdicts that flip with the order: {shown(flips, len(judged))}")
    print("| eta | good rows damaged | bad rows fixed | bad rows replaced by another wrong one |")
    print("|---|---|---|---|")
    good, bad = (sum(case.bad is kind for case in cases) for kind in (False, True))
    for eta in etas:
        new = [
            (case.bad, exact_match(row["candidate"], case.clean))
            for case, row in written
            if row["verdict"] == "candidate" and row["preference"] > eta
        ]
        damaged, fixed, other = (
            new.count(kind) for kind in ((False, False), (True, True), (True, False))
        )
        print(f"| {eta:g} | {shown(damaged, good)} | {shown(fixed, bad)} | {shown(other, bad)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=["tune", "report"], default="tune")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--form", choices=["yes-no", "one-token", "sampled"], default="yes-no")
    parser.add_argument("--eta", type=float, nargs="+", default=[0.5, 0.6, 0.65, 0.7, 0.8, 0.9])
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--out", type=Path, help="JSON lines: every row with its columns")
    args = parser.parse_args()
    cases = read_cases(args.data, split=args.split, rows=args.rows)
    rows = asyncio.run(repair(cases, Rectify(form=args.form), args))
    if args.out:
        lines = (
            json.dumps({"id": case.example.id, "bad": case.bad, "clean": case.clean, **row})
            for case, row in zip(cases, rows, strict=True)
        )
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report(cases, rows, args.eta)


if __name__ == "__main__":
    main()
