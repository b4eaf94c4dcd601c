"""The paper's experiment in minuscule: a model of two layers, every arm, in front of a server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from stub_server import Body, StubServer, completion, text_choice

pytest.importorskip("torch")

import torch

from benchmarks.clear_small import main
from benchmarks.clear_small_arms import CORRECT, FEW, FILTER, FULL, STOPPED, ZERO, read_arms
from benchmarks.clear_small_judge import Endpoint, repaired
from benchmarks.clear_small_model import Numbers, SmallModel
from benchmarks.clear_small_tasks import TASKS, rows_of
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.llm.base import Choice
from tiny_llama import tiny_llama

_RESPONSE = re.compile(r"<response-([AB])>\n(.*?)\n</response-\1>", re.DOTALL)
SIZES = ["--train-rows", "12", "--test-rows", "4", "--answer-tokens", "4", "--tasks", "events"]
MEASURED = (ZERO, FULL, FILTER, CORRECT, FEW, STOPPED)


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


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The model is so small that threads wait for each other alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measure(server: StubServer, folder: Path, *options: str) -> None:
    main(["measure", "--model-file", str(folder / "tiny.gguf"), "--base-url", server.url,
          "--model", "stub", "--out", str(folder / "out"), "--seeds", "1", "--noise", "50",
          "--epochs", "1", "--batch-size", "4", "--top-layers", "1", "--arms", *MEASURED,
          *SIZES, *options])  # fmt: skip


def test_every_arm_is_computed_once_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers share a folder; sizes and noise are as told, and a second call asks nothing.

    12 rows in batches of 4 are 3 steps; a half has 2 steps in an epoch, and learns twice.
    """
    tiny_llama(tmp_path / "tiny.gguf")
    with StubServer(reply) as server:
        measure(server, tmp_path, "--worker", "1/2")
        measure(server, tmp_path, "--worker", "2/2")
        asked = len(server.bodies)
        measure(server, tmp_path)
        assert len(server.bodies) == asked
    arms = read_arms(tmp_path / "out")
    trained = {arm: arms[1, "events", 50, arm] for arm in MEASURED if arm != ZERO}
    assert set(arms) == {each.key for each in trained.values()} | {(0, "events", 0, ZERO)}
    assert {arm: (each.rows, each.steps) for arm, each in trained.items()} == {
        FULL: (12, 3), FILTER: (6, 4), CORRECT: (6, 4), FEW: (0, 0), STOPPED: (12, 3),
    }  # fmt: skip
    assert trained[FULL].noisy == 6
    assert trained[FULL].settings["method"] == "partial"
    assert sum(trained[CORRECT].repairs.values()) == 6
    capsys.readouterr()
    main(["report", str(tmp_path / "out"), "--picture", str(tmp_path / "out.svg")])
    told = capsys.readouterr().out
    shown = "+0.000 [+0.000, +0.000] | not resolved on this seed |"
    assert f"| auto-filter - full | 50 % | both | 1 | {shown}" in told.splitlines()
    assert (tmp_path / "out.svg").read_text().startswith("<svg")


def test_short_numbers_learn_as_long_ones_do(tmp_path: Path) -> None:
    """In 16 bits the weights go where they go in 32, and those that are trained have 32.

    A product of matrices that kept the first step's weights would learn otherwise: low-rank
    matrices begin at nought, and then one of the two would never move.
    """
    untrained = tiny_llama(tmp_path / "tiny.gguf").state_dict()
    rows = [TASKS["orders"].example(row, row.clean) for row in rows_of("orders", 8, 1)[0]]
    settings = Lora(learning_rate=1e-2, epochs=2, batch_size=4)
    moved: dict[Numbers, torch.Tensor] = {}
    for numbers in ("f32", "bf16"):
        small = SmallModel(tmp_path / "tiny.gguf", rows_at_once=8, numbers=numbers)
        learnt = small.trained(settings, rows, valid=[]).model.state_dict()
        moved[numbers] = torch.cat(
            [(learnt[name].float() - untrained[name]).flatten() for name in untrained]
        )
    likeness = torch.nn.functional.cosine_similarity(moved["f32"], moved["bf16"], dim=0)
    assert likeness > 0.9


def test_settings_are_chosen_by_what_clean_rows_teach(tmp_path: Path) -> None:
    """Each pair of rate and epochs is tried once; a second call tries nothing."""
    tiny_llama(tmp_path / "tiny.gguf")
    out = tmp_path / "out"
    for _ in range(2):
        main(["tune", "--model-file", str(tmp_path / "tiny.gguf"), "--out", str(out),
              "--rates", "1e-3", "--epochs-tried", "1", *SIZES])  # fmt: skip
    lines = [json.loads(line) for line in (out / "tune-1.jsonl").read_text().splitlines()]
    assert [(line["task"], line["learning_rate"], line["epochs"]) for line in lines] == [
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
