"""Models that run in this process: those of the catalogue, and files of the user's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.llm.catalog import DEFAULT_MODEL, embedded_model, model_named
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.pricing import FREE, prices
from clear_pipeline.llm.pull import obtain
from clear_pipeline.llm.settings import ModelSettings


def test_a_file_is_a_model(tmp_path: Path) -> None:
    """Its identity is its content, now; it costs nothing and is where it is."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"one")
    settings = ModelSettings(model=str(path))
    model = embedded_model(settings)
    assert model is not None
    assert obtain(model, note=print) == path
    assert model_identity(settings) == f"weights:{hashlib.sha256(b'one').hexdigest()}"
    assert prices(settings) is FREE
    path.write_bytes(b"other")
    assert model_identity(settings) == f"weights:{hashlib.sha256(b'other').hexdigest()}"


def test_a_file_that_is_not_there() -> None:
    """It is named, and not taken for a name at a provider."""
    with pytest.raises(UsageError, match=r"no/such\.gguf: no such file"):
        embedded_model(ModelSettings(model="no/such.gguf"))


def test_what_a_server_calls_so_is_its_own(tmp_path: Path) -> None:
    """With base_url a name that ends like a file is the server's."""
    served = ModelSettings(model="no/such.gguf", base_url="http://127.0.0.1:1/v1")
    assert embedded_model(served) is None


def test_names() -> None:
    """The catalogue's are known; others that are no files are a provider's."""
    known = model_named(DEFAULT_MODEL)
    assert known is not None
    assert known.path is None
    assert model_named("gpt-4.1-mini") is None


def test_a_file_gets_the_usual_chain(tmp_path: Path) -> None:
    """Nobody measured that it cannot judge, so rectify is in."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"one")
    config = build_config(flags={"models": {"scorer": {"model": str(path)}}})
    assert [stage.kind for stage in config.stages][-1] == "rectify"
