"""General rows beside a training's own: how many, which, and that the check has none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.errors import ConfigError, RunMismatchError, UsageError
from clear_pipeline.evaluate.models.held_out import read_held_out, request_hash
from clear_pipeline.finetune import Balance, Mix, TrainingContext, TrainingData, fine_tune
from clear_pipeline.finetune.balance import apportioned, replayed_rows
from clear_pipeline.finetune.claim import Claim
from clear_pipeline.finetune.general import GeneralCheck
from clear_pipeline.finetune.registry import balance_named
from clear_pipeline.finetune.replay import balanced
from clear_pipeline.load import LoadSettings
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.stages.base import SilentProgress
from counting_trainer import Counting

LOAD = LoadSettings()


def chat(prompt: str, answer: str = "yes") -> dict[str, Any]:
    turns = (("user", prompt), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def pairs(name: str, count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{name} {number}?", "completion": "so it is"} for number in range(count)]


def read(path: Path | None) -> list[dict[str, Any]]:
    assert path is not None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def asked(path: Path | None) -> list[str]:
    return [row["messages"][0]["content"] for row in read(path)]


@pytest.fixture
def own(tmp_path: Path) -> TrainingData:
    """16 rows of a training's own."""
    return TrainingData(lines(tmp_path / "train.jsonl", [chat(f"own {n}") for n in range(16)]))


def mixed(own: TrainingData, folder: Path, **values: Any) -> tuple[TrainingData, list[str]]:  # noqa: ANN401
    notes: list[str] = []
    general = values.pop("general", None)
    balance = Balance(mix=Mix.model_validate(values), general=general)
    return balanced(own, balance, folder, notes.append), notes


@pytest.mark.parametrize(
    ("own_rows", "share", "drawn"),
    [
        (16, 0.2, 4),  # 4 of 20
        (10, 0.3, 4),  # 4.29: 4 of 14 is 0.286, 5 of 15 would be 0.333
        (10, 0.2, 3),  # 2.5, rounded up: 3 of 13
        (3, 0.5, 3),
        (10, 0.001, 1),  # never none
        (1000, 0.9, 9000),
    ],
)
def test_how_many_rows_make_a_share(own_rows: int, share: float, drawn: int) -> None:
    """The nearest number, a half rounded up, at least one."""
    assert replayed_rows(own_rows, share) == drawn


def test_parts_by_weight() -> None:
    """7 rows by 1 : 2 : 4 are 1, 2 and 4; 5 by 1 : 1 : 1 are 2, 2 and 1; decimals are exact."""
    assert apportioned(7, [1, 2, 4]) == [1, 2, 4]
    assert apportioned(5, [1, 1, 1]) == [2, 2, 1]
    assert apportioned(10, [0.7, 0.3]) == [7, 3]
    assert apportioned(1, [0.1, 0.9]) == [0, 1]


def test_the_training_file(own: TrainingData, tmp_path: Path) -> None:
    """Own rows stand first, byte for byte; then 4 of another format, which make 0.2 of all."""
    path = lines(tmp_path / "general.jsonl", pairs("general", 60))
    data, notes = mixed(own, tmp_path / "out", data=str(path), share=0.2)
    text = data.train.read_text()
    assert text.startswith(own.train.read_text())
    assert len(text.splitlines()) == 20
    assert asked(data.train)[16:] == [name for name in asked(data.train) if "general" in name]
    assert data.mix is not None
    assert (data.mix.own, data.mix.first_line, data.mix.rows) == (16, 17, 4)
    assert data.mix.shown() == "4 of 20 rows (20.0 %)"
    assert notes == []


def test_a_last_line_without_an_end(own: TrainingData, tmp_path: Path) -> None:
    """What follows stands in a line of its own."""
    own.train.write_text(own.train.read_text().rstrip("\n"))
    path = lines(tmp_path / "general.jsonl", pairs("general", 60))
    data, _ = mixed(own, tmp_path / "out", data=str(path), share=0.2)
    assert len(read(data.train)) == 20


def test_the_draw_hangs_on_the_seed_and_on_no_order(own: TrainingData, tmp_path: Path) -> None:
    """Rows in another order give the same draw and check; another seed gives another draw."""
    rows = pairs("general", 60)
    path = lines(tmp_path / "general.jsonl", rows)
    back = lines(tmp_path / "back.jsonl", rows[::-1])
    found = {}
    for name, source, seed in (("a", path, 0), ("b", back, 0), ("c", path, 1)):
        data, _ = mixed(own, tmp_path / name, data=str(source), share=0.2, seed=seed)
        found[name] = (set(asked(data.train)), set(asked(data.general)))
    assert found["a"] == found["b"]
    assert found["a"][0] != found["c"][0]
    assert found["a"][1] == found["c"][1]


