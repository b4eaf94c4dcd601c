"""A loop that goes on: rows that failed are tried again, and neither test rows nor caps move."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clear_pipeline.errors import BatchPendingError, BudgetExceededError, RunFailedError
from clear_pipeline.loop import Loop, LoopRecord, build_loop, read_loop
from clear_pipeline.loop.views import remarks
from loop_server import Platform, is_verdict, judge, judged, write_rows
from stub_server import Body, StubServer, status


class Judge:
    """Judges, but cannot be asked about the surest right rows until it is well.

    Args:
        stub: The server.
    """

    def __init__(self, stub: StubServer) -> None:
        self.url = stub.url
        self._ill_below = 0
        stub.answer_with(self._answer)

    async def _answer(self, body: Body) -> web.StreamResponse:
        numbers = re.findall(r"thing (\d+)\?", str(body["messages"][-1]["content"]))
        number = int(numbers[-1]) if numbers else 0
        if number % 2 and number < self._ill_below and not is_verdict(body):
            return web.json_response({"error": {"message": "busy"}}, status=500)
        return web.json_response(judged(body))

    def fall_ill(self, below: int) -> None:
        self._ill_below = below

    def recover(self) -> None:
        self._ill_below = 0


@pytest.fixture
def judging() -> Iterator[Judge]:
    with StubServer(judge) as stub:
        yield Judge(stub)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as server:
        yield server


def run(
    judging: Judge, platform: Platform, folder: Path, *more: str, test: Path | None = None
) -> LoopRecord:
    """A loop over 60 rows, of which the filter keeps 20."""
    data = folder / "rows.jsonl"
    if not data.exists():
        write_rows(data)
    base = f"{{model: base, base_url: '{platform.url}', backoff_s: 0.001, max_attempts: 2}}"
    settings = {
        "score.preset": "fast", "score.max_failed_fraction": 0.5, "filter.keep.count": 20,
        "models.scorer.model": "judge", "models.scorer.base_url": judging.url,
        "models.scorer.max_attempts": 1, "models.scorer.backoff_s": 0.001,
        "trainer.base": base, "trainer.poll_s": 0.001, "trainer.max_poll_s": 0.002,
        "trainer.price_per_mtok": 1000, "load.shard_rows": 10, "loop.hold_out": 0.3,
        "loop.price_per_mtok": "{input: 0, output: 0}",
    }  # fmt: skip
    plan = build_loop(
        stages=["score", "filter", "rectify"],
        trainer="openai-jobs",
        test=test,
        assignments=[*(f"{name}={value}" for name, value in settings.items()), *more],
    )
    return Loop(plan).run(data, out=folder / "loop")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked_in(path: Path) -> set[str]:
    return {row["messages"][0]["content"] for row in lines(path)}


def agreed(folder: Path) -> list[str]:
    """The folders of the trainings that were begun at a price."""
    return [name for name, _ in json.loads((folder / "loop" / "trainings.json").read_text())]


def test_rows_that_are_scored_later_do_not_move_the_test_rows(
    judging: Judge, platform: Platform, tmp_path: Path
) -> None:
    """Six rows are scored only after the first training, and push six others out of the filter.

    The test rows are those that were written: no training file has one, and every other row is
    there in the second round.
    """
    judging.fall_ill(below=12)
    platform.uploaded = judging.recover
    record = run(judging, platform, tmp_path, "loop.rounds=2", "loop.min_gain=0")
    assert [each.rows["unscored"] for each in record.rounds] == [0, 0]
    tests = asked_in(tmp_path / "loop" / "test.jsonl")
    assert len(tests) == record.test_rows > 0
    written = (tmp_path / "loop").glob("round-*/*/data/*.jsonl")
    files = [path for path in written if path.name in ("train.jsonl", "valid.jsonl")]
    assert len(files) >= 2
    assert not [f for f in files if asked_in(f) & tests]
    all_rows = {f"thing {n}?" for n in range(60)}
    assert asked_in(tmp_path / "loop" / "round-2" / "rows.jsonl") == all_rows - tests


@pytest.mark.parametrize("training", ["tuned", "final"])
def test_a_job_is_found_again_though_rows_could_be_scored_now(
    judging: Judge, platform: Platform, tmp_path: Path, training: str
) -> None:
    """While a job goes on the rows that it was begun with stay as they are.

    Rows that failed before the job are tried again no earlier than it is over.
    """
    judging.fall_ill(below=4)
    jobs = {"tuned": 1, "final": 2}[training]
    while len(platform.jobs) < jobs:
        with pytest.raises(BatchPendingError):
            run(judging, platform, tmp_path, "trainer.wait=false")
    judging.recover()
    record = run(judging, platform, tmp_path)
    assert record.rounds[0].rows["unscored"] == (2 if training == "final" else 0)
    assert len(platform.jobs) == 2
    assert agreed(tmp_path) == ["round-1/tuned", "round-1/final"]


def test_a_stop_in_an_upload_costs_nothing_under_a_cap(
    judging: Judge, platform: Platform, tmp_path: Path
) -> None:
    """A platform that is gone while a file is uploaded has billed nothing: the cap still holds it.

    The training costs about $1.3, and twice that is more than the cap of $2. It is billed at
    $1.20, and only the next one does not fit.
    """

    def away() -> None:
        platform.uploaded = lambda: None
        platform.faults.extend([status(500)] * 6)

    platform.uploaded = away
    with pytest.raises(RunFailedError):
        run(judging, platform, tmp_path, "budget.max_usd=2")
    platform.faults.clear()
    assert agreed(tmp_path) == ["round-1/tuned"]
    assert not platform.jobs
    with pytest.raises(BudgetExceededError, match=r"With the \$1\.20 spent before"):
        run(judging, platform, tmp_path, "budget.max_usd=2")
    assert agreed(tmp_path) == ["round-1/tuned"]
    assert len(platform.jobs) == 1


def test_a_model_that_is_taken_over_is_measured_as_its_own_training_is(
    judging: Judge, platform: Platform, tmp_path: Path
) -> None:
    """Test rows in the file that it was trained on are told in every round, whoever trained on it.

    Round 3 has the rows of round 2 and takes its model. If what came of that training is gone, the
    next round trains, and the one after it takes that model.
    """
    test = tmp_path / "held-out.jsonl"
    texts = [{"prompt": f"thing {n}?", "completion": f"right {n}"} for n in (1, 3, 101, 103)]
    test.write_text("".join(json.dumps(each) + "\n" for each in texts))
    more = ("loop.min_gain=0", "trainer.price_per_mtok=0")
    record = run(judging, platform, tmp_path, "loop.rounds=3", *more, test=test)
    third, jobs = record.rounds[2], len(platform.jobs)
    assert third.gains == ()
    trained = tmp_path / "loop" / "round-2" / "final"
    assert [each.model_dump() for each in third.leaks] == [
        {"file": str(trained / "data" / "train.jsonl"), "rows": 2, "prompts": 0}
    ]
    told = [line for line in remarks(record) if line.startswith("round 3: leak: 2 of the test")]
    assert len(told) == 1
    (trained / "trained.json").unlink()
    run(judging, platform, tmp_path, "loop.rounds=5", *more, test=test)
    assert len(platform.jobs) == jobs + 1


def test_a_loop_that_goes_on_has_not_ended(
    judging: Judge, platform: Platform, tmp_path: Path
) -> None:
    """Once a further round is begun the record says no longer why there was none."""
    first = run(judging, platform, tmp_path)
    assert first.ended == "1 round, as asked for"
    more = ("loop.rounds=2", "loop.min_gain=0", f"budget.max_calls={first.spent.calls}")
    with pytest.raises(BudgetExceededError):
        run(judging, platform, tmp_path, *more)
    left = read_loop(tmp_path / "loop")
    assert left is not None
    assert (len(left.rounds), left.ended) == (1, None)
