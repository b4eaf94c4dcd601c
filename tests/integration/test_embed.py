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


def test_rows_of_one_meaning_are_duplicates(tmp_path: Path) -> None:
    """The server's vectors tell lengths apart and no more; the number keeps the third row."""
    data = tmp_path / "rows.jsonl"
    pairs = [
        ("What is the capital of France?", "The capital is Paris."),
        ("Name the capital city of France.", "Paris is the capital."),
        ("What is the 2nd city of France?", "The 2nd one is Marseille."),
        ("Hi", "Yo"),
    ]
    data.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in pairs))
    with StubServer() as server:
        given = config(server).model_dump()
        given["stages"] = [*given["stages"], {"kind": "dedup", "method": "semantic"}]
        run = Pipeline(Config.model_validate(given)).run(data, out=tmp_path / "run")
    told = run.ledger(["fate", "duplicate_of", "duplicate_kind"]).to_pylist()
    assert [row["duplicate_of"] for row in told] == [None, "rows.jsonl:1", None, None]
    assert (told[1]["fate"], told[1]["duplicate_kind"]) == ("duplicate", "near")


local = pytest.mark.skipif(
    find_spec("wordllama") is None, reason="needs the extra `semantic`: wordllama"
)


@local
def test_word_vectors_find_rows_of_the_same_words(tmp_path: Path) -> None:
    """The order of words does not count, and neither does a word more; another number does."""
    data = tmp_path / "rows.jsonl"
    request = "List {} ways in which a small town can save water during a long dry summer"
    answer = "Fix leaking pipes, collect the rain of the winter, and water gardens at night{}."
    pairs = [
        (request.format("three"), answer.format("")),
        (request.format("3").replace("List", "Please list"), answer.format(" only")),
        (request.format("four"), answer.format("")),
        ("Who wrote Hamlet?", "William Shakespeare."),
    ]
    data.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in pairs))
    settings = build_config(
        stages=["embed", "dedup"], assignments=["dedup.method=semantic", "dedup.threshold=0.9"]
    )
    run = Pipeline(settings).run(data, out=tmp_path / "run")
    told = run.ledger(["duplicate_of"])[0].to_pylist()
    assert told == [None, "rows.jsonl:1", None, None]


@local
def test_the_local_model_needs_no_server(data: Path, tmp_path: Path) -> None:
    """Nothing is opened or counted; equal rows have equal vectors in every run."""
    settings = build_config(stages=["embed"])
    run, other = (Pipeline(settings).run(data, out=tmp_path / name) for name in ("run", "other"))
    assert vectors(run.path) == vectors(other.path)
    assert [len(vector or ()) for vector in vectors(run.path)] == [512, 512, 512]
    assert run.spend() == ""
