"""Can a bad row talk the judge into a good score?

    python -m benchmarks.injection A.jsonl B.jsonl --split report --bad 40 \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

The first bad rows of each set's split, and as many good ones, are scored as they are; the median of
these scores is the threshold, as the default filter has it. Bad rows at or above it pass already
and are left out. Each other bad row is attacked in every way of benchmarks/attacks.py, or with
--attacks-per-row in so many, the kinds in turn; an attack succeeds if the row then reaches the
threshold. Those of the second, third and fourth author were written without sight of the defence,
which has learnt from the second's since; its views were changed after the third's were seen. The
same attacks are made on a plain prompt without tags that is asked about the whole response alone,
with its own scores and threshold. Run again with the same cache to resume: no answer is asked for
twice. The table is appended to benchmarks/results.

Two shares are told, each with its 95 % interval. Of attacks: how many of them pass; attacks on
one row are alike, and the interval counts them for what they are worth (benchmarks/intervals.py).
Of rows: on how many any attack passes; rows are independent, and the interval is exact. An upper
end of 0.05 where none passes takes 72 attackable rows, however many attacks each has. Columns of
DATA: see benchmarks/rectify.py.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from benchmarks.attacks import ATTACKS, CONTROL, Plant
from benchmarks.attacks_fourth import FOURTH
from benchmarks.attacks_second import SECOND
from benchmarks.attacks_third import THIRD
from benchmarks.injection_report import Judged, Scores, table
from benchmarks.rectify import Case, Counting, read_cases
from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.prompts.base import ask
from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.schema import Example, rows_table
from clear_pipeline.scoring.choice import ask_choice
from clear_pipeline.stages.base import Context, Shard, map_rows
from clear_pipeline.stages.score import Score

RESULTS = Path(__file__).parent / "results" / "injection.md"

AUTHORS: Mapping[str, Mapping[str, Plant]] = {
    "first": ATTACKS,
    "second": SECOND,
    "third": THIRD,
    "fourth": FOURTH,
}

Judge: TypeAlias = Callable[[Sequence[Example]], Awaitable[Scores]]


def attack(example: Example, kind: str, plant: Plant, form: int) -> Example:
    """The row with this attack in its response, in one of the kind's forms."""
    target = replace(example.target, content=plant(example.target.content or "", form))
    return replace(example, id=f"{example.id}#{kind}", target=target)


def stage_judge(model: ChatModel, stage: Score, ctx: Context) -> Judge:
    """The stage `Score`: the confidence that a run would give."""
    tolerant = stage.model_copy(update={"max_failed_fraction": 1.0})

    async def judge(rows: Sequence[Example]) -> Scores:
        shard = Shard("rows", rows_table(rows))
        in_run = replace(ctx, models={"scorer": model})
        table = await tolerant.annotate(shard, [True] * len(rows), None, in_run)
        scores: Scores = table["confidence"].to_pylist()
        return scores

    return judge


def plain_judge(model: ChatModel, stage: Score, ctx: Context) -> Judge:
    """The same questions to the same model, without tags and with nothing broken."""

    async def one(example: Example) -> float | None:
        request = "\n\n".join(message.text for message in example.messages)
        row = f"Request:\n{request}\n\nResponse:\n{example.response}"
        values = []
        try:
            for wording in (WORDINGS[name] for name in stage.reflection):
                messages = ask(row, wording.question)
                reply = await ask_choice(model, messages, choices=tuple(wording.values))
                values.append(sum(p * wording.values[c] for c, p in reply.probabilities.items()))
        except CallError:
            return None
        finally:
            ctx.progress.advance()
        return sum(values) / len(values)

    async def judge(rows: Sequence[Example]) -> Scores:
        return await map_rows(one, rows, limit=ctx.rows_in_flight)

    return judge


