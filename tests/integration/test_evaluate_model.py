"""`evaluate model` and `evaluate arms` as a user has them: processes, a real server, a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from stub_server import Body, StubServer, says, status, text_choice

ROWS = 40


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "clear_pipeline", "evaluate", *map(str, arguments)]


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "COLUMNS": "160", "OPENAI_API_KEY": "sk-none"},
    )


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    path = tmp_path / "test.jsonl"
    lines = [
        json.dumps({"prompt": f"Add one to {n}.", "completion": json.dumps({"sum": n + 1})})
        for n in range(ROWS)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


async def adds(body: Body) -> web.StreamResponse:
    """`tuned` is right, `base` adds two and says so in words."""
    number = int(body["messages"][-1]["content"].rstrip(".").rpartition(" ")[2])
    right = body["model"] == "tuned"
    text = json.dumps({"sum": number + 1}) if right else f"The sum is {number + 2}."
    return await says(text_choice(text))(body)


def test_arms_on_a_server(test_file: Path, tmp_path: Path) -> None:
    """The better arm is called so; every request has temperature 0 and the limit of the paper."""
    out = tmp_path / "out"
    with StubServer(adds) as stub:
        arms = ["--arm", "base=base", "--arm", "tuned=tuned", "--base-url", stub.url]
        shown = evaluate("model", test_file, "--out", out, *arms, "--train", test_file)
        told = evaluate("model", test_file, "--out", out, *arms, "--train", test_file, "--json")
        bodies = stub.bodies
    assert shown.returncode == 0, shown.stderr
    assert "leak: 40 of 40 test rows stand in" in shown.stderr
    assert "better" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("next: head -n 3 ")
    assert len(bodies) == 2 * ROWS  # the second evaluation asked nothing
    assert {(body["temperature"], body["max_tokens"]) for body in bodies} == {(0.0, 512)}
    assert not any("response_format" in body for body in bodies)
    report = json.loads(told.stdout)
    assert report == json.loads((out / "evaluation.json").read_text())
    figures = {f["metric"]: f for f in report["differences"][0]["figures"]}
    for metric in ("exact_match", "json_valid", "json_keys", "json_fields"):
        found = figures[metric]["value"]
        assert (found["value"], found["low"], found["high"]) == (1, 1, 1)


def test_the_key_of_the_arms(test_file: Path, tmp_path: Path) -> None:
    """It is sent where it is named, and named only beside who is asked with it."""
    with StubServer(adds) as stub:
        arm = ["--arm", "tuned=tuned", "--base-url", stub.url, "--api-key-env", "OPENAI_API_KEY"]
        shown = evaluate("model", test_file, "--out", tmp_path / "out", *arm)
        assert shown.returncode == 0, shown.stderr
        assert set(stub.keys) == {"sk-none"}
    alone = evaluate("model", test_file, "--out", tmp_path / "o", "--api-key-env", "OPENAI_API_KEY")
    assert alone.returncode == 2
    assert "--api-key-env goes with --arm NAME=MODEL, or --judge MODEL" in alone.stderr


def served(name: str, url: str) -> dict[str, object]:
    """An arm of the file, which is YAML and so may be JSON."""
    return {"name": name, "model": {"model": name, "base_url": url, "max_in_flight": 4}}


def test_killed_evaluation_pays_nothing_twice(test_file: Path, tmp_path: Path) -> None:
    """After kill -9 in the second arm only calls in flight are asked again; then none is."""
    process: list[subprocess.Popen[bytes]] = []

    async def reply(body: Body) -> web.StreamResponse:
        if len(stub.bodies) == ROWS + 15 and process:
            os.kill(process[0].pid, signal.SIGKILL)
        return await adds(body)

    out, arms = tmp_path / "out", tmp_path / "arms.yaml"
    with StubServer(reply) as stub:
        arms.write_text(json.dumps({"arms": [served("base", stub.url), served("tuned", stub.url)]}))
        words: list[str | Path] = ["model", test_file, "--out", out, "--arms", arms]
        process.append(subprocess.Popen(command(*words), stderr=subprocess.DEVNULL))
        assert process[0].wait(timeout=600) == -signal.SIGKILL
        process.clear()
        assert not (out / "evaluation.json").exists()
        assert (out / "predictions-base.jsonl").exists()
        finished = evaluate(*words)
        assert finished.returncode == 0, finished.stderr
        counts = stub.counts()
    assert len(counts) == 2 * ROWS
    assert sum(count - 1 for count in counts.values()) <= 4  # max_in_flight
    report = json.loads((out / "evaluation.json").read_text())
    assert [arm["answered"] for arm in report["arms"]] == [ROWS, ROWS]


def test_refused_rows_are_counted(test_file: Path, tmp_path: Path) -> None:
    """What a server refuses is not answered: told with its reason, never scored silently."""
    out = tmp_path / "out"
    with StubServer(adds) as stub:
        stub.faults.extend([adds, status(400, message="too long", code="context_length_exceeded")])
        result = evaluate(
            "model", test_file, "--out", out, "--arm", "tuned=tuned", "--base-url", stub.url
        )
    assert result.returncode == 0, result.stderr
    assert "39 of 40" in result.stdout
    assert "tuned: 1 of 40 rows not answered (1 context), each counts 0" in result.stdout


def test_a_cap_stops_with_the_command_that_goes_on(test_file: Path, tmp_path: Path) -> None:
    """Exit code 3; the same command with a higher cap asks the rest alone."""
    words = ["model", str(test_file), "--out", str(tmp_path / "out"), "--arm", "tuned=tuned"]
    with StubServer(adds) as stub:
        words += ["--base-url", stub.url]
        stopped = evaluate(*words, "--max-calls", "10")
        assert stopped.returncode == 3
        assert stopped.stdout.splitlines()[-1].startswith("next: clear-pipeline evaluate model")
        finished = evaluate(*words, "--max-calls", "40")
        assert finished.returncode == 0, finished.stderr
        assert len(stub.bodies) == ROWS


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("", ["--arm", "a=m"], "no usable row"),
        ('{"prompt": "no reference"}\n', ["--arm", "a=m"], "no usable row"),
        (None, ["--arm", "a=m", "--arm", "a=n"], "two arms are called 'a'"),
        (None, ["--arm", "a"], "expected NAME=MODEL"),
        (None, ["--arm", "a=m", "--judge-form", "rating"], "--judge-form goes with --judge"),
    ],
)
def test_bad_input_is_exit_code_2(
    test_file: Path, tmp_path: Path, text: str | None, more: list[str], said: str
) -> None:
    """One line says what is wrong; nothing is asked."""
    if text is not None:
        test_file.write_text(text)
    with StubServer(adds) as stub:
        arms = [*more, "--base-url", stub.url]
        result = evaluate("model", test_file, "--out", tmp_path / "out", *arms)
        assert not stub.bodies
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_is_not_there_leaves_no_claim(test_file: Path, tmp_path: Path) -> None:
    """An arm that got no answer keeps no other name from asking the same."""
    words = ["model", str(test_file), "--out", str(tmp_path / "out")]
    with StubServer(adds) as stub:
        gone = stub.url
    result = evaluate(*words, "--arm", "typo=tuned", "--base-url", gone)
    assert result.returncode == 1
    with StubServer(adds) as stub:
        again = evaluate(*words, "--arm", "tuned=tuned", "--base-url", stub.url)
        assert again.returncode == 0, again.stderr
        other = evaluate(*words, "--arm", "other=tuned", "--base-url", stub.url)
    assert other.returncode == 2
    assert "other: would be given the answers of tuned" in other.stderr


def test_priced_work_is_not_begun_unasked(test_file: Path, tmp_path: Path) -> None:
    """Without a terminal and --yes an evaluation that costs money is exit code 2."""
    result = evaluate("model", test_file, "--out", tmp_path / "out", "--arm", "a=gpt-4.1-mini")
    assert result.returncode == 2
    assert "this evaluation costs money: gpt-4.1-mini" in result.stderr


def test_training_files_of_a_run(tmp_path: Path) -> None:
    """`evaluate arms` writes a directory per arm, says what is missing, and how to go on."""
    demo = Path(__file__).parents[2] / "data" / "demo"
    with StubServer() as stub:
        words = ["run", str(demo), "--out", str(tmp_path / "run"), "--base-url", stub.url]
        subprocess.run(
            [sys.executable, "-m", "clear_pipeline", *words, "--model", "stub"],
            check=True,
            capture_output=True,
            timeout=600,
        )
    result = evaluate("arms", tmp_path / "run", "--out", tmp_path / "arms")
    assert result.returncode == 0, result.stderr
    manifest = json.loads((tmp_path / "arms" / "arms.json").read_text())
    sizes = {arm["name"]: arm["rows"] for arm in manifest["arms"]}
    assert sizes["full"] == manifest["pool"] == 54
    assert sizes["random-half"] == sizes["auto-filter"] == 27
    assert sizes["auto-correct"] >= 27
    assert "no rating-half: no row has a rating" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("next: clear-pipeline finetune ")
    for arm in manifest["arms"]:
        lines = (tmp_path / "arms" / arm["file"]).read_text().splitlines()
        assert len(lines) == arm["rows"]
        assert all("messages" in json.loads(line) for line in lines)
