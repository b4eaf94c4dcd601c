"""The comparison with the peers, in front of a real server: counted, resumed, no text kept."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.confidence import measure
from benchmarks.rectify import Case
from benchmarks.results_file import read_results
from benchmarks.systems import Endpoint, NoScoreError, Peer
from clear_pipeline.errors import UsageError
from clear_pipeline.schema import Example, Message
from stub_server import Body, StubServer, answer, status

SYSTEMS = ["fast", "best", "length", "random"]
ROWS = 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    rows = (
        {
            "prompt": f"secret question {n}",
            "completion": f"secret answer {n}",
            "label": "bad" if n % 2 else "good",
            "clean_completion": "x",
            "split": "tune",
        }
        for n in range(ROWS + 2)
    )
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def arguments(server: StubServer, data: Path, *systems: str, rows: int = ROWS) -> Namespace:
    return Namespace(
        data=[data],
        split="tune",
        rows=rows,
        base_url=server.url,
        model="stub",
        results=data.with_name("scores.jsonl"),
        systems=systems,
        peers=data.parent,
        timeout=1.0,
        again_failed=False,
        balanced=False,
        part=slice(None),
    )


def command(args: Namespace) -> list[str]:
    return [
        sys.executable, "-m", "benchmarks.confidence", "measure", str(args.data[0]),
        "--split", args.split, "--rows", str(args.rows), "--base-url", args.base_url,
        "--model", args.model, "--results", str(args.results), "--systems", *args.systems,
    ]  # fmt: skip


def test_each_row_is_asked_about_once_per_system_though_the_run_is_killed(data: Path) -> None:
    """Killed at its eighth question and resumed: only the row in flight is asked about again."""

    async def kill(body: Body) -> web.StreamResponse:
        process.kill()
        return await answer(body)

    with StubServer(answer, llama_slots=1) as server:
        args = arguments(server, data, *SYSTEMS)
        server.faults.extend([*[answer] * 7, kill])
        process = subprocess.Popen(command(args))
        assert process.wait() != 0
        before = read_results(args.results)
        asked = len(server.bodies)
        asyncio.run(measure(args))
    results = read_results(args.results)
    assert results[: len(before)] == before
    assert 0 < len(before) < len(results) == ROWS * len(SYSTEMS)
    calls = {name: [r.calls for r in results if r.system == name] for name in SYSTEMS}
    assert calls == {"fast": [2] * 4, "best": [2] * 4, "length": [0] * 4, "random": [0] * 4}
    # A row of either takes 2 calls, so no more than that are asked twice.
    assert asked == 8
    assert 4 * (2 + 2) <= len(server.bodies) <= 4 * (2 + 2) + 2
    assert all(r.prompt_tokens == 10 * r.calls for r in results)
    # The first question of each system about a row profits from no other system's.
    fresh = [body.get("cache_prompt") for body in server.bodies[:6]]
    assert fresh == [False, None] * 3
    assert "secret" not in args.results.read_text()


def test_a_row_without_a_score_keeps_the_reason_and_is_asked_again_on_order(data: Path) -> None:
    """An error is a result and not asked about again, unless `--again-failed` is given."""
    with StubServer(answer) as server:
        server.faults.extend([answer, answer, status(400, message="no such luck")])
        args = arguments(server, data, "fast", rows=2)
        for again, scored in ((False, [False, True]), (False, [False, True]), (True, [True, True])):
            args.again_failed = again
            asyncio.run(measure(args))
            assert [r.score is not None for r in read_results(args.results)] == scored
        # Three about rows, and whether the server scores text in either process that asks.
        assert len(server.bodies) == 3 + 2 * 2
    assert "no such luck" in json.loads(args.results.read_text().splitlines()[0])["error"]


def test_results_of_another_model_split_or_file_of_the_same_name_are_no_start(data: Path) -> None:
    """What was measured there would count as done here: refused before the first question."""
    other = data.parent / "other" / data.name
    other.parent.mkdir()
    other.write_text(data.read_text())
    with StubServer(answer) as server:
        args = arguments(server, data, "length", rows=2)
        asyncio.run(measure(args))
        before = args.results.read_text()
        for change, message in (
            ({"model": "larger"}, "is of stub, split tune, and this is larger, split tune"),
            ({"split": "report"}, "is of stub, split tune, and this is stub, split report"),
            ({"data": [data, other]}, "two files are called set"),
        ):
            with pytest.raises(UsageError, match=message):
                asyncio.run(measure(Namespace(**vars(args) | change)))
        assert server.bodies == []
    assert args.results.read_text() == before


def test_a_system_that_cannot_be_measured_is_left_out(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The likelihood needs grammars, and a peer its environment; the others go on."""
    with StubServer(answer) as server:
        args = arguments(server, data, "likelihood", "tlm", "length", rows=2)
        asyncio.run(measure(args))
    assert [r.system for r in read_results(args.results)] == ["length", "length"]
    said = capsys.readouterr().out
    assert "likelihood is left out: " in said
    assert "tlm is left out: its worker does not start" in said


WORKER = """
import json, sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    response = json.loads(line)["response"]
    if response == "die":
        sys.exit(1)
    score = None if response == "refuse" else 0.25
    print(json.dumps({"score": score, "error": "I do not like it"}), flush=True)
"""


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    (tmp_path / "odd_worker.py").write_text(WORKER)
    python = tmp_path / "odd" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return Peer(Endpoint("", "m", tmp_path, seconds=20.0, workers=tmp_path), "odd", "m")


def asked(response: str) -> Case:
    example = Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", "q"),),
        target=Message("assistant", response),
        original="{}",
    )
    return Case(example, bad=False, clean="")


def test_a_peer_that_dies_costs_its_row_and_is_started_again(peer: Peer) -> None:
    """A refusal is a reason, a death too, and the row after it has its score."""

    async def scores() -> list[float | str]:
        found: list[float | str] = []
        for response in ("fine", "refuse", "die", "fine"):
            try:
                found.append(await peer.score(asked(response)))
            except NoScoreError as error:
                found.append(str(error))
        await peer.close()
        return found

    first, refused, died, last = asyncio.run(scores())
    assert (first, refused, last) == (0.25, "I do not like it", 0.25)
    assert str(died).startswith("the worker ended")
