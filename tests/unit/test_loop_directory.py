"""What is looked at before a loop asks anybody: its directory, its test rows, its general rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from clear_pipeline.errors import (
    DamagedRunError,
    NothingReadableError,
    RunMismatchError,
    UsageError,
)
from clear_pipeline.load import discover
from clear_pipeline.loop import Loop, LoopRecord, build_loop
from clear_pipeline.loop.measure import arm_of
from clear_pipeline.loop.spend import agreed_to
from loop_server import write_rows

ROW = '{"prompt": "a?", "completion": "b"}\n'
NOBODY = "http://127.0.0.1:1/v1"


def loop(*more: str, test: Path | None = None) -> Loop:
    """One that would ask a server that is not there."""
    settings = [
        "models.scorer.model=judge",
        f"models.scorer.base_url={NOBODY}",
        f"trainer.base={{model: base, base_url: '{NOBODY}'}}",
    ]
    return Loop(
        build_loop(
            stages=["score", "filter", "rectify"],
            trainer="openai-jobs",
            test=test,
            assignments=[*settings, *more],
        )
    )


@pytest.mark.parametrize("name", ["test.jsonl", "round-1", "loop.yaml", "trainings.json"])
def test_a_file_of_the_users_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """A directory without a loop may hold answers that were paid for, and nothing else."""
    data, out = write_rows(tmp_path / "rows.jsonl"), tmp_path / "loop"
    out.mkdir()
    (out / "llm-cache.sqlite").touch()
    (out / name).write_text("mine")
    with pytest.raises(RunMismatchError, match=f"holds no loop but {name}; give an empty or new"):
        loop().run(data, out=out)
    assert (out / name).read_text() == "mine"


def test_test_rows_are_a_file(tmp_path: Path) -> None:
    """A directory is told from a file that is not there."""
    data = write_rows(tmp_path / "rows.jsonl")
    with pytest.raises(UsageError, match="is a directory; name one file"):
        loop(test=tmp_path).run(data, out=tmp_path / "loop")
    with pytest.raises(UsageError, match="no such file"):
        loop(test=tmp_path / "none.jsonl").run(data, out=tmp_path / "loop")


@pytest.mark.parametrize("setting", ["mix.data", "general"])
def test_general_rows_are_looked_for_before_anything_is_asked(tmp_path: Path, setting: str) -> None:
    """A file that is not there is named, and nobody was asked yet."""
    data, missing = write_rows(tmp_path / "rows.jsonl"), tmp_path / "general.jsonl"
    with pytest.raises(NothingReadableError, match=r"general\.jsonl: no such file"):
        loop(f"trainer.{setting}={missing}").run(data, out=tmp_path / "loop")
    assert not (tmp_path / "loop" / "round-1").exists()


def test_damaged_prices(tmp_path: Path) -> None:
    """It is said where they stand, and how."""
    (tmp_path / "trainings.json").write_text('[["round-1/tuned", "dear"]]')
    with pytest.raises(DamagedRunError, match=r"trainings\.json: is not as it was written"):
        agreed_to(tmp_path / "round-1" / "tuned", 1.0, lost=False)


def test_a_loop_within_its_data_is_no_data(tmp_path: Path) -> None:
    """Its files are no rows, however far it has come; a file of that name may be some."""
    data, out = tmp_path / "data", tmp_path / "data" / "loop"
    (out / arm_of(1) / "tuned").mkdir(parents=True)
    (data / "rows.jsonl").write_text(ROW)
    (out / arm_of(1) / "tuned" / "train.jsonl").write_text(ROW)
    (out / "test.jsonl").write_text(ROW)
    assert len(discover(data).inputs) == 3
    LoopRecord(package_version="0", metric="token_f1", asked={}, test="").write(out)
    listing = discover(data)
    assert [source.name for source in listing.inputs] == ["rows.jsonl"]
    assert [(s.path, s.reason) for s in listing.skipped] == [("loop/", "the directory of a loop")]
    (data / "loop.json").write_text(ROW)
    assert len(discover(data).inputs) == 2
