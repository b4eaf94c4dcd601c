"""Runs on a real Ray of two nodes, both here: the local engine's results, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pyarrow.parquet as pq
import pytest

from batch_server import BatchServer
from batch_visits import Visits
from benchmarks.million_data import written
from benchmarks.ray_equal import compared, differences
from clear_pipeline.config import build_config
from clear_pipeline.engine.cluster import connected, require_seen
from clear_pipeline.engine.ray import RayEngine
from clear_pipeline.errors import (
    BudgetExceededError,
    CallError,
    RunFailedError,
    TooManyFailuresError,
    UsageError,
)
from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.scripted import Reply, Script, ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.stages.base import SilentProgress
from clear_pipeline.store import Store
from scripted_run import reply

pytest.importorskip("ray", reason="needs the extra `ray`: pip install 'clear-pipeline[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of Ray's own

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
ROWS = 240


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[object]:
    """One cluster for all tests, one processor a node; workers import this copy of the package.

    Its value is what handled SIGTERM before.
    """
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            nodes.add_node(num_cpus=1)
            before = signal.getsignal(signal.SIGTERM)
            with connected(nodes.address):
                yield before
        finally:
            nodes.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tenth row repeats an earlier one, exactly or but for its last word."""
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            told = number - 5 if number % 10 == 9 else number
            words = " ".join(f"word{told}n{place}" for place in range(40))
            last = " too" if number % 20 == 19 else ""
            row = {"prompt": f"Number {told}? {words}", "completion": f"{told}: {words}{last}"}
            file.write(json.dumps(row) + "\n")
    return path


class Outcome:
    """A run with a scripted model, on either engine, that can be stopped and gone on with."""

    def __init__(self, data: Path, out: Path) -> None:
        self._data = data
        self.out = out
        self.asked: list[ChatRequest] = []

    def go(
        self,
        engine: str,
        *assignments: str,
        script: Script = reply,
        progress: SilentProgress | None = None,
    ) -> None:
        config = build_config(
            preset="fast",
            stages=["dedup", "score", "filter", "rectify"],
            assignments=["load.shard_rows=40", f"engine.kind={engine}", *assignments],
        )
        model = ScriptedChat(script)
        models = {"scorer": model, "candidate": model, "judge": model}
        try:
            Pipeline(config, models=models, progress=progress).run(self._data, out=self.out)
        finally:
            self.asked += model.requests

    @property
    def ledger(self) -> bytes:
        return (self.out / "ledger.parquet").read_bytes()


@pytest.fixture(scope="module")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = Outcome(data, tmp_path_factory.mktemp("local") / "run")
    outcome.go("local")
    return outcome


@pytest.fixture
def on_ray(data: Path, tmp_path: Path) -> Outcome:
    return Outcome(data, tmp_path / "run")


def kill(name: str) -> None:
    """Kill one process of this test's Ray by what it computes, which must be there."""
    family = psutil.Process().children(recursive=True)
    running = [process for process in family if name in " ".join(process.cmdline())]
    os.kill(running[0].pid, signal.SIGKILL)


def killing(name: str, at: set[int]) -> Script:
    """A script that kills a process of Ray at some of its questions."""
    asked = 0

    def script(request: ChatRequest, sample: int) -> Reply:
        nonlocal asked
        asked += 1
        if asked in at:
            kill(name)
        return reply(request, sample)

    return script


def test_the_ledger_is_the_local_engines(on_ray: Outcome, local: Outcome) -> None:
    """Byte for byte, with the same number of questions; duplicates are found on both."""
    on_ray.go("ray")
    assert on_ray.ledger == local.ledger
    assert len(on_ray.asked) == len(local.asked)
    fates = pq.read_table(on_ray.out / "ledger.parquet")["fate"].to_pylist()
    assert fates.count("duplicate") == ROWS // 10


def test_a_killed_worker_costs_its_shard_alone(on_ray: Outcome, local: Outcome) -> None:
    """Its shard is done again by another one, and no question is asked twice."""
    on_ray.go("ray", script=killing("ray::_annotate_shard", {30, 90}))
    assert on_ray.ledger == local.ledger
    assert len(on_ray.asked) == len(local.asked)


def test_engines_are_compared_on_rows_in_all_formats(tmp_path: Path) -> None:
    """The benchmark finds 600 rows equal on both engines, a worker killed in one of the runs."""
    data = written(600, tmp_path)
    outcomes = compared(data, tmp_path, rows=600, shard_rows=40)
    assert differences(outcomes) == []
    changed = [outcomes[0], outcomes[1], replace(outcomes[2], ledger=b"", questions=1, killed=0)]
    assert len(differences(changed)) == 3


def test_a_sweep_outlives_two_dead_workers(tmp_path: Path) -> None:
    """Results come in order, and the item that killed its worker twice is computed at last."""

    def tenfold(item: int) -> int:
        deaths = [tmp_path / "first", tmp_path / "second"]
        missing = [death for death in deaths if not death.exists()]
        if item == 3 and missing:
            missing[0].touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 10 * item

    engine = RayEngine(Store(tmp_path))
    with engine.shards("test", [], SilentProgress()) as shards:
        assert list(shards.spread(tenfold, range(6))) == [0, 10, 20, 30, 40, 50]
    assert (tmp_path / "second").exists()


