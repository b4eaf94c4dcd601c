"""A damaged file of answers gives way to a sound one, whatever lies beside it."""

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from clear_pipeline.errors import UnwritableError
from clear_pipeline.llm.answers import Answer, Answers, sha256_of
from clear_pipeline.llm.base import Choice, Usage
from clear_pipeline.llm.rescue import set_damaged_aside

PAGE = 4096
"""Bytes of a page of SQLite; the third one holds answers, as the second is the root."""


def answer(question: str) -> Answer:
    """Ten of them take more than one page."""
    return Answer(Choice(question * 300, "stop"), "m", Usage(prompt=1, completion=1))


def store(path: Path, questions: Iterable[str]) -> None:
    with closing(Answers(path)) as answers:
        for question in questions:
            answers.write(question, {0: answer(question)})


def stored(path: Path, questions: Iterable[str]) -> set[str]:
    """Which of the questions have their answer."""
    with closing(Answers(path)) as answers:
        return {q for q in questions if answers.read(q, [0]) == {0: answer(q)}}


def leave_as_killed(path: Path, folder: Path) -> Path:
    """What a process that is killed now leaves of its files."""
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, folder)
    return folder / path.name


def hurt(path: Path, page: int) -> None:
    """Overwrite one page, counted from 0."""
    with path.open("rb+") as file:
        file.seek(page * PAGE)
        file.write(b"\xff" * PAGE)