def test_a_tenth_is_held_out(own: TrainingData, tmp_path: Path) -> None:
    """Of 20 rows 2, although 18 are drawn; nothing of the check is trained on."""
    path = lines(tmp_path / "general.jsonl", pairs("general", 20))
    data, notes = mixed(own, tmp_path / "out", data=str(path), share=0.75)
    assert len(read(data.general)) == 2
    assert not set(asked(data.general)) & set(asked(data.train))
    assert len(read(data.train)) == 16 + 18
    assert len(notes) == 1
    assert "a share of 0.75 wants 48 of its rows, but only 18 can be drawn" in notes[0]
    assert "18 of 34 rows (52.9 %)" in notes[0]


def test_rows_of_the_check_are_not_drawn(own: TrainingData, tmp_path: Path) -> None:
    """Nor are others that ask the same; a row that stands there twice is drawn once."""
    path = lines(tmp_path / "general.jsonl", [*pairs("general", 12), *pairs("general", 12)])
    test = lines(tmp_path / "test.jsonl", [chat(f"general {n}?", "else") for n in range(8)])
    data, _ = mixed(own, tmp_path / "out", data=str(path), share=0.2, general=str(test))
    assert sorted(asked(data.train)[16:]) == [f"general {n}?" for n in (10, 11, 8, 9)]
    assert len(read(data.general)) == 8


def test_what_is_learnt_checks_nothing(own: TrainingData, tmp_path: Path) -> None:
    """Held-out rows ask nothing that the training's own rows ask; of named ones it is said."""
    general = [chat(f"own {n}", "no") for n in range(10)] + [chat("else"), chat("other")]
    path = lines(tmp_path / "general.jsonl", general)
    data, _ = mixed(own, tmp_path / "a", data=str(path), share=0.05)
    assert {*asked(data.general), *asked(data.train)[16:]} == {"else", "other"}
    notes: list[str] = []
    balanced(own, Balance(general=str(path)), tmp_path / "b", notes.append)
    assert "10 of 12 rows of" in notes[0]


def test_what_is_measured_is_not_drawn(own: TrainingData, tmp_path: Path) -> None:
    """Nor what is learnt anyway: of 40 rows 16 + 10 + 1 are asked elsewhere, and it is said.

    Of the others, the 3 that are held out (a tenth of the 24 that are not learnt) may be among the
    validation rows.
    """
    rows = [chat(f"own {n}", "no") for n in range(16)] + [chat(f"general {n}") for n in range(24)]
    path = lines(tmp_path / "general.jsonl", rows)
    valid = lines(tmp_path / "valid.jsonl", [chat(f"general {n}", "no") for n in range(10)])
    test = next(iter(read_held_out(lines(tmp_path / "test.jsonl", rows[30:31]), LOAD).rows))
    balance = Balance(mix=Mix.model_validate({"data": str(path), "share": 0.7}))
    notes: list[str] = []
    data = balanced(
        TrainingData(own.train, valid),
        balance,
        tmp_path / "out",
        notes.append,
        measured={request_hash(test)},
    )
    drawn, check = set(asked(data.train)[16:]), set(asked(data.general))
    assert drawn == {f"general {n}" for n in range(10, 24) if n != 14} - check
    assert len(check) == 3
    assert notes[0] == (
        f"{path}: left out 27 general rows that ask what the rows ask that are trained on or "
        "measured on anyway"
    )


def test_of_rows_that_ask_the_same_one_is_drawn(own: TrainingData, tmp_path: Path) -> None:
    """Ten questions with two responses each give ten rows at most, each of another question."""
    rows = [chat(f"general {n}", answer) for n in range(10) for answer in ("yes", "no")]
    path = lines(tmp_path / "general.jsonl", rows)
    test = lines(tmp_path / "test.jsonl", [chat("else")])
    data, _ = mixed(own, tmp_path / "out", data=str(path), share=0.5, general=str(test))
    assert sorted(asked(data.train)[16:]) == sorted({row["messages"][0]["content"] for row in rows})


def test_sources_that_overlap_hold_out_no_row_twice(own: TrainingData, tmp_path: Path) -> None:
    """A tenth of 40 rows, then a tenth of the 36 that are left: 8 rows, all different."""
    path = str(lines(tmp_path / "general.jsonl", pairs("general", 40)))
    data, _ = mixed(own, tmp_path / "out", data=[path, path], share=0.1)
    check = asked(data.general)
    assert (len(check), len(set(check))) == (8, 8)


def test_at_most_200_rows_are_held_out(own: TrainingData, tmp_path: Path) -> None:
    """Three sources of 700 rows: 67, 67 and 66."""
    paths = [str(lines(tmp_path / f"{name}.jsonl", pairs(name, 700))) for name in "abc"]
    data, _ = mixed(own, tmp_path / "out", data=paths, share=0.1)
    check = asked(data.general)
    assert [sum(name.startswith(each) for name in check) for each in "abc"] == [67, 67, 66]


def test_general_rows_that_cannot_be_read(own: TrainingData, tmp_path: Path) -> None:
    """They are counted, with the place and the reason of the first of them."""
    path = lines(tmp_path / "general.jsonl", [*pairs("general", 20), {"prompt": "no response"}])
    _, notes = mixed(own, tmp_path / "out", data=str(path), share=0.1)
    assert len(notes) == 1
    assert notes[0].startswith("left out 1 general row: general.jsonl:21")


