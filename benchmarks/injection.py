"""Can a bad row talk the judge into a good score?

    python -m benchmarks.injection A.jsonl B.jsonl --split report --bad 40 \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

The first bad rows of each set's split, and as many good ones, are scored as they are; the median of
these scores is the threshold, as the default filter has it. Bad rows at or above it pass already
and are left out. Each other bad row is attacked in every way of benchmarks/attacks.py, and an
attack succeeds if the row then reaches the threshold. Those of the second and the third author were
written without sight of the defence, which has learnt from the second's since. The same attacks are
made on a plain prompt without tags that is asked about the whole response alone, with its own
scores and threshold. Run again with the same cache to resume: no answer is asked for twice. The
table is appended to benchmarks/results. Intervals are 95 %, Clopper-Pearson, with several attacks
on one row counted for what they are worth. Columns of DATA: see benchmarks/rectify.py.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.attacks import ATTACKS, CONTROL, Plant
from benchmarks.attacks_second import SECOND
from benchmarks.attacks_third import THIRD
from benchmarks.rectify import Case, Counting, read_cases, share
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

AUTHORS: Mapping[str, Mapping[str, Plant]] = {"first": ATTACKS, "second": SECOND, "third": THIRD}

Scores: TypeAlias = list[float | None]
"""One per row; None where a row is unscored."""

Judge: TypeAlias = Callable[[Sequence[Example]], Awaitable[Scores]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge made of the rows of one set.

    Attributes:
        good: Good rows as they are.
        bad: Bad rows as they are.
        attacked: By kind of attack, the same bad rows after it.
    """

    good: Scores
    bad: Scores
    attacked: Mapping[str, Scores]

    @property
    def threshold(self) -> float:
        """Median of the rows as they are."""
        return median(score for score in (*self.good, *self.bad) if score is not None)

    @property
    def attackable(self) -> list[int]:
        """Which bad rows fail as they are."""
        return [n for n, s in enumerate(self.bad) if s is not None and s < self.threshold]

    def after(self, kind: str) -> Scores:
        """Scores of the attackable rows after this attack."""
        return [self.attacked[kind][n] for n in self.attackable]

    def outcomes(self, kinds: Sequence[str]) -> NDArray[np.bool_]:
        """Attackable rows x kinds: whether the row then reaches the threshold."""
        found = [[s is not None and s >= self.threshold for s in self.after(k)] for k in kinds]
        return np.array(found, bool).reshape(len(kinds), -1).T

    def passed(self, kind: str) -> int:
        """How many of them reach the threshold. An unscored row does not: no export takes it."""
        return int(self.outcomes([kind]).sum())


def independent(outcomes: NDArray[np.bool_]) -> float:
    """How many independent attacks these are worth: several attacks on one row are alike.

    Their number over the design effect, the variance of the rows' means against that of as many
    unrelated attacks (Korn & Graubard 1998); no more than their number.

    Args:
        outcomes: Rows x attacks.
    """
    rows, kinds = outcomes.shape
    share = outcomes.mean() if outcomes.size else 0.0
    if rows < 2 or share in (0.0, 1.0):
        return float(outcomes.size)
    between = outcomes.mean(axis=1).var(ddof=1) / rows
    return float(outcomes.size / max(1.0, between / (share * (1 - share) / (rows * kinds))))


def attack(example: Example, kind: str, plant: Plant, row: int) -> Example:
    """The row with this attack in its response."""
    target = replace(example.target, content=plant(example.target.content or "", row))
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


async def trial(
    judge: Judge, cases: Sequence[Case], attacks: Mapping[str, Plant] = ATTACKS
) -> Judged:
    """Score the rows of one set as they are and after every attack."""
    good = [case.example for case in cases if not case.bad]
    bad = [case.example for case in cases if case.bad]
    attacked = [
        attack(row, kind, plant, n) for kind, plant in attacks.items() for n, row in enumerate(bad)
    ]
    scores = iter(await judge([*good, *bad, *attacked]))
    return Judged(
        good=list(islice(scores, len(good))),
        bad=list(islice(scores, len(bad))),
        attacked={kind: list(islice(scores, len(bad))) for kind in attacks},
    )


def table(judges: Mapping[str, Mapping[str, Judged]]) -> list[str]:
    """Markdown: success by kind and judge, over all sets.

    Args:
        judges: By name of the judge and of the set.
    """
    lines = [f"| attack | {' | '.join(judges)} |", "|---" * (len(judges) + 1) + "|"]
    attacks = [kind for kind in ATTACKS if kind != CONTROL]
    named = {kind: [kind] for kind in attacks}
    named |= {"**all six**": attacks, "none: a harmless sentence": [CONTROL]}
    for name, kinds in named.items():
        cells = []
        for sets in judges.values():
            tried = [(judged, kind) for judged in sets.values() for kind in kinds]
            after = [score for judged, kind in tried for score in judged.after(kind)]
            unscored = after.count(None)
            passed = sum(judged.passed(kind) for judged, kind in tried)
            note = f", {unscored} unscored" if unscored else ""
            rows = [judged.outcomes(kinds) for judged in sets.values()]
            counted = share(passed, len(after), worth=independent(np.concatenate(rows)))
            cells.append(counted + note)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Bad rows that pass as they are, and the threshold:", ""]
    for name, sets in judges.items():
        cells = [
            f"{stem} {len(judged.bad) - len(judged.attackable)} of {len(judged.bad)} "
            f"(at {judged.threshold:.3f})"
            for stem, judged in sets.items()
        ]
        lines.append(f"- {name}: {', '.join(cells)}")
    return lines


def chosen(path: Path, *, split: str, bad: int) -> list[Case]:
    """The first `bad` bad rows of a split and as many good ones."""
    cases = read_cases(path, split=split, rows=None)
    return [case for kind in (False, True) for case in [c for c in cases if c.bad is kind][:bad]]


async def measure(args: argparse.Namespace) -> list[str]:
    """Judge all rows; the report as lines of Markdown."""
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
    sets = {path.stem: chosen(path, split=args.split, bad=args.bad) for path in args.data}
    try:
        judged = {
            name: {stem: await trial(judge, cases, attacks) for stem, cases in sets.items()}
            for name, judge in judges.items()
        }
    finally:
        await model.close()
    totals = meter.snapshot()
    cost = f"{totals.requests} requests and {totals.cached_samples} cached answers; {totals.usage}"
    tried = f"{args.bad} bad rows per set, attacks of the {args.author} author"
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
    parser.add_argument("--bad", type=int, default=40, help="bad rows per file")
    parser.add_argument("--preset", choices=["fast", "best"], default="fast")
    parser.add_argument("--author", choices=AUTHORS, default="first", help="of the attacks")
    parser.add_argument("--preset-alone", action="store_true", help="not beside a plain prompt")
    parser.add_argument("--base-url", help="none: a model of the catalogue")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--in-flight", type=int, default=2)
    lines = asyncio.run(measure(parser.parse_args()))
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as log:
        log.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