def check(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA quick_check").fetchone()[0])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_each_rescue_leaves_those_before_it_alone(tmp_path: Path) -> None:
    """Damaged three times: three files aside, none overwritten, each new one sound."""
    path, aside = tmp_path / "c", {}
    questions = [f"q{n}" for n in range(40)]
    for name in ("c.damaged", "c.damaged-2", "c.damaged-3"):
        store(path, questions)
        hurt(path, 2)
        told = set_damaged_aside(path)
        assert told is not None
        assert f"set aside as {name}, " in told
        assert check(path) == "ok"
        kept = stored(path, questions)
        assert f", {len(kept)} answers taken over" in told
        assert 0 < len(kept) < 40
        aside[name] = (tmp_path / name).read_bytes()
    assert names(tmp_path) == {"c", *aside}
    assert all((tmp_path / name).read_bytes() == content for name, content in aside.items())


def test_log_of_an_earlier_rescue_is_not_read(tmp_path: Path) -> None:
    """A log beside the old name holds other pages: read with the new file it would spoil it."""
    path, other = tmp_path / "run" / "c", tmp_path / "other" / "c"
    path.parent.mkdir()
    other.parent.mkdir()
    with closing(Answers(other)) as answers:
        for number in range(40):
            answers.write(f"old{number}", {0: answer("old")})
        killed = leave_as_killed(other, tmp_path / "killed")
    log = path.with_name("c.damaged-wal")
    shutil.copy(killed.with_name("c-wal"), log)
    before = log.read_bytes()
    questions = [f"q{n}" for n in range(40)]
    store(path, questions)
    hurt(path, 2)
    told = set_damaged_aside(path)
    assert told is not None
    assert "set aside as c.damaged-2, " in told
    assert check(path) == "ok"
    assert stored(path, questions)
    assert log.read_bytes() == before
    assert names(path.parent) == {"c", "c.damaged-2", "c.damaged-wal"}


def test_answers_in_the_log_of_a_killed_process_are_taken_over(tmp_path: Path) -> None:
    """Forty answers are in the damaged file, ten more in its log alone: those ten are kept."""
    old, new = [f"q{n}" for n in range(40)], [f"new{n}" for n in range(10)]
    (tmp_path / "run").mkdir()
    store(tmp_path / "run" / "c", old)
    with closing(Answers(tmp_path / "run" / "c")) as answers:
        for question in new:
            answers.write(question, {0: answer(question)})
        path = leave_as_killed(tmp_path / "run" / "c", tmp_path / "killed")
    assert {"c-wal"} < names(path.parent)
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    for page in range(2, pages):  # those that were written since stand in the log, and are sound
        hurt(path, page)
    told = set_damaged_aside(path)
    assert told is not None
    assert check(path) == "ok"
    assert stored(path, new) == set(new)
    assert names(path.parent) == {"c", "c.damaged"}


def test_a_process_killed_while_it_changes_the_files_over_loses_nothing(tmp_path: Path) -> None:
    """The new file waits under another name; the log of the old one is not taken for its own."""
    path = tmp_path / "c"
    questions = [f"q{n}" for n in range(10)]
    store(path, questions)
    path.replace(tmp_path / "c.rescued")
    (tmp_path / "c.damaged").write_bytes(b"old")
    (tmp_path / "c-wal").write_bytes(b"log of the old file")
    told = set_damaged_aside(path)
    assert told is not None
    assert told.startswith(f"{path}: damaged, and set aside by a run that was killed; ")
    assert set_damaged_aside(path) is None
    assert check(path) == "ok"
    assert stored(path, questions) == set(questions)
    assert (tmp_path / "c.damaged").read_bytes() == b"old"
    assert (tmp_path / "c.damaged-2-wal").read_bytes() == b"log of the old file"


def test_a_rescue_that_cannot_be_written_leaves_the_file_where_it_was(tmp_path: Path) -> None:
    """The new file's name is taken by a folder: an error that names it, and nothing is moved."""
    path = tmp_path / "c"
    store(path, [f"q{n}" for n in range(40)])
    hurt(path, 2)
    (tmp_path / "c.rescued").mkdir()
    with pytest.raises(UnwritableError, match=r"c\.rescued"):
        set_damaged_aside(path)
    assert names(tmp_path) == {"c", "c.rescued"}


KEY, CHECKSUM = 13 + 2 * 64, 13 + 2 * 16
"""SQLite's numbers for the types of a key and a checksum, texts of 64 and 16 bytes."""


def retype(path: Path, question: str, types: list[tuple[int, int]]) -> None:
    """Overwrite the types of a row's key, value and checksum: each a number, in so many bytes."""
    content = bytearray(path.read_bytes())
    begin = content.index(sha256_of(f"{question}:0").encode())
    new = b"".join(varint(number, width) for number, width in types)
    content[begin - len(new) : begin] = new
    path.write_bytes(content)


def varint(number: int, width: int) -> bytes:
    """Seven bits a byte, the highest first; all bytes but the last have the eighth bit set."""
    sevens = [number >> 7 * place & 0x7F for place in reversed(range(width))]
    return bytes([*(0x80 | seven for seven in sevens[:-1]), sevens[-1]])


def length_of_value(path: Path, question: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT length(value) FROM answers WHERE key = ?"
        return int(db.execute(query, (sha256_of(f"{question}:0"),)).fetchone()[0])


def test_an_answer_whose_value_reads_as_null_is_not_there(tmp_path: Path) -> None:
    """The checksum has its bytes: asked again, and no crash; its neighbour is read."""
    path = tmp_path / "c"
    store(path, ["q", "r"])
    length = length_of_value(path, "q")
    retype(path, "q", [(KEY, 2), (0, 1), (CHECKSUM + 2 * length, 2)])
    with closing(Answers(path)) as answers:
        assert answers.read("q", [0]) == {}
        assert answers.read("r", [0]) == {0: answer("r")}


def test_a_row_whose_key_reads_as_a_number_is_not_taken_over(tmp_path: Path) -> None:
    """It stands in a range with a sound row, which is kept."""
    path = tmp_path / "c"
    first, second = _neighbours()
    store(path, [first, second])
    length = length_of_value(path, second)
    retype(path, second, [(1, 1), (12 + 2 * (length + 63), 3), (CHECKSUM, 1)])
    told = set_damaged_aside(path)
    assert told is not None
    assert ", 1 answers taken over" in told
    assert stored(path, [first, second]) == {first}


def _neighbours() -> tuple[str, str]:
    """Two questions, in the order of their keys, whose keys begin with the same 3 digits."""
    seen: dict[str, str] = {}
    for number in count(10):
        question = f"q{number}"
        key = sha256_of(f"{question}:0")
        if (other := seen.setdefault(key[:3], question)) != question:
            first, second = sorted((question, other), key=lambda q: sha256_of(f"{q}:0"))
            return first, second
    raise AssertionError


def test_sound_file_stays(tmp_path: Path) -> None:
    """Nothing is told, moved or left beside it; where there is no file none is made."""
    path = tmp_path / "c"
    assert set_damaged_aside(path) is None
    assert names(tmp_path) == set()
    store(path, ["q"])
    before = path.read_bytes()
    assert set_damaged_aside(path) is None
    assert path.read_bytes() == before
    assert names(tmp_path) == {"c"}


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_no_flipped_bit_of_the_schema_loses_an_answer(tmp_path: Path, bit: int) -> None:
    """Whichever letter it hits, also where SQLite's own message is no text any more."""
    whole = tmp_path / "whole.sqlite"
    store(whole, "abc")
    sound = whole.read_bytes()
    begin = sound.index(b"CREATE TABLE answers")
    for place in range(begin, begin + 90):
        flipped = bytearray(sound)
        flipped[place] ^= bit
        path = tmp_path / f"{place}.sqlite"
        path.write_bytes(flipped)
        set_damaged_aside(path)
        assert stored(path, "abc") == set("abc")
        store(path, "d")
        assert stored(path, "abcd") == set("abcd")
        assert check(path) == "ok"


def test_a_file_of_another_program_is_moved_and_not_changed(tmp_path: Path) -> None:
    """Whoever's it is finds it under the name that is told, with its own table in it."""
    path = tmp_path / "c"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE notes (text TEXT)")
        db.execute("INSERT INTO notes VALUES ('mine')")
    before = path.read_bytes()
    told = set_damaged_aside(path)
    assert told is not None
    assert "set aside as c.damaged, 0 answers taken over" in told
    assert (tmp_path / "c.damaged").read_bytes() == before
    store(path, "a")
    assert stored(path, "a") == {"a"}
