"""Rows of one prompt are never learnt from and measured on at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clear_pipeline.errors import UsageError
from clear_pipeline.finetune import TrainingData
from clear_pipeline.finetune.balance import Replay
from clear_pipeline.finetune.rows import TrainingRow, training_rows
from clear_pipeline.finetune.search.folds import cut, parts_of, prompt_of
from measuring_trainer import rows


def test_folds_by_hand() -> None:
    """Prompt c (3 rows) goes to the first fold, a (2) to the second; b and d fill up one each."""
    prompts = ["a", "a", "b", "c", "c", "c", "d"]
    found = cut(prompts, 2, seed=0)
    assert found[3:6] == [0, 0, 0]
    assert found[:2] == [1, 1]
    assert {found[2], found[6]} == {0, 1}
    assert found == cut(prompts, 2, seed=0)


def test_the_seed_shuffles() -> None:
    """Another seed, other folds of the same sizes."""
    prompts = [str(i) for i in range(20)]
    one, other = cut(prompts, 5, seed=0), cut(prompts, 5, seed=1)
    assert one != other
    assert [one.count(fold) for fold in range(5)] == [4] * 5
    assert [other.count(fold) for fold in range(5)] == [4] * 5


def test_prompts_are_compared_without_white_space(tmp_path: Path) -> None:
    """What stands before the first learnt turn is the prompt."""

    def row(*turns: tuple[str, str, int | None]) -> str:
        messages = [
            {"role": role, "content": text} | ({} if weight is None else {"weight": weight})
            for role, text, weight in turns
        ]
        return json.dumps({"messages": messages})

    path = tmp_path / "train.jsonl"
    lines = [
        row(("user", "1 +  1?", None), ("assistant", "2", None)),
        row(("user", "1 + 1?\n", None), ("assistant", "two", None)),
        row(
            ("user", "1 + 1?", None),
            ("assistant", "3", 1),
            ("user", "no", None),
            ("assistant", "2", 1),
        ),
        row(("user", "1 + 2?", None), ("assistant", "3", None)),
    ]
    path.write_text("\n".join(lines))
    read = [row for row in training_rows(path) if isinstance(row, TrainingRow)]
    first, same, turns, other = map(prompt_of, read)
    assert first == same == turns
    assert other != first


def test_files_of_folds(tmp_path: Path) -> None:
    """20 rows in 5 folds: 16 to learn from and 4 to measure on, every row measured on once."""
    data = TrainingData(rows(tmp_path, 20))
    parts = parts_of(data, None, 0, tmp_path / "folds")
    measured = []
    for part in parts:
        assert part.valid is not None
        learnt, held_out = part.train.read_text(), part.valid.read_text()
        assert (len(learnt.splitlines()), len(held_out.splitlines())) == (16, 4)
        assert not set(learnt.splitlines()) & set(held_out.splitlines())
        measured += held_out.splitlines()
    assert sorted(measured) == sorted(data.train.read_text().splitlines())


@pytest.mark.parametrize(("count", "folds"), [(499, 5), (500, 1)])
def test_when_folds_are_cut(tmp_path: Path, count: int, folds: int) -> None:
    """Below 500 training rows, or without validation rows, five; else the validation rows."""
    train, valid = rows(tmp_path, count), rows(tmp_path, 20, "valid.jsonl")
    parts = parts_of(TrainingData(train, valid), None, 0, tmp_path / "folds")
    assert len(parts) == folds
    if folds == 1:
        assert parts == [TrainingData(train, valid)]
    assert len(parts_of(TrainingData(train), None, 0, tmp_path / "folds")) == 5


def test_too_few_rows(tmp_path: Path) -> None:
    """The message has the numbers: 12 rows in 5 folds, of which the largest has 3."""
    with pytest.raises(UsageError, match="12 usable rows in 5 folds leave 9 to learn from; a trai"):
        parts_of(TrainingData(rows(tmp_path, 12)), None, 0, tmp_path / "folds")


def test_too_few_prompts(tmp_path: Path) -> None:
    """40 rows of two prompts cannot be parted into three folds."""
    path = tmp_path / "train.jsonl"
    path.write_text("".join(rows(tmp_path, 2, "two").read_text() for _ in range(20)))
    with pytest.raises(UsageError, match="only 2 different prompts, which cannot be parted into 3"):
        parts_of(TrainingData(path), 3, 0, tmp_path / "folds")


def test_one_fold_without_validation_rows(tmp_path: Path) -> None:
    """There is nothing to measure on, and the message says how to name some."""
    with pytest.raises(UsageError, match="name some with --valid"):
        parts_of(TrainingData(rows(tmp_path, 20)), 1, 0, tmp_path / "folds")


def test_general_rows_are_never_measured_on(tmp_path: Path) -> None:
    """Of 20 rows and 5 general ones behind them, each fold learns 16 and 5, and measures 4."""
    path = rows(tmp_path, 25)
    drawn = Replay(share=0.2, seed=0, own=20, first_line=21, sources=())
    general = path.read_text().splitlines()[20:]
    parts = parts_of(TrainingData(path, mix=drawn), None, 0, tmp_path / "folds")
    for part in parts:
        assert part.valid is not None
        learnt, held_out = part.train.read_text().splitlines(), part.valid.read_text().splitlines()
        assert (len(learnt), len(held_out)) == (21, 4)
        assert learnt[16:] == general
        assert not set(general) & set(held_out)


def test_general_rows_that_ask_what_is_measured(tmp_path: Path) -> None:
    """A general row with the prompt of an own one is learnt in every fold but that one's."""
    path = rows(tmp_path, 20)
    own = path.read_text().splitlines()
    record = json.loads(own[7])
    record["messages"][-1]["content"] = "something else"
    general = json.dumps(record)
    path.write_text("".join(f"{line}\n" for line in [*own, general]))
    drawn = Replay(share=0.05, seed=0, own=20, first_line=21, sources=())
    for part in parts_of(TrainingData(path, mix=drawn), 5, 0, tmp_path / "folds"):
        assert part.valid is not None
        is_measured = own[7] in part.valid.read_text().splitlines()
        assert (general in part.train.read_text().splitlines()) is not is_measured
