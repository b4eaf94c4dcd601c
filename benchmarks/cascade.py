"""What does the cascade save, and what does it cost in AUROC against asking every row?

    python -m benchmarks.cascade DATA.jsonl --split report --rows 100 --k 2 \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

Scores every row cheaply, asks every row for draws (band 1), and cuts the cascades of --band out
of the same answers: they differ in nothing but which draws count. With --first the cheap pass takes
so many of the k draws of every row. The difference of AUROC is paired over the rows. Run again with
the same cache to resume, or to read another --band or --first without a call. Columns of DATA: see
benchmarks/rectify.py.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.parts import rows_of
from benchmarks.rectify import Case, Counting
from clear_pipeline.evaluate.statistics import Estimate, detection, paired_difference
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.report.cascade import CascadeUse
from clear_pipeline.schema import rows_table
from clear_pipeline.stages.base import Context, Shard, alive_rows
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.held import surveyed
from clear_pipeline.stages.score import Score


@dataclass(frozen=True, slots=True)
class Comparison:
    """One band against the full sampled pass.

    Attributes:
        band: Share of the rows that was to be asked.
        use: What the band took.
        auroc: Of the cascade.
        difference: AUROC of the cascade minus that of the full pass, paired.
        draws_saved: Share of the full pass's draws, in [0, 1].
    """

    band: float
    use: CascadeUse
    auroc: Estimate
    difference: Estimate
    draws_saved: float


async def compare(
    cases: Sequence[Case], score: Score, cascade: Cascade, bands: Sequence[float], ctx: Context
) -> tuple[Estimate, Estimate, CascadeUse, list[Comparison]]:
    """AUROC of the cheap pass and of the full one, the full one's use, and one entry per band.

    Rows without a cheap score are left out of all of them.
    """
    table = rows_table(case.example for case in cases)
    scored = await score.annotate(Shard("all", table), [True] * len(cases), None, ctx)
    for name in scored.column_names:
        table = table.append_column(scored.schema.field(name), scored[name])
    there = np.array(alive_rows(table))
    bad = np.array([case.bad for case in cases])[there]
    shard = Shard("all", table.filter(pa.array(there)))

    async def run(band: float) -> tuple[NDArray[np.float64], CascadeUse]:
        stage = cascade.model_copy(update={"band": band})
        alive = [True] * shard.rows
        (state,) = surveyed(stage, [(shard, alive)], ctx)
        columns = await stage.annotate(shard, alive, state, ctx)
        return np.array(columns["cascaded"].to_pylist()), CascadeUse.of(columns)

    full, most = await run(1.0)
    found = []
    for band in bands:
        scores, use = await run(band)
        found.append(
            Comparison(
                band=band,
                use=use,
                auroc=detection(scores, bad).auroc,
                difference=paired_difference(scores, full, bad),
                draws_saved=(1 - score.k / cascade.k) * (1 - use.asked / most.rows),
            )
        )
    cheap = np.array(shard.table["confidence"].to_pylist())
    return detection(cheap, bad).auroc, detection(full, bad).auroc, most, found


def tokens(use: CascadeUse) -> int:
    """Prompt and completion together."""
    return use.usage.prompt + use.usage.completion


def text(estimate: Estimate) -> str:
    """A figure with its 95 % interval."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def stages(args: argparse.Namespace) -> tuple[Score, Cascade]:
    """The cheap pass and the cascade on it."""
    drawn = {
        "similarity": args.similarity,
        "draw_form": args.draw_form,
        "temperature": args.temperature,
        "max_answer_tokens": args.max_tokens,
    }
    first = {"k": args.first, **drawn} if args.first else {}
    every = {"max_failed_fraction": 1}
    score = Score.model_validate({"preset": args.preset, **first, **every})
    cascade = Cascade.model_validate({"k": args.k, **drawn, **every})
    if args.first:
        cascade.go_on_from(score, args.first)
    return score, cascade


async def measure(args: argparse.Namespace, cases: Sequence[Case], model: ChatModel) -> None:
    """Ask and print."""
    ctx = Context({"scorer": model}, Counting(), args.in_flight)
    score, cascade = stages(args)
    cheap, full, most, found = await compare(cases, score, cascade, args.band, ctx)
    print(f"{args.model}, {len(cases)} rows of split {args.split}, {most.rows} scored, k {args.k}")
    print("| pass | rows asked | failed | tokens | AUROC | difference | draws saved |")
    print("|---|---|---|---|---|---|---|")
    draws = f" with {args.first} of {args.k} draws" if args.first else ""
    print(f"| {args.preset} alone{draws} | 0 | | 0 | {text(cheap)} | | |")
    print(
        f"| every row sampled | {most.asked} | {most.failed} | {tokens(most)} | {text(full)} | | |"
    )
    for one in found:
        print(
            f"| band {one.band:g} | {one.use.asked} | {one.use.failed} | {tokens(one.use)} | "
            f"{text(one.auroc)} | {text(one.difference)} | {one.draws_saved:.0%} |"
        )


async def connect(args: argparse.Namespace, cases: Sequence[Case]) -> None:
    """Open the model, measure, close it."""
    meter = Meter()
    settings = ModelSettings.model_validate(
        {"model": args.model, "base_url": args.base_url, "max_in_flight": args.in_flight}
    )
    model = await open_model(settings, cache_path=args.cache, meter=meter)
    try:
        await measure(args, cases, model)
    finally:
        await model.close()
        totals = meter.snapshot()
        print(f"{totals.requests} requests, {totals.cached_samples} cached, {totals.usage}")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=["tune", "report"], default="tune")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--balanced", action="store_true", help="as many bad rows as good ones")
    parser.add_argument("--base-url", help="none: a model of the catalogue")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--preset", default="fast", help="of the cheap pass")
    parser.add_argument("--k", type=int, default=2, help="draws per row")
    parser.add_argument("--first", type=int, default=0, help="of them in the cheap pass")
    parser.add_argument("--draw-form", choices=["reasoned", "plain"], default="reasoned")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=512, help="of a draw")
    parser.add_argument("--similarity", choices=["llm", "lexical"], default="llm")
    parser.add_argument("--band", type=float, nargs="+", default=[0.2, 0.3, 0.4, 0.5])
    parser.add_argument("--in-flight", type=int, default=4)
    args = parser.parse_args()
    cases = rows_of(args.data, split=args.split, rows=args.rows, balanced=args.balanced)
    asyncio.run(connect(args, cases))


if __name__ == "__main__":
    main()
