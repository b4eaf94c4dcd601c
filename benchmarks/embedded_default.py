"""What can the embedded model tell: which preset should it have?

    python -m benchmarks.embedded_default A.jsonl B.jsonl --rows 96 --cache answers.sqlite

Runs the score stage with several settings over the same rows, half of them bad, of each file's
split `tune`. Run again with the same cache to resume. The table is appended to benchmarks/results.
Columns of DATA: see benchmarks/rectify.py.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts import rows_of
from clear_pipeline.evaluate.statistics import detection
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.catalog import DEFAULT_MODEL
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import rows_table
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score

RESULTS = Path(__file__).parent / "results" / "embedded_default.md"
ROWS_IN_FLIGHT = 4

Row = Mapping[str, Any]


def sum_given(row: Row) -> float:
    """Log p(y | x)."""
    return float(row["logp_given_prompt"])


def mean_given(row: Row) -> float:
    """Log p(y | x) per token."""
    return sum_given(row) / int(row["response_tokens"])


def sum_gain(row: Row) -> float:
    """Log p(y | x) - log p(y)."""
    return sum_given(row) - float(row["logp_alone"])


def confidence(row: Row) -> float:
    """What the stage says; for likelihood the gain per token, made logistic."""
    return float(row["confidence"])


FORMS = {
    "sum log p(y given x)": sum_given,
    "mean log p(y given x)": mean_given,
    "sum log p(y given x) - log p(y)": sum_gain,
    "the same per token": confidence,
}


def settings(tokens: Sequence[int], draws: int) -> dict[str, Score]:
    """What is tried, by name."""
    tried = {
        f"likelihood, first {n} tokens": Score(preset="likelihood", likelihood_tokens=n)
        for n in tokens
    }
    tried["reflection, preset fast"] = Score(preset="fast")
    if draws:
        tried[f"consistency, {draws} draws, shared words"] = Score(
            reflection=(), k=draws, similarity="lexical", max_answer_tokens=128
        )
    return {
        name: stage.model_copy(update={"max_failed_fraction": 1.0}) for name, stage in tried.items()
    }


async def measure(args: argparse.Namespace) -> None:
    """Score, print and append."""
    meter = Meter()
    model = await open_model(
        ModelSettings(model=DEFAULT_MODEL), cache_path=args.cache, meter=meter, note=print
    )
    groups = {
        path.stem: rows_of(path, split="tune", rows=args.rows, balanced=True) for path in args.data
    }
    lines = [
        f"## {DEFAULT_MODEL}, split tune, {args.rows} rows per set, half of them bad",
        "",
        f"AUROC with 95 % bootstrap intervals, {datetime.now(UTC):%Y-%m-%d}.",
        "",
        f"| score | {' | '.join(groups)} |",
        "|---" * (len(groups) + 1) + "|",
    ]
    try:
        for name, stage in settings(args.tokens, args.draws).items():
            forms = FORMS if stage.preset == "likelihood" else {"": confidence}
            lines += await _table_lines(model, stage, groups, name=name, forms=forms)
            print(lines[-1], flush=True)
    finally:
        await model.close()
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as log:
        log.write("\n".join([*lines, ""]) + "\n")


async def _table_lines(
    model: ChatModel,
    stage: Score,
    groups: Mapping[str, Sequence[Any]],
    *,
    name: str,
    forms: Mapping[str, Callable[[Row], float]],
) -> list[str]:
    cells: dict[str, list[str]] = {form: [] for form in forms}
    for cases in groups.values():
        shard = Shard("all", rows_table(case.example for case in cases))
        ctx = Context({"scorer": model}, rows_in_flight=ROWS_IN_FLIGHT)
        table = await stage.annotate(shard, [True] * len(cases), None, ctx)
        scored = [
            (row, case.bad)
            for row, case in zip(table.to_pylist(), cases, strict=True)
            if row["score_status"] == "scored"
        ]
        bad = np.array([is_bad for _, is_bad in scored])
        for form, value in forms.items():
            found = detection([value(row) for row, _ in scored], bad).auroc
            left_out = len(cases) - len(scored)
            note = f", {left_out} unscored" if left_out else ""
            cells[form].append(f"{found.value:.3f} [{found.low:.2f}, {found.high:.2f}]{note}")
    return [
        f"| {name}{': ' if form else ''}{form} | {' | '.join(row)} |" for form, row in cells.items()
    ]


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--rows", type=int, default=96, help="per file")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--draws", type=int, default=0, help="> 0: measure consistency as well")
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
