"""The paper's experiment in minuscule: a model of two layers, every arm, in front of a server."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from aiohttp import web

from stub_server import Body, StubServer, completion, text_choice

pytest.importorskip("torch")

from benchmarks.clear_small import main
from benchmarks.clear_small_arms import ARMS, ZERO, read_arms
from benchmarks.clear_small_judge import Endpoint, repaired
from benchmarks.clear_small_tasks import TASKS, rows_of
from clear_pipeline.llm.base import Choice
from tiny_llama import tiny_llama

_RESPONSE = re.compile(r"<response-([AB])>\n(.*?)\n</response-\1>", re.DOTALL)
SIZES = ["--train-rows", "24", "--test-rows", "20"]


async def reply(body: Body) -> web.StreamResponse:
    """One word with its probability: of two responses the one with whole JSON is right."""
    text = str(body["messages"][-1]["content"])
    asked = re.search(r"Is response ([AB]) the right", text)
    whole = asked is not None and dict(_RESPONSE.findall(text))[asked[1]].endswith("}")
    words = ("5", "1") if "Rate the response" in text else ("Yes", "No")
    likely = (0.95, 0.05) if whole else (0.05, 0.95)
    listed = [
        {"token": word, "logprob": math.log(p)} for word, p in zip(words, likely, strict=True)
    ]
    logprobs = {"content": [{**listed[0], "top_logprobs": listed}]}
    return web.json_response(completion(body, [text_choice(words[0], logprobs=logprobs)]))


def measure(server: StubServer, folder: Path, *options: str) -> None:
    main(["measure", "--model-file", str(folder / "tiny.gguf"), "--base-url", server.url,
          "--model", "stub", "--out", str(folder / "out"), "--seeds", "1", "--noise", "50",
          "--epochs", "1", *SIZES, *options])  # fmt: skip


def test_every_arm_is_computed_once_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers share a folder; sizes and noise are as told, and a second call asks nothing."""
    tiny_llama(tmp_path / "tiny.gguf")
    with StubServer(reply) as server:
        measure(server, tmp_path, "--worker", "1/2")
        measure(server, tmp_path, "--worker", "2/2")
        asked = len(server.bodies)
        measure(server, tmp_path)
        assert len(server.bodies) == asked
    arms = read_arms(tmp_path / "out")
    trained = {(1, task, 50, arm) for task in TASKS for arm in ARMS}
    assert set(arms) == trained | {(0, task, 0, ZERO) for task in TASKS}
    for task in TASKS:
        sizes = {arm: arms[1, task, 50, arm].rows for arm in ARMS}
        assert sizes == {
            "full": 24, "random half": 12, "auto-filter": 12, "auto-correct": 12,
            "rating half": 12, "few-shot": 0, "full, stopped early": 24,
        }  # fmt: skip
        assert arms[1, task, 50, "full"].noisy == 12
        assert sum(arms[1, task, 50, "auto-correct"].repairs.values()) == 12
    capsys.readouterr()
    main(["report", str(tmp_path / "out"), "--picture", str(tmp_path / "out.svg")])
    told = capsys.readouterr().out
    assert "| auto-filter - full | 50 % | both | 1 | +0.000 [+0.000, +0.000] | not resolved |" in (
        told.splitlines()
    )
    assert (tmp_path / "out.svg").read_text().startswith("<svg")


def test_settings_are_chosen_by_what_clean_rows_teach(tmp_path: Path) -> None:
    """Each pair of rate and epochs is tried on both tasks; a second call tries nothing."""
    tiny_llama(tmp_path / "tiny.gguf")
    out = tmp_path / "out"
    for _ in range(2):
        main(["tune", "--model-file", str(tmp_path / "tiny.gguf"), "--out", str(out),
              "--rates", "1e-3", "--epochs-tried", "1", *SIZES])  # fmt: skip
    lines = [json.loads(line) for line in (out / "tune-1.jsonl").read_text().splitlines()]
    assert [(line["task"], line["learning_rate"], line["epochs"]) for line in lines] == [
        ("orders", 1e-3, 1),
        ("events", 1e-3, 1),
    ]


def test_a_preferred_candidate_replaces_the_answer(tmp_path: Path) -> None:
    """A whole answer replaces one that was cut off; one equal to the row's confirms it."""
    cut, right = [row for row in rows_of("orders", 6, 1)[0] if row.kind == "cut off"]
    task = TASKS["orders"]
    rows = [task.example(cut, cut.wrong), task.example(right, right.clean)]
    said = [Choice(row.clean, "stop") for row in (cut, right)]
    with StubServer(reply) as server:
        endpoint = Endpoint(server.url, "stub", in_flight=2)
        found = repaired(rows, said, endpoint, tmp_path / "cache.sqlite")
    assert [(each.outcome, each.text) for each in found] == [
        ("replaced", cut.clean),
        ("confirmed", None),
    ]
