"""Every part of the confidence for the same rows, to choose weights from.

    python -m benchmarks.parts A.jsonl B.jsonl --split tune --rows 60 --out parts.jsonl \
        --base-url http://127.0.0.1:8099/v1 --model NAME --cache answers.sqlite

Asks the questions of `prompts.reflection.WORDINGS` and takes draws in the forms of
`prompts.answer`: `reasoned` at temperature 1, the paper's, and `plain`, the row's own conversation;
with --likelihood, how likely the response is in these forms (an endpoint that scores given text);
with --in-parts, each question also about parts of the response, of which the lowest verdict counts.
Writes one JSON line per row, of numbers alone: file, id, label, parts. The rows of all files in
turn, so that an interrupted run has seen each file alike; run again with the same cache to resume.
`benchmarks.ensembles` reads the lines. Columns of the data: see benchmarks/rectify.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import get_args

from benchmarks.rectify import Case, Counting, read_cases
from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel, Usage
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.prompts.answer import DrawForm, draws_request, final_answer, parse_draw
from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.scoring.consistency import lexical_agreement, observe
from clear_pipeline.scoring.likelihood import Form, likelihood
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.stages.base import map_rows

Parts = dict[str, float | None]


def rows_of(path: Path, *, split: str, rows: int, balanced: bool) -> list[Case]:
    """The first rows of a split; with `balanced` the first half good and as many bad."""
    cases = read_cases(path, split=split, rows=None if balanced else rows)
    if not balanced:
        return cases
    kinds = ([case for case in cases if case.bad is bad][: rows // 2] for bad in (False, True))
    return sorted((case for kind in kinds for case in kind), key=lambda case: case.example.line)


async def parts(model: ChatModel, case: Case, args: argparse.Namespace) -> Parts:
    """All parts of one row; None, or none at all, where a call failed."""
    found: Parts = {}
    for name in args.wordings:
        try:
            seen = await reflect(model, case.example, (name,), in_parts=args.in_parts)
            found[name] = seen.whole
            if args.in_parts:
                found[f"{name}_in_parts"] = seen.score
        except CallError as error:
            print(f"{case.example.id}, {name}: {error}", flush=True)
            found[name] = None
    for likelihood_form in args.likelihood:
        try:
            likely = await likelihood(
                model, case.example, max_tokens=args.likelihood_tokens, form=likelihood_form
            )
            found[f"likelihood_{likelihood_form}"] = likely.score
        except CallError as error:
            print(f"{case.example.id}, likelihood: {error}", flush=True)
    if len(final_answer(case.example.response)) > args.longest_answer:
        return found
    for form in args.forms:
        request = draws_request(
            case.example,
            form=form,
            samples=range(args.draws),
            temperature=1.0 if form == "reasoned" else args.plain_temperature,
            max_tokens=args.max_tokens,
        )
        try:
            choices = (await model.complete(request)).choices
        except CallError as error:
            print(f"{case.example.id}, {form}: {error}", flush=True)
            continue
        draws = [text for choice in choices if (text := parse_draw(choice)) is not None]
        found[f"{form}_draws"] = len(draws)
        if draws:
            drawn = await observe(case.example, draws, alpha=1.0, agree=lexical_agreement)
            found |= {f"{form}_exact": drawn.exact_match, f"{form}_f1": drawn.entailment}
    return found


async def collect(groups: Mapping[str, Sequence[Case]], args: argparse.Namespace) -> None:
    """Ask and write."""
    settings = ModelSettings.model_validate(
        {"model": args.model, "base_url": args.base_url, "max_in_flight": args.in_flight}
    )
    meter = Meter()
    model = await open_model(settings, cache_path=args.cache, meter=meter)
    turns = zip_longest(*([(name, case) for case in cases] for name, cases in groups.items()))
    work = [pair for turn in turns for pair in turn if pair is not None]
    progress = Counting()

    with args.out.open("w", encoding="utf-8") as out:

        async def one(pair: tuple[str, Case]) -> None:
            name, case = pair
            line = {"set": name, "id": case.example.id, "bad": case.bad}
            line |= {"length": len(case.example.response), **await parts(model, case, args)}
            out.write(json.dumps(line) + "\n")
            out.flush()
            progress.advance()

        try:
            await map_rows(one, work, limit=args.in_flight)
        finally:
            await model.close()
    totals = meter.snapshot()
    usage: Usage = totals.usage
    print(f"{len(work)} rows, {totals.requests} requests, {totals.cached_samples} cached; {usage}")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--split", choices=["tune", "report"], default="tune")
    parser.add_argument("--rows", type=int, default=60, help="per file")
    parser.add_argument("--as-they-come", action="store_true", help="not half good, half bad")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--plain-temperature", type=float, default=0.7)
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--wordings", nargs="*", choices=WORDINGS, default=list(WORDINGS))
    parser.add_argument("--in-parts", action="store_true", help="the questions about parts too")
    parser.add_argument("--forms", nargs="*", choices=get_args(DrawForm), default=["plain"])
    parser.add_argument("--likelihood", nargs="*", choices=get_args(Form), default=[])
    parser.add_argument("--likelihood-tokens", type=int, default=256)
    parser.add_argument("--longest-answer", type=int, default=100, help="characters; drawn for")
    parser.add_argument("--base-url", help="none: a model of the catalogue")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="SQLite file for the answers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--in-flight", type=int, default=1)
    args = parser.parse_args()
    groups = {
        path.stem: rows_of(path, split=args.split, rows=args.rows, balanced=not args.as_they_come)
        for path in args.data
    }
    asyncio.run(collect(groups, args))


if __name__ == "__main__":
    main()
