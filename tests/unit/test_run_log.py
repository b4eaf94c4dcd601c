"""The log of a run: one JSON object per line, bounded, without a text of the data."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import TooManyFailuresError
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run_log import MAX_BYTES, RunLog
from scripted_run import reply


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def test_a_run_is_told_in_events(tmp_path: Path) -> None:
    """What was read, each shard and stage, what came out; a second session is appended."""
    data = tmp_path / "data.jsonl"
    rows = (f'{{"prompt": "secret {n}?", "completion": "word {n}"}}\n' for n in range(5))
    data.write_text("".join(rows) + "{broken secret\n")
    stages = ["dedup", "score", "filter"]
    config = build_config(stages=stages, preset="fast", assignments=["load.shard_rows=3"])
    for _ in range(2):
        Pipeline(config, models={"scorer": ScriptedChat(reply)}).run(data, out=tmp_path / "run")
    told = lines(tmp_path / "run")
    events = [line["event"] for line in told]
    stage = ["shard", "shard", "stage"]
    first = ["started", "loaded", *3 * stage, "written", "finished"]
    assert events == [*first, "started", "loaded", *3 * ["up_to_date"], "written", "finished"]
    assert told[1] | {"time": ""} == {
        "time": "", "level": "info", "event": "loaded",
        "files": 1, "rows": 5, "quarantined": 1, "skipped": 0, "shards": 2,
    }  # fmt: skip
    assert (told[4]["stage"], told[4]["rows"], told[4]["failed"]) == ("dedup", 5, 0)
    assert sum(told[11]["fates"].values()) == 6
    text = (tmp_path / "run" / "log.jsonl").read_text()
    assert "secret" not in text
    assert "word" not in text


def test_what_stops_a_run_is_told_by_its_class(tmp_path: Path) -> None:
    """The message of an error may hold texts of the data: the class is enough."""
    with pytest.raises(TooManyFailuresError), RunLog(tmp_path):
        raise TooManyFailuresError("the secret of row 5")
    (told,) = lines(tmp_path)
    assert (told["level"], told["event"]) == ("error", "stopped")
    assert told["error"] == "TooManyFailuresError"


def test_warnings_are_entered_without_their_values(tmp_path: Path) -> None:
    """While it is open, and not after."""
    logger = logging.getLogger("clear_pipeline.somewhere")
    with RunLog(tmp_path):
        logger.warning("the endpoint said %r", "a secret")
    logger.warning("too late")
    assert [line["event"] for line in lines(tmp_path)] == ["the endpoint said %r", "finished"]


def test_the_log_is_bounded(tmp_path: Path) -> None:
    """Ten times the limit leaves two files, neither above it, and the last event is there."""
    with RunLog(tmp_path) as log:
        for number in range(10):
            log.event("long", number=number, text="x" * (MAX_BYTES - 1000))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "log.jsonl.1"]
    assert all(path.stat().st_size <= MAX_BYTES for path in tmp_path.iterdir())
    assert lines(tmp_path)[-1]["event"] == "finished"


def test_a_disk_that_takes_no_line_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on, and nothing is printed: the files of the run have their own errors."""
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with RunLog(tmp_path) as log:
        log.event("one")
    assert capsys.readouterr().err == ""
