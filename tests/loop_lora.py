"""A loop with a tiny model that is trained here: `python loop_lora.py FOLDER OUT URL [KILL_AT]`.

With KILL_AT it kills itself with SIGKILL when so many rows were trained on, in whichever training.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sys
from pathlib import Path

from aiohttp import web

from clear_pipeline.loop import Loop, LoopConfig, LoopRecord, build_loop
from clear_pipeline.stages.base import SilentProgress
from stub_server import Body, completion, text_choice
from tiny_llama import tiny_llama

ROWS, GOOD = 48, 32
_BESIDE = re.compile(r"Is response ([AB]) the right")
_RESPONSE = re.compile(r"<response-([AB])>\n(.*?)\n</response-\1>", re.DOTALL)
_COLOUR = re.compile(r"\b(red|blue)\b")


def write_rows(folder: Path) -> Path:
    """Two of three rows name a colour; the others name none."""
    path = folder / "rows.jsonl"
    names = [f"{one}{other}" for one in "abcdefgh" for other in "uvwxyz"]
    lines = [
        {"prompt": f"the colour of {name}?", "completion": "none" if n % 3 == 2 else colour}
        for n, name in enumerate(names)
        for colour in [("red", "blue")[n % 2]]
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tiny_llama(folder / "tiny.gguf")
    return path


async def judge(body: Body) -> web.StreamResponse:
    """Calls every colour right, and nothing else."""
    text = str(body["messages"][-1]["content"])
    beside = _BESIDE.search(text)
    shown = text if beside is None else dict(_RESPONSE.findall(text))[beside[1]]
    yes = 0.95 if _COLOUR.search(shown) else 0.05
    listed = [
        {"token": word, "logprob": math.log(p)} for word, p in (("Yes", yes), ("No", 1 - yes))
    ]
    logprobs = {"content": [{**listed[0], "top_logprobs": listed}]}
    return web.json_response(completion(body, [text_choice("Yes", logprobs=logprobs)]))


def plan(folder: Path, url: str, *more: str) -> LoopConfig:
    return build_loop(
        flags={"models": {"scorer": {"model": "judge", "base_url": url}}},
        stages=["score", "filter", "rectify"],
        assignments=[
            f"filter.keep.count={GOOD}", "rectify.max_candidate_tokens=8",
            "export.valid_fraction=0",
            "loop.hold_out=0.2", "loop.max_answer_tokens=8", f"trainer.base={folder / 'tiny.gguf'}",
            "trainer.method=full", "trainer.epochs=12", "trainer.batch_size=4",
            "trainer.learning_rate=0.01", "trainer.checks_per_epoch=2", *more,
        ],
    )  # fmt: skip


class Deadly(SilentProgress):
    """Ends the process when so many rows were trained on."""

    def __init__(self, kill_at: int) -> None:
        super().__init__()
        self._left = kill_at
        self._trains = False

    def start(self, label: str, total: int) -> None:
        self._trains = label.endswith("training")

    def advance(self, rows: int = 1) -> None:
        self._left -= rows if self._trains else 0
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run(folder: Path, out: Path, url: str, progress: SilentProgress | None = None) -> LoopRecord:
    return Loop(plan(folder, url), progress=progress).run(folder / "rows.jsonl", out=out)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Deadly(int(sys.argv[4])))
