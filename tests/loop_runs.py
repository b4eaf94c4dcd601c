"""A finished run with rows of four fates, without a server."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from clear_pipeline.config import build_config
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run

_BESIDE = re.compile(r"Is response ([AB]) the right")
_RESPONSE = re.compile(r"<response-([AB])>\n(.*?)\n</response-\1>", re.DOTALL)


def finished_run(folder: Path) -> Run:
    """Rows 1 and 2 are kept, 3 is rectified, 4 repeats 2, and 5 is filtered."""
    answers = {1: "good 1", 2: "good 2", 3: "bad 3", 4: "good 2", 5: "bad 5"}
    rows = [
        {"prompt": f"question {2 if n == 4 else n}", "completion": text, "topic": "a"}
        for n, text in answers.items()
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    judge, writer = ScriptedChat(_judge, name="judge"), ScriptedChat(_writer, name="writer")
    config = build_config(stages=["dedup", "score", "filter", "rectify"], preset="fast")
    models = {"scorer": judge, "judge": judge, "candidate": writer}
    return Pipeline(config, models=models).run(folder / "rows.jsonl", out=folder / "run")


def _writer(request: ChatRequest, _: int) -> str:
    number = request.messages[-1].text.split()[-1]
    return f"{'better' if number == '3' else 'other'} {number}"


def _judge(request: ChatRequest, _: int) -> Choice:
    text = request.messages[-1].text
    beside = _BESIDE.search(text)
    shown = text if beside is None else dict(_RESPONSE.findall(text))[beside[1]]
    yes = 0.95 if re.search(r"\b(good|better) \d", shown) else 0.05
    top = (("Yes", math.log(yes)), ("No", math.log(1 - yes)))
    return Choice("Yes", "stop", (Token("Yes", math.log(yes), top),))
