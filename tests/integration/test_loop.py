"""`clear-pipeline loop` as a user has it: processes, a judge, a platform that trains."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop_cli import Servers, cli, record, value, words
from loop_server import ROWS, Platform, judge, write_rows
from stub_server import StubServer


@pytest.fixture
def servers() -> Iterator[Servers]:
    with StubServer(judge) as stub, Platform() as platform:
        yield Servers(stub, platform)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl")


def test_rounds_until_one_gains_too_little(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Round 1 corrects all wrong rows and gains; round 2 gains nothing and is the last of three.

    The first filter keeps 30 of 60 rows, of which some are test rows; all 30 others are corrected.
    """
    out = tmp_path / "loop"
    done = cli(words(servers, data, out, "--rounds", "3"))
    assert done.returncode == 0, done.stderr
    found = record(out)
    first, second = found["rounds"]
    tests = (out / "test.jsonl").read_text().splitlines()
    assert found["test_rows"] == len(tests) > 0
    assert {k: v for k, v in first["rows"].items() if v} == {"rectified": 30, "kept": 30}
    # of the rows of round 2 none is doubtful: the corrected ones are scored again, and kept
    assert {k: v for k, v in second["rows"].items() if v} == {"kept": ROWS - len(tests)}
    assert first["writer"]["model"] == "ft-1"
    assert (first["model"]["model"], second["writer"]["model"]) == ("ft-2", "ft-2")
    # the base is right about every fourth thing, thus about some of the odd ones: 1, 5, 9, ...
    numbers = [int(json.loads(line)["messages"][-1]["content"].split()[1]) for line in tests]
    before = sum(n % 4 == 1 for n in numbers) / len(numbers)
    assert value(first["gains"], "exact_match") == pytest.approx(1 - before)
    assert first["compared_with"] == "base"
    assert value(second["gains"], "exact_match") == 0
    assert found["ended"].startswith("round 2 gained +0.000 [+0.000, +0.000] in token F1 over")
    # no test row is trained on in any round
    for path in out.glob("round-*/*/data/*.jsonl"):
        if path.name in ("train.jsonl", "valid.jsonl"):
            trained = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
            assert not [row for row in trained if row in [json.loads(t)["messages"] for t in tests]]
    assert "ended: round 2 gained" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("next: clear-pipeline ")
    assert "round 1 of 3: score and filter" in done.stderr
    assert "<circle" in (out / "loop.svg").read_text()
    assert servers.repeats() == 0
    for name in ("run", "tuned", "final", "evaluation"):
        assert (out / "round-1" / name).is_dir()


def test_a_loop_that_is_over_is_not_done_again(
    servers: Servers, data: Path, tmp_path: Path
) -> None:
    """The same command asks and trains nothing; more rounds go on from those that are done."""
    out = tmp_path / "loop"
    assert cli(words(servers, data, out)).returncode == 0
    asked, jobs = len(servers.judge.bodies), len(servers.platform.jobs)
    again = cli(words(servers, data, out, "--json"))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == record(out)
    assert (len(servers.judge.bodies), len(servers.platform.jobs)) == (asked, jobs)
    assert record(out)["ended"] == "1 round, as asked for"
    more = cli(words(servers, data, out, "--rounds", "2"))
    assert more.returncode == 0, more.stderr
    assert len(record(out)["rounds"]) == 2
    assert servers.repeats() == 0


def test_other_settings_are_another_loop(servers: Servers, data: Path, tmp_path: Path) -> None:
    """They are named, and nothing is asked."""
    out = tmp_path / "loop"
    assert cli(words(servers, data, out)).returncode == 0
    asked = len(servers.judge.bodies)
    other = cli(words(servers, data, out, "--set", "rectify.eta=0.7", "--set", "trainer.seed=5"))
    assert other.returncode == 2
    assert "holds a loop with other stages, trainer; give another --out" in other.stderr
    write_rows(data, ROWS + 2)
    changed = cli(words(servers, data, out))
    assert changed.returncode == 2
    assert "holds a loop with other data" in changed.stderr
    assert len(servers.judge.bodies) == asked


