"""Which question makes the model's one-word verdict tell bad rows from good?

    python -m benchmarks.reflection_wordings A.jsonl B.jsonl --rows 48 \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

Each question of `prompts.reflection.WORDINGS`, or those of --wordings, is asked about the same
rows, half of them bad, of each file's split `tune`; single questions and ensembles are chosen by
their mean AUROC over the files. Run again with the same cache to resume. The table is appended to
benchmarks/results, with every configuration that was tried. Columns of DATA: see
benchmarks/rectify.py.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.rectify import Case, Counting, read_cases
from clear_pipeline.errors import CallError
from clear_pipeline.evaluate.statistics import Estimate, detection
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.budget import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.stages.base import Context, map_rows

RESULTS = Path(__file__).parent / "results" / "reflection_wordings.md"
LARGEST_ENSEMBLE = 5

Scores = Mapping[str, "np.typing.NDArray[np.float64]"]
"""By wording: one score per row, NaN where the row is unscored."""


def balanced(path: Path, rows: int) -> list[Case]:
    """The first `rows` / 2 good and as many bad rows of split `tune`, in file order."""
    cases = read_cases(path, split="tune", rows=None)
    kinds = ([case for case in cases if case.bad is bad][: rows // 2] for bad in (False, True))
    return sorted((case for kind in kinds for case in kind), key=lambda case: case.example.line)


async def ask_all(
    model: ChatModel, cases: Sequence[Case], names: Sequence[str], ctx: Context
) -> Scores:
    """Ask every question about every row, one row's questions one after the other."""

    async def one(case: Case) -> list[float]:
        scores = []
        for name in names:
            try:
                scores.append((await reflect(model, case.example, (name,))).score)
            except CallError as error:
                print(f"{case.example.id}, {name}: {error}")
                scores.append(np.nan)
        ctx.progress.advance()
        return scores

    columns = np.array(await map_rows(one, cases, limit=ctx.rows_in_flight)).T
    return dict(zip(names, columns, strict=True))


def auroc(scores: Scores, cases: Sequence[Case], names: Sequence[str]) -> Estimate:
    """Of the mean of some wordings; a row that one of them left unscored does not count."""
    mean = np.mean([scores[name] for name in names], axis=0)
    there = np.isfinite(mean)
    bad = np.array([case.bad for case in cases])
    return detection(mean[there], bad[there]).auroc


def configurations(sets: Mapping[str, tuple[Sequence[Case], Scores]]) -> list[tuple[str, ...]]:
    """Each wording alone, then greedily grown ensembles: at each size, every way to grow."""

    def mean(names: tuple[str, ...]) -> float:
        return float(np.mean([auroc(s, cases, names).value for cases, s in sets.values()]))

    wordings = list(next(iter(sets.values()))[1])
    tried: list[tuple[str, ...]] = [(name,) for name in wordings]
    best = max(tried, key=mean)
    for _ in range(1, min(LARGEST_ENSEMBLE, len(wordings))):
        grown = [(*best, name) for name in wordings if name not in best]
        tried += grown
        best = max(grown, key=mean)
    return tried


def table(sets: Mapping[str, tuple[Sequence[Case], Scores]]) -> list[str]:
    """Markdown: one line per configuration, best mean first, after the length baseline."""
    lines = [f"| wordings | {' | '.join(sets)} | mean |", "|---" * (len(sets) + 2) + "|"]
    lengths = [
        detection([len(c.example.response) for c in cases], [c.bad for c in cases]).auroc
        for cases, _ in sets.values()
    ]
    found = [
        ("+".join(names), [auroc(scores, cases, names) for cases, scores in sets.values()])
        for names in configurations(sets)
    ]
    found.sort(key=lambda row: -sum(e.value for e in row[1]))
    for name, row in [("length of the response", lengths), *found]:
        cells = [f"{e.value:.3f} [{e.low:.2f}, {e.high:.2f}]" for e in row]
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean([e.value for e in row]):.3f} |")
    return lines


async def measure(args: argparse.Namespace) -> None:
    """Ask, print and append."""
    settings = ModelSettings.model_validate(
        {"model": args.model, "base_url": args.base_url, "max_in_flight": args.in_flight}
    )
    meter = Meter()
    model = await open_model(settings, cache_path=args.cache, meter=meter)
    groups = {path.stem: balanced(path, args.rows) for path in args.data}
    # Rows of all sets in turn, so that an interrupted run has asked about each set alike.
    cases = [case for turn in zip(*groups.values(), strict=True) for case in turn]
    started = time.monotonic()
    try:
        ctx = Context({"scorer": model}, Counting(), args.in_flight)
        scores = await ask_all(model, cases, args.wordings, ctx)
    finally:
        await model.close()
    seconds = time.monotonic() - started
    sets = {
        stem: (group, {name: column[n :: len(groups)] for name, column in scores.items()})
        for n, (stem, group) in enumerate(groups.items())
    }
    totals = meter.snapshot()
    title = f"## {args.model}, split tune, {args.rows} rows per set, half of them bad"
    cost = (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(configurations(sets))} configurations; "
        f"{totals.requests} requests and {totals.cached_samples} cached answers in "
        f"{seconds:.0f} s for {len(cases)} rows; {totals.usage}."
    )
    intervals = "AUROC with 95 % bootstrap intervals, best mean first."
    lines = [title, "", f"{intervals} {cost}", "", *table(sets), ""]
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as log:
        log.write("\n".join(lines) + "\n")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--rows", type=int, default=48, help="per file")
    parser.add_argument("--base-url", help="none: a model of the catalogue")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--wordings", nargs="+", choices=WORDINGS, default=list(WORDINGS))
    parser.add_argument("--in-flight", type=int, default=2)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