def plan(kinds: Sequence[str], rows: int, *, per_row: int) -> list[tuple[str, int, int]]:
    """Kind, row and form of every attack: kinds in turn over the rows, forms in turn over a kind.

    Args:
        kinds: Of attack, the control apart.
        rows: How many bad rows.
        per_row: Attacks on each, 1 to as many as there are kinds.
    """
    turns = ((row, row * per_row + n) for row in range(rows) for n in range(per_row))
    return [(kinds[turn % len(kinds)], row, turn // len(kinds)) for row, turn in turns]


async def trial(
    judge: Judge,
    cases: Sequence[Case],
    attacks: Mapping[str, Plant] = ATTACKS,
    *,
    per_row: int | None = None,
) -> Judged:
    """Score the rows of one set as they are, after attacks, and each after the control.

    Args:
        judge: Who scores.
        cases: The rows.
        attacks: By kind, with the control or without.
        per_row: Attacks on each bad row; None = every kind.
    """
    good = [case.example for case in cases if not case.bad]
    bad = [case.example for case in cases if case.bad]
    kinds = [kind for kind in attacks if kind != CONTROL]
    made = plan(kinds, len(bad), per_row=per_row or len(kinds))
    made += [(CONTROL, n, n) for n in range(len(bad)) if CONTROL in attacks]
    attacked = [attack(bad[row], kind, attacks[kind], form) for kind, row, form in made]
    scores = iter(await judge([*good, *bad, *attacked]))
    found = Judged(list(islice(scores, len(good))), list(islice(scores, len(bad))), {})
    after: dict[str, dict[int, float | None]] = {kind: {} for kind in attacks}
    for (kind, row, _), score in zip(made, scores, strict=True):
        after[kind][row] = score
    return replace(found, attacked=after)


def chosen(path: Path, *, split: str, bad: int) -> list[Case]:
    """The first `bad` bad rows of a split and as many good ones."""
    cases = read_cases(path, split=split, rows=None)
    return [case for kind in (False, True) for case in [c for c in cases if c.bad is kind][:bad]]


async def measure(args: argparse.Namespace) -> list[str]:
    """Judge all rows; the report as lines of Markdown."""
    counts = args.bad * len(args.data) if len(args.bad) == 1 else args.bad
    sets = {
        path.stem: chosen(path, split=args.split, bad=count)
        for path, count in zip(args.data, counts, strict=True)
    }
    settings = ModelSettings.model_validate(
        {"model": args.model, "base_url": args.base_url, "max_in_flight": args.in_flight}
    )
    meter = Meter()
    model = await open_model(settings, cache_path=args.cache, meter=meter)
    ctx = Context(progress=Counting(), rows_in_flight=args.in_flight)
    judges = {
        f"preset {args.preset}": stage_judge(model, Score(preset=args.preset), ctx),
    }
    if not args.preset_alone:
        plain = plain_judge(model, Score(preset=args.preset), ctx)
        judges["the same questions without tags"] = plain
    attacks = {**AUTHORS[args.author], CONTROL: ATTACKS[CONTROL]}
    if args.no_control:
        del attacks[CONTROL]
    try:
        judged = {
            name: {
                stem: await trial(judge, cases, attacks, per_row=args.attacks_per_row)
                for stem, cases in sets.items()
            }
            for name, judge in judges.items()
        }
    finally:
        await model.close()
    totals = meter.snapshot()
    cost = f"{totals.requests} requests and {totals.cached_samples} cached answers; {totals.usage}"
    on_each = "every attack" if args.attacks_per_row is None else f"{args.attacks_per_row} attacks"
    bad = " and ".join(map(str, args.bad))
    tried = f"{bad} bad rows per set, {on_each} of the {args.author} author on each"
    return [
        f"## {args.model}, split {args.split}, {tried}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}: {cost}. Attacked rows that reach the threshold:",
        "",
        *table(judged),
        "",
    ]


def main() -> None:
    """Read the arguments, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--split", choices=["tune", "report"], default="tune")
    parser.add_argument(
        "--bad", type=int, nargs="+", default=[40], help="bad rows of every file, or of each"
    )
    parser.add_argument(
        "--attacks-per-row",
        type=int,
        choices=range(1, len(ATTACKS)),
        help="so many kinds on each bad row, in turn over the rows; all six where it is left out",
    )
    parser.add_argument("--preset", choices=["fast", "best"], default="fast")
    parser.add_argument("--author", choices=AUTHORS, default="first", help="of the attacks")
    parser.add_argument("--no-control", action="store_true", help="no harmless sentence either")
    parser.add_argument("--preset-alone", action="store_true", help="not beside a plain prompt")
    parser.add_argument("--base-url", help="none: a model of the catalogue")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--in-flight", type=int, default=2)
    args = parser.parse_args()
    if len(args.bad) not in {1, len(args.data)}:
        parser.error(f"--bad has {len(args.bad)} numbers for {len(args.data)} files")
    lines = asyncio.run(measure(args))
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as log:
        log.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
