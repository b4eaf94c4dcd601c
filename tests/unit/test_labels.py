"""Labels files: what is read, what is told, what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.labels import Labels, listed, read_labels
from clear_pipeline.evaluate.matching import match

MARKS = [{"id": "x", "label": "good"}, {"id": "y", "label": "Bad"}, {"id": "z", "label": None}]
JSONL = "\n".join(json.dumps(mark) for mark in MARKS)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", JSONL.encode(), 3),
        ("a.json", json.dumps(MARKS).encode(), 3),
        ("a.csv", b"id,label\nx,good\ny,Bad\nz,\n", 4),
        ("a.jsonl.gz", gzip.compress(JSONL.encode(), mtime=0), 3),
    ],
)
def test_labels_are_read_from_every_container(
    tmp_path: Path, name: str, content: bytes, line: int
) -> None:
    """JSONL, JSON, CSV, compressed: the same marks; a row without a label is told by its line."""
    (tmp_path / name).write_bytes(content)
    assert read_labels(tmp_path / name) == Labels({"x": False, "y": True}, unlabelled=(line,))


def test_labels_are_read_from_parquet(tmp_path: Path) -> None:
    """Numbers are ids as well as words are; 1 is good and 0 bad, as true and false are."""
    table = pa.table({"key": [7, 8], "ok": [True, False], "stars": [1, 0]})
    pq.write_table(table, tmp_path / "a.parquet")
    for column in ("ok", "stars"):
        labels = read_labels(tmp_path / "a.parquet", id_column="key", label_column=column)
        assert labels.bad == {"7": False, "8": True}


def test_the_label_of_bad_rows_can_be_named(tmp_path: Path) -> None:
    """Every other label is good then, and a filter leaves rows out."""
    path = tmp_path / "a.csv"
    path.write_text("id,verdict,split\na,spam,report\nb,ham,report\nc,eggs,report\nd,spam,tune\n")
    labels = read_labels(path, label_column="verdict", bad="spam", where={"split": "report"})
    assert labels == Labels({"a": True, "b": False, "c": False}, excluded=1)


def test_rows_of_no_use_are_told_by_their_lines(tmp_path: Path) -> None:
    """Broken lines and rows without id or label: how many, and the first five of their lines."""
    path = tmp_path / "a.jsonl"
    path.write_text(JSONL + "\n{broken\n" + '{"id": "", "label": 1}\n' * 6)
    labels = read_labels(path)
    assert (labels.unreadable, labels.unlabelled) == ((4,), (3, 5, 6, 7, 8, 9, 10))
    assert labels.remarks() == [
        "rows of the labels file that cannot be read: 1 (line 4)",
        "rows of the labels file without an id or a label, left out: 7 (line 3, 5, 6, 7, 8, ...)",
    ]
    assert Labels({"x": True}, excluded=9).remarks() == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": "a", "label": "spam"}', r"a\.jsonl:1: label 'spam'.*--bad LABEL"),
        (
            "a.jsonl",
            '{"id": "a", "label": 1}\n{"id": "a", "label": 0}',
            "a.jsonl:2: id 'a' is marked good and bad",
        ),
        ("a.jsonl", '{"key": "a", "label": 1}', "found 'key', 'label'. "),
        ("a.jsonl", "no JSON", "no row has a value in id and label.*1 cannot be read"),
        ("a.csv", "id,label\na,\n", "no row has a value in id and label.*1 lack an id or a label"),
        ("a.jsonl", "", r"no labels \(empty\)"),
        (
            "a.csv",
            "id,fault\na,1\n",
            "needs a column 'id' .* 'label' of labels; found 'id', 'fault'",
        ),
        ("a.tsv", "id\tfault\na\t1\n", "found 'id', 'fault'. .*--id COLUMN --column COLUMN"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    """With the place, what was found and the option to use."""
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as refused:
        read_labels(path)
    assert "--map" not in str(refused.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path / "missing.csv")


@pytest.mark.parametrize("column", ["is_bad", "Wrong", "label_errors", "incorrect", "noisy"])
@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        ("true,false", "--bad true or --bad false"),
        ("False,True", "--bad false or --bad true"),
        ("1,0", "--bad 1 or --bad 0"),
        ("0.0,1.0", "--bad 0 or --bad 1"),
    ],
)
def test_a_column_that_speaks_of_bad_rows_is_not_guessed(
    tmp_path: Path, column: str, cells: str, hint: str
) -> None:
    """1 and true may be the bad rows there: refused until --bad says so, then taken at its word."""
    path = tmp_path / "a.csv"
    first, second = cells.split(",")
    path.write_text(f"id,{column}\nx,{first}\ny,{second}\n")
    with pytest.raises(UsageError, match=f"a.csv:2: {column} is '{first}'.* good or bad: .*{hint}"):
        read_labels(path, label_column=column)
    bad = hint.split()[1]
    assert read_labels(path, label_column=column, bad=bad).bad == {"x": True, "y": False}


def test_words_say_what_they_mean_in_any_column(tmp_path: Path) -> None:
    """Good and bad need no --bad, whatever their column is called."""
    path = tmp_path / "a.csv"
    path.write_text("id,error\nx,good\ny,bad\n")
    assert read_labels(path, label_column="error").bad == {"x": False, "y": True}


def test_whole_numbers_with_decimals_are_whole_numbers(tmp_path: Path) -> None:
    """A blank turns 1 into 1.0 in a table of pandas: still good, and 0.0 bad."""
    path = tmp_path / "a.csv"
    path.write_text("id,label\nx,1.0\ny,0.0\nz,\n")
    assert read_labels(path) == Labels({"x": False, "y": True}, unlabelled=(4,))
    assert read_labels(path, bad="1").bad == {"x": True, "y": False}


def test_a_label_of_bad_rows_that_no_row_has_is_refused(tmp_path: Path) -> None:
    """A misspelt one would make every row good; the labels that are there are named."""
    path = tmp_path / "a.csv"
    path.write_text("id,label\nx,spam\ny,Ham\n")
    with pytest.raises(UsageError, match=r"no label is 'spma'.*there are spam, ham"):
        read_labels(path, bad="spma")


LEDGER = pa.table({"id": ["d.csv:1", "d.csv:2", "d.csv:3"], "source_id": [" a ", "a", "b"]})


def test_white_space_at_the_ends_of_an_id_goes_only_where_no_row_has_it(tmp_path: Path) -> None:
    """A row is marked by its id as it is; an id that a hand wrote with a space still finds one."""
    path = tmp_path / "a.csv"
    path.write_text('id,label,weight\n" a ",good,2\na,bad,3\nb ,good,4\n c,bad,5\n')
    found = match(LEDGER, read_labels(path))
    assert found.labels.bad == {" a ": False, "a": True, "b": False, "c": True}
    assert found.labels.weights == {" a ": 2, "a": 3, "b": 4, "c": 5}
    assert (found.column, found.unknown, found.ambiguous) == ("source_id", ("c",), ())


@pytest.mark.parametrize(
    ("second", "message"),
    [("b ,bad,2", "id 'b' is marked good and bad"), ("b ,good,3", "id 'b' has two weights")],
)
def test_marks_that_contradict_without_white_space_are_refused(
    tmp_path: Path, second: str, message: str
) -> None:
    """Two writings of one id are one id."""
    path = tmp_path / "a.csv"
    path.write_text(f"id,label,weight\nb,good,2\n{second}\n")
    with pytest.raises(UsageError, match=message):
        match(LEDGER, read_labels(path))


WEIGHTED = "id,label,weight\na,good,2\nb,bad,3\n"


def test_weights_are_those_of_the_column_weight_if_there_is_one(tmp_path: Path) -> None:
    """Without a name of a column; a file without such a column has no weights."""
    path = tmp_path / "a.csv"
    path.write_text(WEIGHTED)
    assert read_labels(path).weights == {"a": 2.0, "b": 3.0}
    path.write_text(WEIGHTED.replace("weight", "rows"))
    assert read_labels(path).weights == {}
    assert read_labels(path, weight_column="rows").weights == {"a": 2.0, "b": 3.0}


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (WEIGHTED, "wieght", "no column 'wieght' of weights; found id, label, weight"),
        (WEIGHTED.replace("2", "").replace("3", ""), "weight", "2 marks have no weight, such as"),
        (WEIGHTED.replace("3", ""), None, "1 marks have no weight, such as 'b'"),
        (WEIGHTED.replace("3", "-1"), None, "a.csv:3: weight '-1'"),
        (WEIGHTED + "a,good,5\n", None, "a.csv:4: id 'a' has the weights 2 and 5"),
    ],
)
def test_wrong_weights_are_refused(
    tmp_path: Path, content: str, column: str | None, message: str
) -> None:
    """A column asked for exists, all marks have one weight above 0, or none has any."""
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_labels(path, weight_column=column)


def test_an_error_lists_a_thousand_ids_one_per_line() -> None:
    """The rest are counted, and what a terminal would obey is quoted."""
    assert listed(["a b", "c\x1b[2J"]) == "  a b\n  'c\\x1b[2J'"
    lines = listed([str(n) for n in range(1003)]).splitlines()
    assert len(lines) == 1001
    assert lines[-2:] == ["  999", "  and 3 more"]
