"""The dataset card: what it states, and that text from the data stays text."""

from __future__ import annotations

import re

from clear_pipeline.card import dataset_card, escape
from clear_pipeline.export import ExportResult, ExportSettings
from clear_pipeline.manifest import FileRecord, Manifest, ModelRecord, StageRecord
from clear_pipeline.schema import Fate

RESULT = ExportResult("openai", train=55, valid=5, rectified=4, removed=40, inexpressible=2)


def manifest(*, file: str = "rows.jsonl", files: int = 1) -> Manifest:
    record = FileRecord(
        path=file,
        sha256="ab" * 32,
        bytes=10,
        format="alpaca",
        fingerprint="f",
        rows=97,
        quarantined=3,
    )
    return Manifest(
        package_version="0.1.0",
        dataset="d",
        source="/home/someone/sets/demo",
        files=[record] * files,
        chain=["filter", "rectify"],
        stages=[
            StageRecord(kind="dedup", version=1, settings={}),
            StageRecord(
                kind="filter",
                version=1,
                settings={"keep": {"above": "median"}},
                notes=["filter keeps 50 of 95 rows, threshold 0.482 (median)"],
            ),
            StageRecord(kind="rectify", version=1, settings={"eta": 0.8}, models={"judge": "id:m"}),
        ],
        models={"judge": ModelRecord(model="m", endpoint="http://127.0.0.1:8099", identity="id:m")},
        fates={Fate.KEPT: 58, Fate.RECTIFIED: 4, Fate.FILTERED: 35, Fate.QUARANTINED: 3},
    )


def card(made: Manifest) -> str:
    return dataset_card(made, ExportSettings(seed=7), RESULT)


def test_states_fates_files_settings_and_threshold() -> None:
    """A reader learns what was done without the run directory."""
    text = card(manifest())
    assert "| kept | 58 | 58.0% |" in text
    assert "Together 100 rows" in text
    assert "| `train.jsonl` | 55 | to train on |" in text
    assert "the seed (7)" in text
    assert r"filter keeps 50 of 95 rows, threshold 0\.482 \(median\)" in text
    assert r"| eta | 0\.8 |" in text
    assert "2 rows were not filtered but cannot be written as openai" in text


def test_tells_of_this_run_and_of_no_machine() -> None:
    """Neither a stage of an earlier chain nor a path or port of this machine is in it."""
    text = card(manifest())
    assert "dedup" not in text.split("## What was done")[1].split("## What became")[0]
    assert "someone" not in text
    assert "8099" not in text


def test_model_written_targets_are_a_stated_limit() -> None:
    """Only where there are any."""
    made = manifest()
    assert "no person has checked them" in card(made)
    made.fates[Fate.RECTIFIED] = 0
    assert "no person has checked them" not in card(made)


def test_file_names_cannot_write_markdown() -> None:
    """A name that holds a table, a link, HTML and a heading is shown as it is."""
    name = "a|b](http://evil)<img src=x>\n# Fake `code` &amp; $x$ @me.jsonl"
    text = card(manifest(file=name))
    [line] = [line for line in text.splitlines() if "evil" in line]
    assert re.sub(r"\\(.)", r"\1", line).startswith("| " + " ".join(name.split()) + " | alpaca |")
    assert not re.search(r"(?<!\\)[<>\[\]`#&$@:]", line.rsplit("| alpaca", 1)[0])
    assert "\n# Fake" not in text


def test_many_files_are_counted_not_listed() -> None:
    """The card stays readable for a directory of thousands."""
    text = card(manifest(files=53))
    assert text.count(r"| rows\.jsonl |") == 50
    assert "and 3 more files" in text


def test_escape_is_one_line() -> None:
    """White space of any kind becomes one space."""
    assert escape("a\n\n b*") == r"a b\*"
