"""A run that a cap stops, as a user has it: exit code 3, what is left, the command that goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clear_pipeline.llm.budget import count_of
from stub_server import Body, StubServer, answer, status

DEMO = Path(__file__).parents[2] / "data" / "demo"
CHAIN = ("--stages", "dedup,score,filter")


def start(*words: str | Path) -> subprocess.Popen[str]:
    """The command line as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "clear_pipeline", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
    )


def cli(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line, to its end."""
    process = start(*words)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def run_words(server: StubServer, out: Path, *more: str) -> list[str]:
    return ["run", str(DEMO), "--out", str(out), "--base-url", server.url, "--model", "stub",
            *CHAIN, *more]  # fmt: skip


def status_of(run: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cli("status", run, "--json").stdout)
    return told


def next_words(stdout: str) -> list[str]:
    """The words of the command that a command names at its end."""
    (line,) = [line for line in stdout.splitlines() if line.startswith("next: clear-pipeline ")]
    return shlex.split(line.removeprefix("next: clear-pipeline "))


def test_the_named_commands_lead_to_the_end(tmp_path: Path) -> None:
    """Each run stops at its cap with 3; the last comes to what a run without caps hands over.

    `status` names the higher cap that the run did, and its command goes on as well.
    """
    with StubServer() as server:
        calm = cli(*run_words(server, tmp_path / "calm"))
        assert calm.returncode == 0, calm.stderr
        needed = len(server.bodies)
        server.bodies.clear()
        words, stops = run_words(server, tmp_path / "run", "--max-calls", "15"), 0
        while (result := cli(*words)).returncode == 3:
            stops += 1
            cap = int(words[-1])
            assert len(server.bodies) == cap
            assert f"stopped by max_calls: {cap:,} of {cap:,} calls" in result.stderr
            assert "Left to do: score of" in result.stderr
            assert "then filter" in result.stderr
            told = status_of(tmp_path / "run")
            assert str(told["spend"]).startswith(f"{cap:,} of {cap:,} calls")
            look = cli("status", tmp_path / "run").stdout
            assert f"{cap:,} of {cap:,} calls" in look
            words = next_words(look)
            assert told["next"] == [shlex.join(["clear-pipeline", *words])]
            assert words[-2:] == next_words(result.stdout)[-2:]
            assert words[-2] == "--max-calls"
            assert int(words[-1]) >= 2 * cap
        assert result.returncode == 0, result.stderr
        assert 1 <= stops <= 3  # doubled alone, 15 would take four
        assert len(server.bodies) == needed
        assert set(server.counts().values()) == {1}
        ledgers = [(tmp_path / name / "ledger.parquet").read_bytes() for name in ("calm", "run")]
        assert ledgers[0] == ledgers[1]
        assert f"{needed:,} of" in (tmp_path / "run" / "report.html").read_text()
        again = cli(*run_words(server, tmp_path / "run", "--max-calls", "1"))
    assert again.returncode == 0, again.stderr
    assert "score: up to date" in again.stderr
    assert len(server.bodies) == needed


@pytest.mark.parametrize("price", ["{input: 1.0, output: 2.0}", "{input: 0, output: 0}"])
def test_a_hopeless_cap_is_told_before_the_first_call(tmp_path: Path, price: str) -> None:
    """With one that does, also by `estimate`, and the command that goes on from the stop has it."""
    priced = ("--yes", "--set", f"models.scorer.price_per_mtok={price}")
    hopeless = r"^--max-calls 1 will not suffice, --max-calls (\d+) would$"
    with StubServer() as server:
        words = run_words(server, tmp_path / "run", *priced, "--max-calls", "1")
        stopped = cli(*words)
        assert stopped.returncode == 3
        assert len(server.bodies) == 1
        (enough,) = re.findall(hopeless, stopped.stderr, re.MULTILINE)
        again = next_words(stopped.stdout)
        assert again[-1] == enough
        foreseen = cli("estimate", *(word for word in again[1:-1] if word != "--yes"), "1")
        assert re.search(hopeless, foreseen.stdout, re.MULTILINE)
        assert cli(*again).returncode == 0


def test_a_cap_hides_no_outage(tmp_path: Path) -> None:
    """That all its calls failed is told beside the cap that they used up."""
    with StubServer() as server:
        server.faults.extend([status(500)] * 9)
        stopped = cli(*run_words(server, tmp_path / "run", "--max-calls", "3"))
    assert stopped.returncode == 3
    assert "3 requests failed (3 outage)" in stopped.stderr


def test_a_cap_is_suggested_until_something_else_stops_the_run(tmp_path: Path) -> None:
    """`status` names the command that goes on from the last stop, not from an earlier one."""
    out = tmp_path / "run"
    with StubServer() as server:
        words = run_words(server, out)
        assert cli(*words, "--max-calls", "15").returncode == 3
        assert "--max-calls" in next_words(cli("status", out).stdout)
    assert cli(*words).returncode == 1  # nobody answers any more
    assert "--max-calls" not in next_words(cli("status", out).stdout)


def test_requests_of_a_killed_run_are_unaccounted(tmp_path: Path) -> None:
    """They count at their bound from then on, in status, report and manifest, over all resumes."""
    victim: list[subprocess.Popen[str]] = []
    out = tmp_path / "run"

    async def deadly(body: Body) -> web.StreamResponse:
        if len(server.bodies) == 30:
            victim[0].kill()
        if len(server.bodies) >= 30 and victim[0].returncode is None:
            await asyncio.Event().wait()  # it is dead, and nobody waits for this answer
        return await answer(body)

    with StubServer(deadly) as server:
        words = run_words(server, out, "--max-tokens", "1000000")
        victim.append(start(*words))
        victim[0].communicate(timeout=600)
        assert victim[0].returncode == -signal.SIGKILL
        sent = len(server.bodies)
        lost = usage_of(out)["unaccounted"]
        assert 1 <= lost["calls"] <= 64
        assert lost["tokens"] >= 512 * lost["calls"]
        result = cli(*words)
        assert result.returncode == 0, result.stderr
        resent = len(server.bodies) - sent
    usage = usage_of(out)
    assert usage["unaccounted"] == lost
    # What was entered and never reached the server counts as well.
    assert sent + resent <= usage["requests"] <= sent + resent + lost["calls"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["usage"]["stub"]["unaccounted"] == lost
    assert manifest["budget"] == {"max_tokens": 1_000_000}
    for text in (cli("status", out).stdout, (out / "report.html").read_text()):
        assert f"({count_of(lost['calls'], 'call')} unaccounted" in " ".join(text.split())


def usage_of(run: Path) -> dict[str, Any]:
    """What its one model did, as `status` tells."""
    usage: dict[str, Any] = status_of(run)["usage"]["stub"]
    return usage


def test_a_probe_stops_at_its_cap(tmp_path: Path) -> None:
    """With the same exit code, and the command that goes on."""
    words = ["probe", str(DEMO), "--out", str(tmp_path), "--rows", "4", "--per-corruption", "1",
             "--model", "stub", "--max-calls", "2"]  # fmt: skip
    with StubServer() as server:
        result = cli(*words, "--base-url", server.url)
    assert result.returncode == 3, result.stderr
    assert len(server.bodies) == 2
    assert "The probe is not finished" in result.stderr
    assert next_words(result.stdout)[-2:] == ["--max-calls", "4"]


def test_a_cap_in_dollars_needs_a_price(tmp_path: Path) -> None:
    """Refused with exit code 2 before anything is read; the message says how to give one."""
    result = cli("run", DEMO, "--out", tmp_path / "run", "--model", "homegrown", "--yes",
                 "--base-url", "https://models.example.com/v1", "--max-usd", "1")  # fmt: skip
    assert result.returncode == 2
    assert "homegrown: the price is not known" in result.stderr
    assert "price_per_mtok" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("cap", "told"), [("2.5", "$2.50"), ("0.00001", "$0.00001")])
def test_whoever_agrees_to_a_price_is_told_the_cap(cap: str, told: str, tmp_path: Path) -> None:
    """Priced work asks first, and says what it can cost at most."""
    price = "models.scorer.price_per_mtok={input: 1, output: 1}"
    with StubServer() as server:
        result = cli(*run_words(server, tmp_path / "run", "--set", price, "--max-usd", cap))
        assert not server.bodies
    assert result.returncode == 2
    assert f"costs money, at most {told}: stub at prices as configured" in " ".join(
        result.stderr.split()
    )


@pytest.mark.parametrize("option", ["--max-usd", "--max-tokens", "--max-calls"])
def test_a_cap_is_no_negative_number(option: str, tmp_path: Path) -> None:
    """Wrong usage, exit code 2."""
    assert cli("run", DEMO, "--out", tmp_path / "run", option, "-1").returncode == 2
