"""Failed rows of a run that goes on, judged as those of a run that was never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import CallError, TooManyFailuresError
from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from scripted_run import reply


def reply_unless_long(request: ChatRequest, sample: int) -> Choice:
    """An answer, but to a row that says of itself that it is too long."""
    if any("too long" in message.text for message in request.messages):
        raise CallError("context", "no room", transient=False)
    return reply(request, sample)


def write(path: Path, rows: int, *, long: int) -> None:
    """A file, which is a shard: so many rows, the first `long` of them refused for their length."""
    lines = [
        {"prompt": f"What is {n} in {path.stem}?{' too long' * (n < long)}", "response": str(n)}
        for n in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(data: Path, out: Path) -> Run:
    config = build_config(stages=["score", "filter"], preset="fast")
    return Pipeline(config, models={"scorer": ScriptedChat(reply_unless_long)}).run(data, out=out)


@pytest.mark.parametrize(
    ("before", "after", "finishes"), [(0, 6, True), (5, 1, True), (5, 2, False)]
)
def test_refused_rows_count_against_those_of_kept_shards_too(
    tmp_path: Path, before: int, after: int, *, finishes: bool
) -> None:
    """Of 100 rows that were scored before and 20 that are new, 6 of 120 may fail, whenever."""
    data, out = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    write(data / "a.jsonl", 100, long=before)
    run(data, out)
    write(data / "b.jsonl", 20, long=after)
    if finishes:
        status = run(data, out).ledger(["score_status"])["score_status"].to_pylist()
        assert status.count("unscored") == 6
    else:
        with pytest.raises(TooManyFailuresError, match=r"7 of 120 rows failed.*context: no room"):
            run(data, out)
