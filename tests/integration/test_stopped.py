"""A run that is stopped by a signal: at once, in words, and to be taken up by the same command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from clear_pipeline.config import build_config
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.stages.base import SilentProgress
from stub_server import Body, StubServer, answer

DEMO = Path(__file__).parents[2] / "data" / "demo"
IN_FLIGHT = 4


IN_THE_BACKGROUND = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
"""In front of a command: Ctrl-C is ignored, as a shell has it for what it runs with `&`."""


@pytest.mark.parametrize(
    ("number", "before", "code", "told"),
    [
        (signal.SIGTERM, [], 143, "ended by SIGTERM"),
        (signal.SIGTERM, IN_THE_BACKGROUND, 143, "ended by SIGTERM"),
        (signal.SIGINT, [], 130, "interrupted"),
    ],
)
def test_a_run_that_is_ended_tells_how_it_goes_on(
    tmp_path: Path,
    number: signal.Signals,
    before: list[str],
    code: int,
    told: str,
) -> None:
    """One line and the command, no traceback; typed again, it asks only what was in flight."""
    process: list[subprocess.Popen[str]] = []

    async def reply(body: Body) -> web.StreamResponse:
        if len(stub.bodies) == 20 and process:
            os.kill(process[0].pid, number)
        return await answer(body)

    with StubServer(reply) as stub:
        words = ["run", str(DEMO), "--out", str(tmp_path / "my run"), "--model", "stub",
                 "--base-url", stub.url, "--stages", "dedup,score,filter",
                 "--set", f"models.scorer.max_in_flight={IN_FLIGHT}"]  # fmt: skip
        command = [sys.executable, "-m", "clear_pipeline"]
        whole = [*before, *command, *words]
        process.append(subprocess.Popen(whole, stdout=-1, stderr=-1, text=True))
        stdout, stderr = process[0].communicate(timeout=600)
        assert process.pop().returncode == code
        line = f"{told}; what was done is kept, and the same command goes on"
        assert stderr.splitlines()[-1] == line
        assert "Traceback" not in stderr
        (hint,) = stdout.splitlines()
        program, *typed = shlex.split(hint.removeprefix("next: "))
        assert (program, typed) == ("clear-pipeline", words)
        again = subprocess.run([*command, *typed], check=False, capture_output=True, timeout=600)
        assert again.returncode == 0, again.stderr
        repeats = sum(count - 1 for count in stub.counts().values())
    assert repeats <= IN_FLIGHT


INTERRUPTED_IMPORT = """
import signal, sys
from clear_pipeline.__main__ import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["clear-pipeline", "--version"]
main()
"""


def test_ctrl_c_before_the_program_is_imported_is_no_traceback() -> None:
    """It takes a second or so to import what reads the command line."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    told = "interrupted before anything was done\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", told)


class Stopped(SilentProgress):
    """Ctrl-C as soon as a step with this label has done its first rows."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._label = label
        self._current = ""
        self.advanced = 0

    def start(self, label: str, total: int) -> None:
        self._current = label

    def advance(self, rows: int = 1) -> None:
        if self._current == self._label:
            self.advanced += 1
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("label", ["dedup, reading", "export"])
def test_a_step_that_waits_for_nothing_is_stopped_within_it(tmp_path: Path, label: str) -> None:
    """Of the ten shards of the rows none is looked at after Ctrl-C; the same call goes on."""
    data, out = tmp_path / "rows.jsonl", tmp_path / "run"
    rows = [{"prompt": f"p {i}", "completion": f"c {i}"} for i in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = build_config(stages=["dedup"], assignments=["load.shard_rows=4"])
    progress = Stopped(label)
    with pytest.raises(KeyboardInterrupt):
        Pipeline(config, progress=progress).run(data, out=out)
    assert progress.advanced == 1
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert events[-1] == "stopped"
    assert Pipeline(config).run(data, out=out).ledger().num_rows == 40
