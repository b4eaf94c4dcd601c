"""A run with the scripted model, as a program: `python scripted_run.py DATA OUT [KILL_AT]`.

With KILL_AT it kills itself with SIGKILL at that event of the run (a step begun or ended, a row
done, a note, a model call), so that a test can stop a run at any moment without a clock.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path

from clear_pipeline.config import build_config
from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat, uniform
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.stages.base import SilentProgress


class Events:
    """Counts events and ends the process at the given one."""

    def __init__(self, kill_at: int | None) -> None:
        self.seen = 0
        self._kill_at = kill_at

    def happen(self) -> None:
        self.seen += 1
        if self.seen == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class CountedProgress(SilentProgress):
    """A progress whose every call is an event."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def start(self, label: str, total: int) -> None:
        self._events.happen()

    def advance(self, rows: int = 1) -> None:
        self._events.happen()

    def finish(self) -> None:
        self._events.happen()

    def note(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        self._events.happen()


def reply(request: ChatRequest, sample: int) -> Choice:
    """A verdict in one token where log-probabilities are asked for, else a text.

    Both depend on the prompt alone: Yes or No, or A, B and a tie that is never likely.
    """
    share = uniform(request, sample)
    if not isinstance(request.top_logprobs, int):
        mark = "FINAL RESPONSE: " if "FINAL RESPONSE" in request.messages[-1].text else ""
        return Choice(f"{mark}A scripted answer, number {share:.6f}.", "stop")
    asks_yes = "Yes or No" in request.messages[-1].text
    words = {"Yes": share, "No": 1 - share} if asks_yes else {"A": share, "B": 0.999 - share}
    top = tuple((word, math.log(max(p, 1e-9))) for word, p in words.items())
    best = max(top, key=lambda pair: pair[1])
    return Choice(best[0], "stop", (Token(best[0], best[1], top),))


def main(data: str, out: str, kill_at: int | None = None) -> None:
    events = Events(kill_at)

    def script(request: ChatRequest, sample: int) -> Choice:
        events.happen()
        return reply(request, sample)

    config = build_config(
        preset="fast",
        stages=["dedup", "score", "cascade", "second_opinion", "filter", "rectify"],
        assignments=["load.shard_rows=8", "cascade.k=2"],
    )
    model = ScriptedChat(script)
    other = ScriptedChat(lambda request, sample: script(request, sample + 1_000), name="other")
    models = {"scorer": model, "candidate": model, "judge": model, "second": other}
    Pipeline(config, models=models, progress=CountedProgress(events)).run(data, out=out)
    Path(out, "events").write_text(f"{events.seen} {len(model.requests) + len(other.requests)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
    except ClearPipelineError as error:  # as the command line does
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
