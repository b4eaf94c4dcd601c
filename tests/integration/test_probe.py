"""The probe as a user has it: a process, a real server, a kill in the middle, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from calibration_rows import signals
from clear_pipeline.calibration import Marks, fit_marks, fit_ranking
from stub_server import Body, StubServer, answer

DEMO = Path(__file__).parents[2] / "data" / "demo"
SMALL = ("--rows", "12", "--per-corruption", "4")


def command(data: Path | str, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "clear_pipeline", "probe", str(data), "--out", str(out), *more]


def probe(data: Path | str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(data, out, *more),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_killed_probe_pays_nothing_twice(tmp_path: Path) -> None:
    """After kill -9 only calls in flight are asked again; a finished probe asks nothing."""
    process: list[subprocess.Popen[bytes]] = []

    async def reply(body: Body) -> web.StreamResponse:
        if len(stub.bodies) == 20 and process:
            os.kill(process[0].pid, signal.SIGKILL)
        return await answer(body)

    out = tmp_path / "probe"
    with StubServer(reply) as stub:
        options = ["--base-url", stub.url, "--model", "stub", *SMALL,
                   "--set", "models.scorer.max_in_flight=4"]  # fmt: skip
        process.append(subprocess.Popen(command(DEMO, out, *options), stderr=subprocess.DEVNULL))
        assert process[0].wait(timeout=600) == -signal.SIGKILL
        process.clear()
        assert not (out / "probe.json").exists()
        finished = probe(DEMO, out, *options)
        assert finished.returncode == 0, finished.stderr
        repeats = sum(count - 1 for count in stub.counts().values())
        asked = len(stub.bodies)
        again = probe(DEMO, out, *options, "--json")
        assert len(stub.bodies) == asked
    assert repeats <= 4  # max_in_flight
    assert json.loads(again.stdout) == json.loads((out / "probe.json").read_text())
    assert "win rate" in finished.stdout
    assert "AUROC is uncorrected" in finished.stdout
    assert "free of charge" in finished.stdout
    assert finished.stdout.splitlines()[-1].startswith("next: clear-pipeline ")
    assert (out / "probe.svg").stat().st_size > 0


def test_dead_server_is_one_line(tmp_path: Path) -> None:
    """Without a server: its URL in one line, exit 1."""
    with StubServer() as gone:
        dead = gone.url
    result = probe(DEMO, tmp_path / "probe", "--base-url", dead, "--model", "stub", *SMALL)
    assert result.returncode == 1
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("error:")]
    assert dead in line


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        ("nowhere", (), "no such file or directory"),
        (str(DEMO), ("--model", "gpt-x"), "this probe costs money"),
        (str(DEMO), ("--preset", "wild"), "preset"),
        (str(DEMO), ("--set", "score.reflections=1"), "unknown key"),
        (str(DEMO), ("--noise-rate", "1.5"), "expected a share from 0 to below 1"),
        (str(DEMO), ("--noise-rate", "nowhere.json"), "nowhere.json: cannot be read"),
    ],
)
def test_wrong_usage_is_exit_two(
    tmp_path: Path, data: str, options: tuple[str, ...], expected: str
) -> None:
    """Nothing readable, priced work without anybody to ask, unknown settings: exit 2."""
    result = probe(data, tmp_path / "probe", *options)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_the_noise_rate_may_be_that_of_marks(tmp_path: Path) -> None:
    """A calibration from marks gives its estimate; a ranking has none, and that is told."""
    bad = np.random.default_rng(1).random(400) < 0.3
    marks = Marks(np.arange(100), bad[:100])
    fitted, _ = fit_marks(signals(bad), marks, score="confidence")
    assert fitted.marks is not None
    fitted.save(tmp_path / "calibration.json")
    kinds, originals = ["", "cut"] * 30, [str(n // 2) for n in range(60)]
    ranking, _ = fit_ranking(
        signals(np.array(kinds) == "cut"), [kind or None for kind in kinds], originals
    )
    ranking.save(tmp_path / "ranking.json")
    with StubServer() as stub:
        served = ("--base-url", stub.url, "--model", "stub", *SMALL)
        with_marks, without = (
            probe(DEMO, tmp_path / "probe", *served, "--noise-rate", str(tmp_path / file))
            for file in ("calibration.json", "ranking.json")
        )
    assert with_marks.returncode == 0, with_marks.stderr
    report = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert report["noise_rate"] == fitted.marks.noise_rate.value
    assert f"corrected for {fitted.marks.noise_rate.value:.1%} bad originals" in with_marks.stdout
    assert without.returncode == 2
    assert "knows no noise rate; fit one on marks" in without.stderr


@pytest.mark.llm
def test_the_embedded_model_is_probed(tmp_path: Path) -> None:
    """Every row gets a score, and the tokens and minutes of 1,000 rows are told."""
    result = probe(DEMO, tmp_path / "probe", "--rows", "3", "--per-corruption", "1", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert "cannot check facts or arithmetic" in report["verdict"][-1]
    (preset,) = report["presets"]
    assert preset["preset"] == "likelihood"
    assert (preset["scored_originals"], preset["unscored"]) == (3, {})
    assert preset["cost"]["prompt_tokens"] > 0
    assert preset["cost"]["minutes"] > 0
