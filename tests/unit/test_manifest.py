"""The manifest and its journal: what was finished is there again, at a cost that does not grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from clear_pipeline.errors import DamagedRunError
from clear_pipeline.manifest import MANIFEST, PREVIOUS, Manifest, Part, StageRecord

JOURNAL = MANIFEST + ".journal"


def part(number: int) -> Part:
    return Part(fingerprint=f"{number:032x}", sha256=f"{number:064x}", rows=1000)


def entered(directory: Path, parts: int, *, kind: str = "score") -> Manifest:
    """A manifest on the disk whose stage has entered so many parts since it was written."""
    manifest = Manifest.read(directory) or Manifest(package_version="1", dataset="d", source="d")
    manifest.save(directory)
    record = StageRecord(kind=kind, version=1, settings={"k": 1})
    for number in range(parts):
        record.parts[f"{number:016x}"] = part(number)
        manifest.usage = {"model": {"requests": number + 1}}
        manifest.enter(directory, record, f"{number:016x}")
    return manifest


def parts_of(directory: Path, kind: str = "score") -> list[str]:
    manifest = Manifest.read(directory)
    record = manifest.stage(kind) if manifest is not None else None
    return [] if record is None else list(record.parts)


def test_entered_parts_are_read_back(tmp_path: Path) -> None:
    """What was entered after the manifest was written is read as if it stood in it."""
    manifest = entered(tmp_path, 3)

    assert Manifest.read(tmp_path) == manifest


def test_a_part_costs_the_same_however_many_there_are(tmp_path: Path) -> None:
    """The tenth part adds as many bytes as the second, and rewrites nothing."""
    entered(tmp_path, 10)

    lines = (tmp_path / JOURNAL).read_bytes().split(b"\n")[1:]
    assert len(lines) == 10
    assert len(lines[9]) - len(lines[1]) == 1  # "2" requests, then "10"
    assert b"score" not in (tmp_path / MANIFEST).read_bytes()


def test_saving_takes_the_journal_in(tmp_path: Path) -> None:
    """A whole manifest holds the parts itself, and the next journal begins anew."""
    manifest = entered(tmp_path, 2)
    manifest.save(tmp_path)

    assert not (tmp_path / JOURNAL).exists()
    assert Manifest.read(tmp_path) == manifest


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_line_that_was_cut_short_costs_its_own_part(tmp_path: Path, cut: int) -> None:
    """After a power cut within a line the parts before it are there, and later ones go on."""
    manifest = entered(tmp_path, 3)
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-cut])
    assert parts_of(tmp_path) == [f"{n:016x}" for n in range(2)]

    record = manifest.stage("score")
    assert record is not None
    record.parts["f" * 16] = part(9)
    manifest.enter(tmp_path, record, "f" * 16)

    assert parts_of(tmp_path) == [f"{0:016x}", f"{1:016x}", "f" * 16]


def test_a_flipped_bit_in_the_journal_costs_its_own_part(tmp_path: Path) -> None:
    """A line that does not match its checksum is not there; those around it are."""
    entered(tmp_path, 3)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'"rows":1000', b'"rows":1001')
    path.write_bytes(b"\n".join(lines))

    assert parts_of(tmp_path) == [f"{0:016x}", f"{2:016x}"]


def test_a_damaged_manifest_costs_no_part(tmp_path: Path) -> None:
    """The manifest before, with both journals, has every part that was entered."""
    entered(tmp_path, 2, kind="dedup")
    entered(tmp_path, 3)
    (tmp_path / MANIFEST).write_text("{")

    assert parts_of(tmp_path, "dedup") == [f"{n:016x}" for n in range(2)]
    assert parts_of(tmp_path) == [f"{n:016x}" for n in range(3)]
    (tmp_path / PREVIOUS).write_text("{")
    with pytest.raises(DamagedRunError, match=r"manifest\.json: is cut off or damaged"):
        Manifest.read(tmp_path)


def test_a_journal_that_was_taken_in_is_not_read_again(tmp_path: Path) -> None:
    """A process killed after a whole manifest and before its journal's turn leaves no old part."""
    manifest = entered(tmp_path, 2)
    stale = (tmp_path / JOURNAL).read_bytes()
    record = StageRecord(kind="score", version=2, settings={"k": 2})
    manifest.put_stage(record)
    manifest.save(tmp_path)
    (tmp_path / JOURNAL).write_bytes(stale)

    assert parts_of(tmp_path) == []
    record.parts["f" * 16] = part(9)
    manifest.enter(tmp_path, record, "f" * 16)
    assert parts_of(tmp_path) == ["f" * 16]


def test_killed_between_the_names(tmp_path: Path) -> None:
    """With the old manifest already moved and the new one not yet there, nothing is lost."""
    entered(tmp_path, 2)
    (tmp_path / MANIFEST).replace(tmp_path / PREVIOUS)

    assert parts_of(tmp_path) == [f"{n:016x}" for n in range(2)]
