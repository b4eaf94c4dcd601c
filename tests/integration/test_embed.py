"""The stage `embed` in a run: what the files keep, what is asked again, and what it took."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from clear_pipeline.config import Config, build_config
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report.row_calls import row_calls
from clear_pipeline.schema import is_working
from stub_server import StubServer, status

TEXTS = ("one", "three", "thirteen")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three rows whose prompts and responses differ in length, which is what the server embeds."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": text, "response": text * 2} for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(server: StubServer) -> Config:
    embedder = {
        "model": "stub", "base_url": server.url, "max_attempts": 1,
        "price_per_mtok": {"input": 1, "output": 0},
    }  # fmt: skip
    return build_config(
        flags={"models": {"embedder": embedder}},
        stages=["embed"],
        assignments=["embed.via=endpoint", "embed.max_failed_fraction=1"],
    )


def vectors(run: Path) -> list[list[float] | None]:
    (part,) = (run / "embed").glob("part-*.parquet")
    table = pq.read_table(part)
    assert [field.name for field in table.schema if is_working(field)] == ["embedding"]
    found: list[list[float] | None] = table["embedding"].to_pylist()
    return found


def expected(text: str) -> list[float]:
    """The server's vector of a text is its length beside 1."""
    halves = [np.array([len(text), 1.0]), np.array([2 * len(text), 1.0])]
    return [float(v) for half in halves for v in half / np.linalg.norm(half) / np.sqrt(2)]


def test_vectors_of_an_endpoint_are_kept_and_counted(data: Path, tmp_path: Path) -> None:
    """In the shard file, not in the ledger; a second run asks nothing and changes no byte."""
    with StubServer() as server:
        run = Pipeline(config(server)).run(data, out=tmp_path / "run")
        first = (run.path / "ledger.parquet").read_bytes()
        asked = len(server.embedded)
        assert (
            sum(1 if isinstance(b["input"], str) else len(b["input"]) for b in server.embedded) == 6
        )
        again = Pipeline(config(server)).run(data, out=tmp_path / "run")
        assert len(server.embedded) == asked
    for found, text in zip(vectors(run.path), TEXTS, strict=True):
        assert found == pytest.approx(expected(text), abs=1e-3)
    assert (again.path / "ledger.parquet").read_bytes() == first
    assert "embedding" not in run.ledger_columns()
    row = run.row("rows.jsonl:1")
    (step,) = row_calls(run, row)
    assert (step.step, step.calls) == ("embedding", 2)
    assert step.usd == pytest.approx(step.prompt / 1e6)


def test_a_row_that_failed_is_asked_about_again(data: Path, tmp_path: Path) -> None:
    """Every request is refused at first; the run goes on, and its resume fills the gaps alone."""
    with StubServer() as server:
        server.faults += [status(503)] * 6
        run = Pipeline(config(server)).run(data, out=tmp_path / "run")
        assert vectors(run.path) == [None, None, None]
        assert all(
            said.startswith("outage: ") for said in run.ledger(["embed_error"])[0].to_pylist()
        )
        server.faults.clear()
        run = Pipeline(config(server)).run(data, out=tmp_path / "run")
    assert all(vectors(run.path))
    assert run.ledger(["embed_error"])[0].to_pylist() == [None, None, None]


@pytest.mark.skipif(find_spec("wordllama") is None, reason="needs the extra `semantic`: wordllama")
def test_the_local_model_needs_no_server(data: Path, tmp_path: Path) -> None:
    """Nothing is opened or counted; equal rows have equal vectors in every run."""
    settings = build_config(stages=["embed"])
    run, other = (Pipeline(settings).run(data, out=tmp_path / name) for name in ("run", "other"))
    assert vectors(run.path) == vectors(other.path)
    assert [len(vector or ()) for vector in vectors(run.path)] == [512, 512, 512]
    assert run.spend() == ""
