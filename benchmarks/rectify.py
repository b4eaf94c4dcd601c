"""How many good rows does rectify damage, and how many bad rows does it fix?

    python -m benchmarks.rectify DATA.jsonl --split report --rows 100 --out rows.jsonl \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

DATA has the columns `label` (good, bad), `split` and `clean_...` (the true target); the stage sees
none of them. Every row gets a candidate, as if the filter had dropped it. A row counts as damaged
or fixed by its final answer after normalisation. `--out` gets a line per row as soon as it is
done: the same command again goes on where it was stopped, and prints the figures. `--fit-eta FILE`
chooses an eta on these rows by their true answers; `--calibration FILE` uses it on others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.rectify_report import Repaired, fitted_eta, read_repaired, report
from benchmarks.results_file import ResultsFile
from clear_pipeline.config_chain import PAPER
from clear_pipeline.errors import UsageError
from clear_pipeline.formats import FORMATS
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Example, rows_table
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.stages.base import Context, Shard, SilentProgress, map_rows
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.usage import TOKENS


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


def first_of_either(cases: Sequence[Case], *, good: int, bad: int) -> list[Case]:
    """The first rows of each label, in file order: a bound on damage takes 59 good ones."""
    left = {False: good, True: bad}
    taken = []
    for case in cases:
        if left[case.bad] > 0:
            left[case.bad] -= 1
            taken.append(case)
    return taken


async def measure(
    cases: Sequence[Case],
    stage: Rectify,
    model: ChatModel,
    file: ResultsFile,
    *,
    done: Collection[str] = (),
    in_flight: int = 4,
) -> None:
    """Run the stage row by row, with one model that writes and judges, and note each at once.

    Args:
        cases: With the truth.
        stage: Every row is in its scope.
        model: Writes and judges.
        file: Gets a `Repaired` per row.
        done: Ids of rows that it has.
        in_flight: Rows at once.
    """
    ctx = Context({"candidate": model, "judge": model}, Counting(), in_flight)

    async def repair(case: Case) -> None:
        began = time.monotonic()
        table = rows_table([case.example]).append_column("keep", pa.array([False]))
        made = await stage.annotate(Shard(case.example.id, table), [True], None, ctx)
        file.add(_repaired(case, made.to_pylist()[0], stage, model, time.monotonic() - began))

    left = [case for case in cases if case.example.id not in done]
    await map_rows(repair, left, limit=in_flight)


def _settings(stage: Rectify) -> dict[str, Any]:
    """What verdicts depend on."""
    return stage.model_dump(mode="json", exclude={"eta", "calibration"})


def _repaired(
    case: Case, row: dict[str, Any], stage: Rectify, model: ChatModel, seconds: float
) -> Repaired:
    used = [usage for name in ("candidate_usage", "judge_usage") if (usage := row[name])]
    calls, prompt, cached, completion = (
        sum(usage[name] for usage in used) for name in ("calls", *TOKENS)
    )
    candidate = row["candidate"]
    return Repaired(
        row=case.example.id,
        bad=case.bad,
        model=model.identity,
        settings=_settings(stage),
        outcome=row["rectify_outcome"],
        reason=row["rectify_reason"],
        verdict=row["verdict"],
        preference=row["preference"],
        first=row["preference_first"],
        second=row["preference_second"],
        candidate=candidate,
        right=None if candidate is None else exact_match(candidate, case.clean),
        calls=calls,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        seconds=seconds,
    )


async def ask(cases: Sequence[Case], stage: Rectify, args: argparse.Namespace) -> None:
    """Ask about the rows that `--out` does not have yet, or has as failed."""
    settings = ModelSettings.model_validate(
        {"model": args.model, "base_url": args.base_url, "max_in_flight": args.in_flight}
    )
    model = await open_model(settings, cache_path=args.cache, meter=Meter())
    try:
        stage.refuse_other_judge(model.identity)
        known = read_repaired(args.out)
        if known and (known[0].model, known[0].settings) != (model.identity, _settings(stage)):
            raise UsageError(f"{args.out}: of another model or settings; name another --out")
        done = {row.row for row in known if row.outcome != "failed"}
        with closing(ResultsFile(args.out)) as file:
            await measure(cases, stage, model, file, done=done, in_flight=args.in_flight)
    finally:
        await model.close()


def _stage(args: argparse.Namespace) -> Rectify:
    settings: dict[str, Any] = dict(PAPER["rectify"]) if args.preset else {}
    if args.form:
        settings["form"] = args.form
    if args.candidates > 1:
        settings |= {"candidates": args.candidates, "candidate_temperature": args.temperature}
    if args.calibration:
        settings["calibration"] = args.calibration
    return Rectify.model_validate(settings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=["tune", "report"], default="tune")
    parser.add_argument("--rows", type=int, default=100, help="the first ones of the split")
    parser.add_argument("--good", type=int, help="in place of --rows: so many good ones")
    parser.add_argument("--bad", type=int, help="and so many bad ones")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one per row")
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--preset", choices=["paper"])
    parser.add_argument("--form", choices=["yes-no", "one-token", "sampled"])
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.7, help="of several candidates")
    parser.add_argument("--eta", type=float, nargs="+", default=[0.5, 0.6, 0.65, 0.7, 0.8, 0.9])
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--max-damage", type=float, default=0.05, help="share of the good rows")
    parser.add_argument("--fit-eta", type=Path, help="file to write, for --calibration")
    parser.add_argument("--calibration", type=Path, help="file of --fit-eta on another split")
    return parser.parse_args()


def main() -> None:
    """Measure what is left, and print."""
    args = _arguments()
    stage = _stage(args)
    cases = read_cases(args.data, split=args.split, rows=None)
    if args.good is None and args.bad is None:
        cases = cases[: args.rows]
    else:
        cases = first_of_either(cases, good=args.good or 0, bad=args.bad or 0)
    asyncio.run(ask(cases, stage, args))
    wanted = {case.example.id for case in cases}
    rows = [row for row in read_repaired(args.out) if row.row in wanted]
    etas = sorted({*args.eta, stage.eta_in_force})
    print("\n".join(report(rows, etas, in_force=stage.eta_in_force, max_damage=args.max_damage)))
    if args.fit_eta:
        fitted = fitted_eta(rows, stage, max_damage=args.max_damage)
        fitted.save(args.fit_eta)
        print(f"eta {fitted.eta:g}, written: {args.fit_eta}")


if __name__ == "__main__":
    main()
