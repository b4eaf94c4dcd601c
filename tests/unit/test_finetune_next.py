"""What `finetune` says to type next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from clear_pipeline.cli.finetune import _next
from clear_pipeline.config import build_config
from clear_pipeline.finetune import Trained
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.pipeline import Pipeline
from scripted_run import reply


@pytest.mark.parametrize(
    "trained",
    [
        ModelSettings(model="/my models: new/model.gguf"),
        ModelSettings(model="ft:b::1", base_url="http://127.0.0.1:1/v1", api_key_env="TUNING_KEY"),
    ],
)
def test_the_trained_model_takes_the_place_of_another_candidate(
    tmp_path: Path, trained: ModelSettings
) -> None:
    """Nothing is left of that one: neither its address nor the name of its key."""
    data = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "response": str(n + 1)} for n in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = {"model": "judge", "base_url": "http://127.0.0.1:3/v1"}
    other = {"model": "writer", "base_url": "http://127.0.0.1:2/v1", "api_key_env": "WRITER_KEY"}
    config = build_config(
        flags={"models": {"scorer": judge, "candidate": other}},
        stages=["score", "filter", "rectify"],
        preset="fast",
    )
    models = dict.fromkeys(("scorer", "candidate", "judge"), ScriptedChat(reply))
    run = Pipeline(config, models=models).run(data, out=tmp_path / "run")
    words = shlex.split(_next(run, Trained(model=trained, curve=(), summary={})))
    named = {words[at]: words[at + 1] for at in (3, 5, 7)}
    assert named["--out"] == f"{run.path}-2"
    again = build_config(Path(named["--config"]), assignments=[named["--set"]])
    assert again.models["candidate"] == trained
    assert again.models["scorer"] == config.models["scorer"]