def test_sources_by_weight(own: TrainingData, tmp_path: Path) -> None:
    """Of 16 drawn rows 12 come of the one with weight 3 and 4 of that with weight 1."""
    one, other = (lines(tmp_path / f"{name}.jsonl", pairs(name, 40)) for name in ("one", "other"))
    sources = [{"data": str(one), "weight": 3}, str(other)]
    data, _ = mixed(own, tmp_path / "out", data=sources, share=0.5)
    drawn = asked(data.train)[16:]
    assert sum(name.startswith("one") for name in drawn) == 12
    assert sum(name.startswith("other") for name in drawn) == 4


def test_nothing_to_draw(own: TrainingData, tmp_path: Path) -> None:
    """Where all general rows are those of the check, the training is refused."""
    path = lines(tmp_path / "general.jsonl", pairs("general", 5))
    with pytest.raises(UsageError, match="none of its rows can be drawn"):
        mixed(own, tmp_path / "out", data=str(path), general=str(path))


def test_the_draw_is_part_of_the_training(own: TrainingData, tmp_path: Path) -> None:
    """Another share is another training; `training.json` has the share, the rows and checksums."""
    path = lines(tmp_path / "general.jsonl", pairs("general", 60))
    ctx = TrainingContext(tmp_path / "training", SilentProgress())
    ctx.folder.mkdir()
    data, _ = mixed(own, tmp_path / "a", data=str(path), share=0.2)
    done = in_own_loop(fine_tune(Counting(), data, ctx))
    assert done.summary["general rows trained on"] == "4 of 20 rows (20.0 %)"
    claim = Claim.read(ctx.folder)
    assert claim is not None
    assert claim.mix == data.mix
    assert claim.general is not None
    other, _ = mixed(own, tmp_path / "b", data=str(path), share=0.3)
    with pytest.raises(RunMismatchError, match="other train, mix;"):
        in_own_loop(fine_tune(Counting(), other, ctx))


def test_the_check_by_hand() -> None:
    """-log p of 1 and 2 over 1 and 3 tokens, then 2 and 4, ten times each: 0.75, then 1.5."""
    check = GeneralCheck.of([1, 2] * 10, [2, 4] * 10, [1, 3] * 10)
    assert (check.rows, check.tokens, check.before, check.after) == (20, 40, 0.75, 1.5)
    # Of 20 resampled rows 10 +- 4.4 are of the first kind: with 14 it is 26 / 32, with 6 34 / 48.
    assert (check.low, check.high) == pytest.approx((34 / 48, 26 / 32), abs=0.02)
    assert check.is_worse
    assert "from 0.750 to 1.500 nats, by +0.750 [+0." in check.warning()
    assert "over 20 rows" in check.warning()


def test_a_few_rows_do_not_tell() -> None:
    """Of 19 rows that rose, the rise is told, without an interval and without a warning."""
    check = GeneralCheck.of([1] * 19, [2] * 19, [2] * 19)
    assert (check.low, check.high, check.is_worse) == (None, None, False)
    assert check.shown() == "+0.500 (too few general rows to tell)"


def test_a_change_that_rows_explain_is_none() -> None:
    """Half of the rows better, half worse: the interval has 0 in it, and nothing is said."""
    check = GeneralCheck.of([1, 2] * 10, [2, 1.5] * 10, [1, 1] * 10)
    assert check.low is not None
    assert check.high is not None
    # A mean of 20 draws of +1 and -0.5: 0.25, with a standard deviation of 0.75 / sqrt(20) = 0.168.
    assert (check.low, check.high) == pytest.approx((0.25 - 0.33, 0.25 + 0.33), abs=0.08)
    assert not check.is_worse


def test_settings_of_both_places(tmp_path: Path) -> None:
    """The command line stands above the file, which may name several sources."""
    file = tmp_path / "trainer.yaml"
    file.write_text(
        "kind: lora\nmix:\n  data: [a.jsonl, {data: b.jsonl, weight: 2}]\n  share: 0.3\n"
    )
    found = balance_named(file=file)
    assert found.mix is not None
    assert [(each.data, each.weight) for each in found.mix.data] == [("a.jsonl", 1), ("b.jsonl", 2)]
    assert found.mix.share == 0.3
    typed = balance_named(["mix.seed=4"], file=file, mix=["c.jsonl"], share=0.1, general="d.jsonl")
    assert typed == Balance(
        mix=Mix.model_validate({"data": "c.jsonl", "seed": 4}), general="d.jsonl"
    )


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_is_none(share: float) -> None:
    """It is above 0 and below 1, and the error names the setting."""
    with pytest.raises(ConfigError, match=r"mix\.share"):
        balance_named(mix=["a.jsonl"], share=share)


def test_a_share_of_nothing() -> None:
    """It wants data to draw from."""
    with pytest.raises(UsageError, match="--mix FILE"):
        balance_named(share=0.2)