def test_work_that_kills_every_worker_stops_the_run(tmp_path: Path) -> None:
    """The first worker and the three after it die; the message says what to do."""

    def deadly(item: int) -> int:
        with (tmp_path / "deaths").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
        return item

    engine = RayEngine(Store(tmp_path))
    with (
        engine.shards("test", [], SilentProgress()) as shards,
        pytest.raises(RunFailedError, match=r"test: Ray lost a process .* the same command"),
    ):
        list(shards.spread(deadly, [1]))
    assert (tmp_path / "deaths").read_text() == "xxxx"


def test_sigterm_is_not_taken_over(cluster: object) -> None:
    """Ray's own handler would end the process before the run has stored what was paid for."""
    assert signal.getsignal(signal.SIGTERM) is cluster


def test_a_dead_relay_stops_the_run_and_the_same_command_goes_on(
    on_ray: Outcome, local: Outcome
) -> None:
    """The message says so, and what was answered before is not asked again."""
    with pytest.raises(RunFailedError, match=r"score: Ray lost a process .* the same command"):
        on_ray.go("ray", script=killing("ray::Relay", {30}))
    on_ray.go("ray")
    assert on_ray.ledger == local.ledger
    assert len(on_ray.asked) == len(local.asked)


def test_a_cap_stops_the_run_as_on_the_local_engine(on_ray: Outcome, local: Outcome) -> None:
    """After exactly 50 calls, with the cap's figures; a higher one goes on with what was paid."""
    with pytest.raises(BudgetExceededError) as stopped:
        on_ray.go("ray", "budget.max_calls=50")
    assert (stopped.value.cap, stopped.value.limit) == ("max_calls", 50)
    assert len(on_ray.asked) == 50
    on_ray.go("local")
    assert on_ray.ledger == local.ledger
    assert len(on_ray.asked) == len(local.asked)


def test_ctrl_c_stops_a_run_that_the_other_engine_goes_on_with(
    on_ray: Outcome, local: Outcome
) -> None:
    """What was answered before it is not asked again."""
    asked = 0

    def interrupted(request: ChatRequest, sample: int) -> Reply:
        nonlocal asked
        asked += 1
        if asked == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return reply(request, sample)

    with pytest.raises(KeyboardInterrupt):
        on_ray.go("ray", script=interrupted)
    assert 30 <= len(on_ray.asked) < len(local.asked)
    on_ray.go("local")
    assert on_ray.ledger == local.ledger
    assert len(on_ray.asked) == len(local.asked)


def test_a_stage_stops_where_too_many_rows_fail(on_ray: Outcome) -> None:
    """Failures are counted over the shards of all workers."""

    def fails(request: ChatRequest, sample: int) -> Reply:
        raise CallError("outage", "nobody answers", transient=True)

    with pytest.raises(TooManyFailuresError, match="nobody answers"):
        on_ray.go("ray", script=fails)


def test_batches_are_waited_for_as_on_the_local_engine(tmp_path: Path) -> None:
    """As many rounds, the same questions once each, the same ledger."""
    ways = {}
    with BatchServer() as server:
        server.course = ("completed",)
        for engine in ("local", "ray"):
            visits = Visits(DEMO, tmp_path / engine, server.url)
            visits.stages = ["score", "filter", "rectify"]
            visits.settings = ["load.shard_rows=20", f"engine.kind={engine}"]
            run, waits = visits.finish()
            ways[engine] = waits, (run.path / "ledger.parquet").read_bytes()
        assert set(server.answered.values()) == {len(ways)}  # each of them asked it once
    assert ways["ray"] == ways["local"]


def test_the_command_starts_a_ray_of_its_own_and_ends_it(tmp_path: Path) -> None:
    """Ray says nothing of its own, and no process of it stays."""
    command = [sys.executable, "-m", "clear_pipeline", "run", str(DEMO), "--out", "run"]
    with TemporaryDirectory(prefix="ray-", dir="/tmp") as short:  # sockets have short paths
        ended = subprocess.run(
            [*command, "--stages", "dedup", "--engine", "ray", "--set", "engine.address=local"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": short},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert ended.returncode == 0, ended.stderr
        assert Path(short, "ray").is_dir()
        assert not [p for p in psutil.process_iter() if short in " ".join(_words(p))]
    assert "ray" not in (ended.stdout + ended.stderr).lower().split()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended, or is another user's
        return []


def test_a_node_that_does_not_see_the_run_directory_is_named(tmp_path: Path) -> None:
    """Before anything is computed, with what to do."""
    with pytest.raises(UsageError, match=r"not visible on node .* put --out on a file system"):
        require_seen(tmp_path / "elsewhere")