def test_too_few_rows_to_train(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Their number is told before anything is uploaded; with more of them the loop goes on.

    No score is asked for again.
    """
    out = tmp_path / "loop"
    few = cli(words(servers, data, out, "--set", "filter.keep.count=11"))
    assert few.returncode == 2
    assert "these rows cannot be trained on" in few.stderr
    (told,) = re.findall(r"train\.jsonl: (\d+) rows, at least 10 are needed", few.stderr)
    tests = len((out / "test.jsonl").read_text().splitlines())
    assert 0 < int(told) <= 11 - tests
    assert not servers.platform.files
    more = cli(words(servers, data, out))
    assert more.returncode == 0, more.stderr
    assert len((out / "test.jsonl").read_text().splitlines()) > tests
    assert servers.repeats() == 0


def test_too_few_rows_to_score(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Where no score can leave enough rows to train on, none is paid for."""
    price = "models.scorer.price_per_mtok={input: 1, output: 1}"
    more = ("--set", "filter.keep.count=8", "--set", price, "--yes")
    few = cli(words(servers, data, tmp_path / "loop", *more))
    assert few.returncode == 2
    assert f"{ROWS} rows were read and the filter keeps at most 8 of them (best 8)" in few.stderr
    assert not [body for body in servers.judge.bodies if "logprobs" in body]


def test_own_test_rows(servers: Servers, data: Path, tmp_path: Path) -> None:
    """With --test no row of DATA is held out, and these rows are asked about.

    A format that is given is that of DATA and of these rows, not of the training files.
    """
    test = tmp_path / "test.jsonl"
    lines = [{"prompt": f"thing {n}?", "completion": f"right {n}"} for n in range(100, 120)]
    test.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "loop"
    more = ("--metric", "exact_match", "--set", "load.format=prompt-completion")
    done = cli(words(servers, data, out, "--test", str(test), *more))
    assert done.returncode == 0, done.stderr
    found = record(out)
    assert (found["test_rows"], found["test"]) == (20, str(test))
    assert not (out / "test.jsonl").exists()
    (only,) = found["rounds"]
    assert value(only["gains"], "exact_match") == 0.75  # the base is right about 5 of 20


def test_general_rows_that_ask_what_test_rows_ask(
    servers: Servers, data: Path, tmp_path: Path
) -> None:
    """None of them is trained on, and the file that is trained on is searched for test rows."""
    test, general = tmp_path / "test.jsonl", tmp_path / "general.jsonl"
    things = [json.dumps({"prompt": f"thing {n}?", "completion": "it"}) for n in range(100, 160)]
    test.write_text("\n".join(things[:20]))
    general.write_text("\n".join(things))
    out = tmp_path / "loop"
    mix = f"trainer.mix={{data: {general}, share: 0.8}}"
    done = cli(words(servers, data, out, "--test", str(test), "--set", mix))
    assert done.returncode == 0, done.stderr
    trained_on = (out / "round-1" / "final" / "data" / "mixed.jsonl").read_text()
    drawn = {n for n in range(100, 160) if f'"thing {n}?"' in trained_on}
    assert drawn
    assert drawn <= set(range(120, 160))
    assert "left out 20 general rows that ask what" in done.stderr
    report = json.loads((out / "round-1" / "evaluation" / "evaluation.json").read_text())
    assert [Path(leak["file"]).name for leak in report["leaks"]] == ["mixed.jsonl"]


def test_priced_work_is_not_begun_unasked(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Without a terminal and --yes it is exit code 2; with it the price is told first."""
    price = ("--set", "models.scorer.price_per_mtok={input: 1, output: 1}")
    refused = cli(words(servers, data, tmp_path / "loop", *price))
    assert refused.returncode == 2
    assert "this loop costs money" in refused.stderr
    assert not servers.judge.bodies
    done = cli(words(servers, data, tmp_path / "loop", *price, "--yes"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("estimate of a round") < done.stderr.index("round 1 of 1: score")
    assert record(tmp_path / "loop")["rounds"][0]["spent"]["usd"] > 0
