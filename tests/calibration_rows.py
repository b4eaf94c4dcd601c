"""Signals of made-up rows, some of them upside down, for the tests of calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clear_pipeline.config import build_config
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat, uniform
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.scoring.parts import F64, Flags


def signals(
    bad: Flags, *, seed: int = 0, noise: float = 1.0, inverted: bool = False
) -> dict[str, F64]:
    """A sure signal, one of pure noise and the confidence: each sigmoid(+-1.5 + noise)."""
    rng = np.random.default_rng(seed)
    side = np.where(bad, -1.5, 1.5) * (-1 if inverted else 1)
    sure = 1 / (1 + np.exp(-(side + noise * rng.normal(size=len(bad)))))
    return {"reflection": sure, "likelihood": rng.random(len(bad)), "confidence": sure}


def script(request: ChatRequest, sample: int) -> Choice:
    """Sure that a "right" answer is right and a "wrong" one is not, but for noise by prompt."""
    side = -1.5 if "wrong answer" in request.messages[-1].text else 1.5
    share = 1 / (1 + math.exp(-(side + 4 * (uniform(request, sample) - 0.5))))
    top = (("Yes", math.log(share)), ("No", math.log(1 - share)))
    return Choice("Yes", "stop", (Token("Yes", top[0][1], top),))


def scored_run(
    folder: Path,
    rows: int = 200,
    *,
    stages: Sequence[str] = ("score", "filter"),
    assignments: Sequence[str] = (),
) -> tuple[Run, ScriptedChat]:
    """Rows of which every third has a wrong answer, scored and filtered."""
    data = folder / "rows.jsonl"
    lines = (
        {"prompt": f"Question {i}?", "completion": f"A {'right' if i % 3 else 'wrong'} answer {i}"}
        for i in range(rows)
    )
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = ScriptedChat(script)
    config = build_config(preset="fast", stages=stages, assignments=assignments)
    run = Pipeline(config, models={"scorer": model}).run(data, out=folder / "run")
    return run, model
