"""The rows that go from round to round, and what a loop has spent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from clear_pipeline.errors import BudgetExceededError, UsageError
from clear_pipeline.finetune import Price, Trained
from clear_pipeline.finetune.price import hold
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.settings import ModelSettings, Prices
from clear_pipeline.llm.spend import Reservation
from clear_pipeline.llm.spend_file import SpendFile
from clear_pipeline.load import LoadSettings
from clear_pipeline.loop import LoopSettings
from clear_pipeline.loop.rows import asked_in, drawn, require_enough, write_rows, write_test
from clear_pipeline.loop.spend import agreed_to, as_spent, spent_before, spent_beside, spent_in
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.filter import AboveMedian, Confidence, Count, Filter, Keep, Quantile
from loop_runs import finished_run


def row(number: int, answer: str = "") -> Example:
    return Example(
        id=f"x:{number}", file="x", line=number, format="prompt-completion",
        messages=(Message("user", f"q {number}"),),
        target=Message("assistant", answer or f"a {number}"),
        original=json.dumps({"prompt": f"q {number}", "completion": f"a {number}"}),
    )  # fmt: skip


def table(numbers: Sequence[int], keep: Sequence[bool]) -> pa.Table:
    made = rows_table(row(n) for n in numbers)
    return made.append_column("keep", pa.array(keep))


def test_test_rows_are_drawn_from_those_that_the_filter_keeps() -> None:
    """About the share of them, each for itself: neither order nor other rows move the draw."""
    taken = drawn(LoopSettings(hold_out=0.3))
    numbers = list(range(1000))
    marks = taken(table(numbers, [n % 2 == 0 for n in numbers]))
    assert not any(marks[1::2])
    assert 0.2 < sum(marks) / 500 < 0.4
    some = numbers[::-1][:100]
    again = taken(table(some, [n % 2 == 0 for n in some]))
    assert again == [marks[n] for n in some]
    other = drawn(LoopSettings(hold_out=0.3, seed=1))(table(numbers, [True] * 1000))
    assert other[::2] != marks[::2]


def test_rows_that_ask_the_same_are_test_rows_together(tmp_path: Path) -> None:
    """Whatever they answer; and what asks the same as a test row is left out though it is filtered.

    So a test row's request is in no training file, with none of its answers.
    """
    rows = [row(n, answer) for n in range(200) for answer in ("one", "another")]
    made = rows_table(rows)
    kept = made.append_column("keep", pa.array([True] * 400))
    marks = drawn(LoopSettings(hold_out=0.3))(kept)
    assert marks[::2] == marks[1::2]
    assert 0.2 < sum(marks) / 400 < 0.4
    run = finished_run(tmp_path)
    test = tmp_path / "test.jsonl"
    turns = [{"role": "user", "content": "question  5"}, {"role": "assistant", "content": "new"}]
    test.write_text(json.dumps({"messages": turns}) + "\n")
    (shard,) = run.shards()
    ids = [f"rows.jsonl:{n}" for n in (1, 2, 3, 4, 5)]
    assert shard.table["id"].to_pylist() == ids
    assert asked_in(test, LoadSettings())(shard.table) == [False, False, False, False, True]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_of_the_next_round(tmp_path: Path) -> None:
    """Kept and filtered rows as they were, rectified ones with their new response; no other.

    Every row says where it came from, and columns that are not CLEAR's stay.
    """
    run = finished_run(tmp_path)
    assert run.manifest.fates["rectified"] == 1
    assert run.manifest.fates["duplicate"] == 1
    count = write_rows(run, tmp_path / "rows.jsonl", None)
    rows = lines(tmp_path / "rows.jsonl")
    assert count == len(rows) == 4
    assert [each["id"] for each in rows] == [f"rows.jsonl:{n}" for n in (1, 2, 3, 5)]
    assert [each["topic"] for each in rows] == ["a"] * 4
    answers = [each["messages"][-1]["content"] for each in rows]
    assert answers == ["good 1", "good 2", "better 3", "bad 5"]
    first = rows[0]["messages"][0]
    assert first == {"role": "user", "content": "question 1"}


def test_test_rows_are_gone_from_the_next_round(tmp_path: Path) -> None:
    """Those that are left out stand in the test file alone."""
    run, settings = finished_run(tmp_path), LoopSettings(hold_out=0.999)
    assert write_test(run, tmp_path / "test.jsonl", settings) == 2
    write_rows(run, tmp_path / "rows.jsonl", asked_in(tmp_path / "test.jsonl", LoadSettings()))
    tests, rows = lines(tmp_path / "test.jsonl"), lines(tmp_path / "rows.jsonl")
    assert [each["messages"][-1]["content"] for each in tests] == ["good 1", "good 2"]
    assert [each["messages"][-1]["content"] for each in rows] == ["better 3", "bad 5"]


def test_no_test_row(tmp_path: Path) -> None:
    """That none was drawn is told with what to do, and no empty file is left."""
    with pytest.raises(UsageError, match="--test FILE"):
        write_test(finished_run(tmp_path), tmp_path / "t.jsonl", LoopSettings(hold_out=1e-9))
    assert not (tmp_path / "t.jsonl").exists()


@pytest.mark.parametrize(
    ("keep", "rows"),
    [
        (AboveMedian(), 19),
        (Quantile(quantile=0.2), 12),
        (Count(count=10), 10),
        (Confidence(confidence=0.5), 10),
    ],
)
def test_rows_that_no_score_can_make_enough(keep: Keep, rows: int) -> None:
    """Ten have to be left: of 19 the median keeps ten, of 18 nine."""
    require_enough(rows, Filter(keep=keep))
    with pytest.raises(UsageError, match=rf"^loop: {rows - 1} rows were read and .* at most 9 "):
        require_enough(rows - 1, Filter(keep=keep))


def spend(folder: Path, tokens: int) -> None:
    """One call of so many prompt tokens at a dollar each thousand."""
    folder.mkdir(parents=True)
    file = SpendFile(folder / "spend.sqlite", earlier={})
    asked = Reservation("m", Usage(prompt=tokens), Prices(input=1000.0, output=0.0))
    file.enter([asked])
    file.settle(asked, Usage(prompt=tokens))
    file.close()


def train(folder: Path, usd: float) -> None:
    folder.mkdir(parents=True)
    model = ModelSettings(model="m", base_url="http://127.0.0.1:1/v1")
    done = Trained(model=model, summary={"usd": usd})
    (folder / "trained.json").write_text(done.model_dump_json())


def test_what_a_loop_has_spent(tmp_path: Path) -> None:
    """Calls of all directories and prices of all trainings; what a directory itself knows aside."""
    first, second = tmp_path / "round-1", tmp_path / "round-2"
    spend(first / "run", 1000)
    spend(first / "evaluation", 2000)
    train(first / "tuned", 0.5)
    spend(second / "run", 4000)
    assert as_spent(spent_in(first)).model_dump() == {"calls": 2, "tokens": 3000, "usd": 3.5}
    beside = as_spent(spent_beside(tmp_path, second / "run"))
    assert beside.model_dump() == {"calls": 2, "tokens": 3000, "usd": 3.5}
    assert as_spent(spent_beside(tmp_path, first / "run")).calls == 2


def test_a_training_counts_at_its_price_until_its_bill_is_known(tmp_path: Path) -> None:
    """Of three jobs in one folder the first is never created, the second fails, the third is paid.

    The first leaves nothing, the second stays at its price of 3, the third costs 1.5 and not 4.
    """
    round_ = tmp_path / "round-1"
    tuned = round_ / "tuned"
    tuned.mkdir(parents=True)
    agreed_to(tuned, 2.0, lost=False)
    agreed_to(tuned, 3.0, lost=False)
    assert as_spent(spent_in(round_)).usd == 3.0
    agreed_to(tuned, 4.0, lost=True)
    assert as_spent(spent_in(round_)).usd == 7.0
    tuned.rmdir()
    train(tuned, 1.5)
    assert as_spent(spent_in(round_)).usd == 4.5
    assert as_spent(spent_beside(tmp_path, round_ / "run")).usd == 4.5


def test_a_training_that_is_begun_again_is_held_against_the_cap_once(tmp_path: Path) -> None:
    """The price of a try that was interrupted is that of the next; not that of a failed one.

    The first costs 3 under a cap of 5. It fails at the platform: the next one would make 6.
    """
    tuned = tmp_path / "round-1" / "tuned"
    tuned.mkdir(parents=True)
    price = Price(3.0, 1000, "counting")

    def agree(*, lost: bool) -> None:
        spent = as_spent(spent_before(tmp_path, tuned, lost=lost)).usd
        hold(price, cap=5.0, spent=spent)
        agreed_to(tuned, 3.0, lost=lost)

    agree(lost=False)
    agree(lost=False)
    assert as_spent(spent_in(tmp_path / "round-1")).usd == 3.0
    with pytest.raises(BudgetExceededError, match=r"With the \$3\.00 spent before"):
        agree(lost=True)
    agreed_to(tuned, 3.0, lost=True)
    agreed_to(tuned, 4.0, lost=False)
    assert as_spent(spent_in(tmp_path / "round-1")).usd == 7.0  # the failed one stays


def test_a_training_under_a_cap() -> None:
    """What was spent before counts; what is not known is refused, what is free is not."""
    price = Price(3.0, 1000, "counting")
    hold(price, cap=5.0, spent=2.0)
    with pytest.raises(BudgetExceededError, match=r"With the \$2\.50 spent before") as stopped:
        hold(price, cap=5.0, spent=2.5)
    assert stopped.value.enough == 5.5
    with pytest.raises(BudgetExceededError, match=r"costs about \$0\.0034 .* spent before"):
        hold(Price(0.00342, 684, "counting"), cap=0.001, spent=0.0009)
    with pytest.raises(UsageError, match="a price that is known"):
        hold(Price(None, None, "nobody"), cap=5.0)
    hold(Price(None, None, "nobody"), cap=None)
    hold(Price(0.0, None, "this machine"), cap=0.0, spent=1.0)
