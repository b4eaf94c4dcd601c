"""How near an estimate comes by the verdicts of a few tried rows, on a run that is finished.

    python -m benchmarks.estimate DATA... --ways counts --base-url URL --model NAME --out DIR
    python -m benchmarks.pilots DIR/*-counts/run --rows 4 13 30 --draws 200

Before the first call of a free model some rows are tried, as many as there is time for. Which they
are is chance. Here rows are drawn again and again from a run behind a llama.cpp, what was answered
about them teaches as a pilot's answers do, and the verdicts that are expected of all rows are held
against what they took. Tokens are counted by their length, so that the rows have to teach those as
well. No call is made.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from clear_pipeline.config import build_config
from clear_pipeline.estimate.chain import ENDS, rehearse
from clear_pipeline.estimate.counting import Counting
from clear_pipeline.estimate.figures import Need, Span
from clear_pipeline.estimate.learning import Learning
from clear_pipeline.estimate.rehearsal import Asked
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.base import Capabilities
from clear_pipeline.llm.tokens import ByLength
from clear_pipeline.model_pool import Endpoint
from clear_pipeline.run import Run, open_run
from clear_pipeline.stages.base import alive_rows
from clear_pipeline.stages.score import Score
from clear_pipeline.store import CACHE, CONFIG

LLAMA: Final = Capabilities(grammar=True, logprobs=True, slots=4)
SCORER: Final = ("score", "scorer")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What draws of so many rows came to.

    Attributes:
        off: Of each draw, how far the middle of its estimate was off, as a share of the truth.
        held: Of each draw, whether the truth was between its low and its high.
    """

    off: Sequence[float]
    held: Sequence[bool]

    @property
    def cells(self) -> str:
        """As part of a row of the table."""
        off = np.array(self.off)
        return f"{np.abs(off).mean():.1%} | {off.mean():+.1%} | {np.mean(self.held):.0%}"


class Finished:
    """The verdicts of a finished run.

    Args:
        run: Its score alone is looked at.
        answers: All that it was answered.
    """

    def __init__(self, run: Run, answers: Answers) -> None:
        config = build_config(run.path / CONFIG)
        identity = run.manifest.models["scorer"].identity
        rows = pa.concat_tables(shard.table for shard in run.shards())
        self.name = run.manifest.dataset
        self._rows = rows.filter(pa.array(alive_rows(rows), pa.bool_()))
        self._stages = [stage for stage in config.stages if isinstance(stage, Score)]
        served = Endpoint(identity, identity, config.model_for("scorer"), LLAMA, ByLength())
        self._endpoints, self._answers = {"scorer": served}, answers
        self._counting = Counting(served)
        self.asked = asyncio.run(self._verdicts(answers=answers))
        self._need = asyncio.run(self._needed())

    async def _verdicts(self, **how: object) -> list[list[Asked]]:
        """By row."""
        found = await rehearse(self._stages, self._rows, self._endpoints, **how)  # type: ignore[arg-type]
        return [[call for call in row if call.verdict] for row in found[SCORER]]

    async def _needed(self) -> Need:
        """From nothing but clear verdicts to none."""
        low, high = [
            sum(await self._counting.needs([*chain(*await self._verdicts(end=end))]), Need())
            for end in ENDS
        ]
        return Need(Span(low.calls.low, high.calls.high), Span(low.prompt.low, high.prompt.high))

    @property
    def taken(self) -> tuple[int, int]:
        """Calls and tokens of their prompts."""
        used = [call.usage.prompt for row in self.asked for call in row if call.usage is not None]
        return len(used), sum(used)

    def questions(self) -> tuple[list[int], list[int]]:
        """Tokens of the prompts whose verdict was clear, and of the others, asked for again."""
        found: tuple[list[int], list[int]] = ([], [])
        for row in self.asked:
            for call, then in zip(row, [*row[1:], None], strict=True):
                if call.request.grammar is None and call.usage is not None:
                    again = then is not None and then.request.grammar is not None
                    found[again].append(call.usage.prompt)
        return found

    def drawn(self, rows: int, draws: int, seed: int) -> tuple[Outcome, Outcome]:
        """Try so many rows, so many times: of the calls, and of the tokens of their prompts."""
        rng, spans = np.random.default_rng(seed), []
        learning = Learning(
            self._stages, self._endpoints, {"scorer": self._counting}, self._answers
        )
        for _ in range(draws):
            table = self._rows.take(pa.array(rng.permutation(len(self._rows))[:rows]))
            tried = asyncio.run(learning.from_trial(table)).tried[SCORER]
            found = tried.correct(self._need)
            spans.append((found.calls, found.prompt))
        calls, prompt = (
            Outcome(
                [span.middle / truth - 1 for span in of],
                [span.low <= truth <= span.high for span in of],
            )
            for of, truth in zip(zip(*spans, strict=True), self.taken, strict=True)
        )
        return calls, prompt


def main() -> None:
    """Print the verdicts of each run, then a line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--rows", type=int, nargs="+", default=[4, 13, 30])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    finished = []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(args.runs):
            cache = Path(folder, str(number))
            shutil.copy(path / CACHE, cache)  # to open it makes files beside it
            finished.append(Finished(open_run(path), Answers(cache)))
        print(
            "| set | questions | unclear | tokens of a clear one | of an unclear one |\n"
            "|---|---|---|---|---|"
        )
        for run in finished:
            clear, unclear = run.questions()
            total = len(clear) + len(unclear)
            print(
                f"| {run.name} | {total} | {len(unclear) / total:.0%} | {np.mean(clear):.0f} | "
                f"{np.mean(unclear):.0f} |"
            )
        print(
            "\n| set | rows tried | calls off by | on average | between low and high "
            "| prompt tokens off by | on average | between low and high |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for run in finished:
            for rows in args.rows:
                calls, prompt = run.drawn(rows, args.draws, args.seed)
                print(f"| {run.name} | {rows} | {calls.cells} | {prompt.cells} |", flush=True)


if __name__ == "__main__":
    main()
