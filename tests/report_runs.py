"""Small finished runs for the tests of reports, views and notebooks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from clear_pipeline.config import build_config
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from scripted_run import reply

DEMO = Path(__file__).parents[1] / "data" / "demo"
ROLES = ("scorer", "candidate", "judge")


def demo_run(out: Path, *, stages: Sequence[str]) -> Run:
    """The demo data through `stages`, with scripted answers."""
    config = build_config(preset="fast", stages=stages)
    return Pipeline(config, models=dict.fromkeys(ROLES, ScriptedChat(reply))).run(DEMO, out=out)


def run_with(
    out: Path, confidences: Mapping[str, float], *, keep: str = "above=median"
) -> tuple[Run, ScriptedChat]:
    """One row per confidence, in order, scored and filtered; and the model that scored them.

    Args:
        out: Where the data and the run are written.
        confidences: What the model says of the row with that response.
        keep: Assignment below the filter's `keep`.
    """

    def script(request: ChatRequest, sample: int) -> Choice:
        text = "\n".join(message.text for message in request.messages)
        (p,) = [p for response, p in confidences.items() if response in text]
        top = tuple((word, math.log(max(q, 1e-9))) for word, q in (("Yes", p), ("No", 1 - p)))
        return Choice("Yes", "stop", (Token("Yes", top[0][1], top),))

    out.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"Question {i}", "completion": r} for i, r in enumerate(confidences)]
    data = out / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = build_config(
        preset="fast", stages=["score", "filter"], assignments=[f"stages.filter.keep.{keep}"]
    )
    model = ScriptedChat(script)
    return Pipeline(config, models=dict.fromkeys(ROLES, model)).run(data, out=out / "run"), model
