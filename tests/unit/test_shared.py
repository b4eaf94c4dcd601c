"""Runs that share their answers and their caps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import BudgetExceededError, ConfigError
from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.meter import Totals
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.model_pool import Shared
from clear_pipeline.outputs import export_run
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.yaml_source import read_yaml
from scripted_run import reply

ROWS = 6


def run(folder: Path, name: str, shared: Shared, *assignments: str) -> tuple[Run, ScriptedChat]:
    """Score six rows with a model of its own; the run and what it was asked."""
    data = folder / "rows.jsonl"
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(ROWS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def script(request: ChatRequest, sample: int) -> Choice:
        return reply(request, sample)

    model = ScriptedChat(script)
    config = build_config(stages=["score", "filter"], preset="fast", assignments=assignments)
    pipeline = Pipeline(config, models={"scorer": model}, shared=shared)
    return pipeline.run(data, out=folder / name), model


def test_what_one_run_was_answered_the_other_does_not_ask(tmp_path: Path) -> None:
    """The second run of the same rows makes no call, and each has a record of its own spend."""
    shared = Shared(tmp_path / "answers.sqlite")
    first, asked = run(tmp_path, "first", shared)
    second, again = run(tmp_path, "second", shared)
    assert len(asked.requests) == first.spent().calls > 0
    assert again.requests == []
    assert second.spent().calls == 0
    assert first.ledger().equals(second.ledger())
    assert not (tmp_path / "first" / "llm-cache.sqlite").exists()


def test_a_cap_holds_over_what_others_have_spent(tmp_path: Path) -> None:
    """Of 10 calls 8 are gone: two are made, and the stop counts all ten."""
    shared = Shared(tmp_path / "answers.sqlite", Totals(requests=8))
    with pytest.raises(BudgetExceededError, match="10 of 10 calls") as stopped:
        run(tmp_path, "run", shared, "budget.max_calls=10")
    assert (stopped.value.spent, stopped.value.needed) == (10, 11)
    assert Run(tmp_path / "run").spent().calls == 2


def test_rows_may_be_left_out_of_an_export(tmp_path: Path) -> None:
    """They stand in none of its files."""
    finished, _ = run(tmp_path, "run", Shared(tmp_path / "answers.sqlite"))
    config = build_config().export.model_copy(update={"valid_fraction": 0.0})
    whole = export_run(finished, tmp_path / "whole", config)
    first = str(finished.ledger(["id"], fate="kept")["id"][0])
    part = export_run(
        finished,
        tmp_path / "part",
        config,
        left_out=lambda table: [each == first for each in table["id"].to_pylist()],
    )
    assert (whole.train, whole.removed) == (3, 3)
    assert (part.train, part.removed) == (2, 3)


def test_a_section_of_a_file_has_its_places(tmp_path: Path) -> None:
    """A section reads as a file of its own, with lines and columns of the whole."""
    path = tmp_path / "loop.yaml"
    path.write_text("trainer:\n  epochs: 2\nbudget: {max_calls: 5}\nloop: 3\n")
    source = read_yaml(path)
    section = source.section("trainer")
    assert section.data == {"epochs": 2}
    assert section.place(["epochs"]) == f"{path}:2:3"
    assert source.section("absent").data == {}
    assert build_config(source.without("trainer", "loop")).budget.max_calls == 5
    with pytest.raises(ConfigError, match=r"loop\.yaml:4:1: loop: expected a mapping"):
        source.section("loop")
