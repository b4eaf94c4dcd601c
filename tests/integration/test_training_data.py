"""What a run hands over to trainers: chat rows as they read them, however DATA was laid out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.finetune.rows import TrainingRow, training_rows
from clear_pipeline.load import LoadSettings
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.training_data import exported

ROWS = 100
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def turns(number: int) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": f"what is the colour of thing {number}?"},
        {"role": "assistant", "content": f"thing {number} is of colour {number}"},
    ]


def run_of(data: Path, load: LoadSettings) -> Run:
    config = build_config(stages=["dedup"], flags={"load": load.model_dump()})
    return Pipeline(config).run(data, out=data.parent / "run")


def training_files(run: Run, valid: Path | None = None) -> tuple[list[Any], list[Any]]:
    """The rows to train on and those to measure on, as they stand in the files."""
    with exported(run, run.path.parent / "training", valid) as files:
        for found in training_rows(files.data.train):
            assert isinstance(found, TrainingRow), found
        held_out = [] if files.data.valid is None else read(files.data.valid)
        return read(files.data.train), held_out


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_turns_in_a_column_of_another_name(tmp_path: Path) -> None:
    """Trainers know one name; the run's own export keeps the user's."""
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"dialog": turns(n)}) + "\n" for n in range(ROWS)))
    run = run_of(data, LoadSettings(map={"messages": "dialog"}))
    train, valid = training_files(run)
    assert len(train) + len(valid) == ROWS
    assert {tuple(row) for row in train} == {("messages",)}
    assert "dialog" in read(run.path / "export" / "train.jsonl")[0]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_turns_and_tools_as_json_text(tmp_path: Path, kind: str) -> None:
    """A table of texts cannot hold lists; platforms take nothing else."""
    data = tmp_path / f"rows.{kind}"
    rows = [{"messages": json.dumps(turns(n)), "tools": json.dumps(TOOLS)} for n in range(ROWS)]
    with data.open("w", newline="") as file:
        if kind == "csv":
            table = csv.DictWriter(file, ["messages", "tools"])
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps({**row, "messages": turns(n)}) + "\n"
                            for n, row in enumerate(rows))  # fmt: skip
    train, valid = training_files(run_of(data, LoadSettings()))
    assert len(train) + len(valid) == ROWS
    assert train[0] == {"messages": turns(0), "tools": TOOLS}


def test_own_validation_rows_cost_no_training_rows(tmp_path: Path) -> None:
    """Without them the run holds some out; with them all of its rows are trained on."""
    data, own = tmp_path / "rows.jsonl", tmp_path / "valid.jsonl"
    data.write_text("".join(json.dumps({"messages": turns(n)}) + "\n" for n in range(ROWS)))
    own.write_text(json.dumps({"messages": turns(99)}) + "\n")
    run = run_of(data, LoadSettings())
    train, valid = training_files(run)
    assert valid
    assert len(train) == ROWS - len(valid)
    train, valid = training_files(run, own)
    assert (len(train), valid) == (ROWS, read(own))
