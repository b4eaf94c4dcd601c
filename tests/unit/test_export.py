"""Export: what reaches the training files, and where the rest is told of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from clear_pipeline.errors import NoSurvivorsError, UsageError
from clear_pipeline.export import EXPORT_FORMATS, ExportSettings, export, is_exported
from clear_pipeline.schema import MESSAGE, Example, Message, rows_table

ALL_TRAIN = {"valid_fraction": 0.0}
QUARANTINE = [
    {"id": "x.jsonl:9", "file": "x.jsonl", "line": 9, "reason": "broken JSON", "text": "{"}
]


def row(line: int, *, answer: str = "4", **extra: str) -> Example:
    source = {"prompt": f"2 + {line}?", "completion": answer, **extra}
    return Example(
        id=f"x.jsonl:{line}",
        file="x.jsonl",
        line=line,
        format="prompt-completion",
        messages=(Message("user", source["prompt"]),),
        target=Message("assistant", answer),
        original=json.dumps(source),
    )


def table(rows: Sequence[Example], **columns: pa.Array) -> pa.Table:
    made = rows_table(rows)
    for name, values in columns.items():
        made = made.append_column(name, values)
    return made


def run(made: pa.Table, out: Path, **settings: Any) -> Any:  # noqa: ANN401
    return export([made], [], out, ExportSettings(**{**ALL_TRAIN, **settings}))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judged(rows: Sequence[Example], keep: Sequence[bool], *, new: str | None = None) -> pa.Table:
    """Rows after filter and rectify; with `new`, the first row is rectified to it."""
    targets = [None] * len(rows)
    made = [asdict(Message("assistant", new)), *targets[1:]] if new else targets
    return table(
        rows,
        score_status=pa.array(["scored"] * len(rows)),
        keep=pa.array(keep),
        filter_reason=pa.array(["why"] * len(rows)),
        rectified=pa.array([new is not None, *[False] * (len(rows) - 1)]),
        new_target=pa.array(made, MESSAGE),
    )


def test_kept_rows_are_written_in_input_order(tmp_path: Path) -> None:
    """What the filter keeps is in train.jsonl, what it drops in removed.jsonl with the reason."""
    result = run(judged([row(1), row(2), row(3)], [True, False, True]), tmp_path)
    asked = [line["messages"][0]["content"] for line in lines(tmp_path / "train.jsonl")]
    assert asked == ["2 + 1?", "2 + 3?"]
    assert lines(tmp_path / "removed.jsonl") == [
        {
            "id": "x.jsonl:2",
            "file": "x.jsonl",
            "line": 2,
            "fate": "filtered",
            "reason": "why",
            "original": {"prompt": "2 + 2?", "completion": "4"},
        }
    ]
    assert (result.train, result.valid, result.removed) == (2, 0, 1)


def test_rectified_row_has_its_new_target_and_both_texts_are_kept(tmp_path: Path) -> None:
    """The training file has the new text, rectified.jsonl the old one beside it."""
    result = run(judged([row(1), row(2)], [False, True], new="3"), tmp_path)
    first = lines(tmp_path / "train.jsonl")[0]
    assert first["messages"][-1] == {"role": "assistant", "content": "3"}
    [changed] = lines(tmp_path / "rectified.jsonl")
    assert (changed["id"], changed["before"], changed["after"]) == ("x.jsonl:1", "4", "3")
    assert result.rectified == 1


def test_row_of_the_same_format_is_faithful(tmp_path: Path) -> None:
    """Unknown columns survive; a rectified row differs in its target alone."""
    rows = [row(1, topic="sums"), row(2, topic="sums")]
    run(judged(rows, [True, True], new="3"), tmp_path, format="prompt-completion")
    assert lines(tmp_path / "train.jsonl") == [
        {"prompt": "2 + 1?", "completion": "3", "topic": "sums"},
        {"prompt": "2 + 2?", "completion": "4", "topic": "sums"},
    ]


@pytest.mark.parametrize("name", [f for f in EXPORT_FORMATS if f != "parquet"])
def test_extra_columns_can_be_dropped(tmp_path: Path, name: str) -> None:
    """`drop` leaves the columns of the format alone, also where source and format are the same."""
    made = table([row(1, topic="sums")])
    run(made, tmp_path / "keep", format=name)
    run(made, tmp_path / "drop", format=name, extra_columns="drop")
    [kept] = lines(tmp_path / "keep" / "train.jsonl")
    [dropped] = lines(tmp_path / "drop" / "train.jsonl")
    assert kept == {**dropped, "topic": "sums"}
    assert "topic" not in dropped


def test_parquet_holds_the_whole_conversation(tmp_path: Path) -> None:
    """One row per example, the target as the last message."""
    made = table([row(1)], confidence=pa.array([0.75]))
    run(made, tmp_path, format="parquet")
    [line] = pq.read_table(tmp_path / "train.parquet").to_pylist()
    assert [(m["role"], m["content"]) for m in line["messages"]] == [
        ("user", "2 + 1?"),
        ("assistant", "4"),
    ]
    assert (line["id"], line["confidence"]) == ("x.jsonl:1", 0.75)
    assert json.loads(line["original"]) == {"prompt": "2 + 1?", "completion": "4"}


def test_row_that_the_format_cannot_express_keeps_its_fate(tmp_path: Path) -> None:
    """It is listed as kept, with the reason why it is not in the file."""
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    source = [{"role": m.role, "content": m.content} for m in (*turns, Message("assistant", "d"))]
    long = replace(
        row(2),
        format="openai",
        messages=turns,
        target=Message("assistant", "d"),
        original=json.dumps({"messages": source}),
    )
    result = run(table([row(1), long]), tmp_path, format="alpaca")
    [removed] = lines(tmp_path / "removed.jsonl")
    assert removed["fate"] == "kept"
    assert removed["reason"].startswith("not expressible as alpaca: ")
    assert (result.train, result.inexpressible, result.removed) == (1, 1, 1)


@pytest.mark.parametrize(("on_unscored", "exported"), [("drop", 1), ("keep", 2)])
def test_unscored_rows_are_exported_on_request_only(
    tmp_path: Path, on_unscored: Literal["drop", "keep"], exported: int
) -> None:
    """A row without a score is not good by default."""
    made = table([row(1), row(2)], score_status=pa.array(["scored", "unscored"]))
    assert run(made, tmp_path, on_unscored=on_unscored).train == exported
    settings = ExportSettings(on_unscored=on_unscored)
    assert is_exported(made, settings, own_columns=True) == [True, exported == 2]


def test_quarantined_rows_are_listed_with_their_text(tmp_path: Path) -> None:
    """What could not be read is in removed.jsonl too."""
    export([table([row(1)])], QUARANTINE, tmp_path, ExportSettings(valid_fraction=0))
    assert lines(tmp_path / "removed.jsonl") == [
        {
            "id": "x.jsonl:9",
            "file": "x.jsonl",
            "line": 9,
            "fate": "quarantined",
            "reason": "quarantined: broken JSON",
            "text": "{",
        }
    ]


def test_split_sizes_follow_the_fraction(tmp_path: Path) -> None:
    """Of 1,000 rows about 20 % are held out, and every row is in one of the two files."""
    made = table([row(i) for i in range(1, 1001)])
    result = run(made, tmp_path, valid_fraction=0.2)
    assert result.train + result.valid == 1000
    assert 160 <= result.valid <= 240  # three standard deviations
    assert len(lines(tmp_path / "valid.jsonl")) == result.valid


def test_files_of_an_earlier_export_do_not_stay(tmp_path: Path) -> None:
    """After an export in another format no training file of the old one is mistaken for new."""
    made = table([row(i) for i in range(1, 30)])
    run(made, tmp_path, valid_fraction=0.5)
    run(made, tmp_path, format="parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "rectified.jsonl",
        "removed.jsonl",
        "train.parquet",
    ]


def test_nothing_to_export_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    """An empty training file is never the outcome; the old files stay."""
    run(table([row(1)]), tmp_path)
    before = (tmp_path / "train.jsonl").read_bytes()
    with pytest.raises(NoSurvivorsError, match="none of 1 rows was kept"):
        run(judged([row(1)], [False]), tmp_path)
    assert (tmp_path / "train.jsonl").read_bytes() == before
    assert not list(tmp_path.glob(".export*"))


def test_exports_at_the_same_time_are_apart(tmp_path: Path) -> None:
    """One that another process makes in the midst of it leaves each file whole, and nothing on."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".export.{ended.pid}.tmp").mkdir()  # as a killed one leaves it

    def meanwhile() -> Iterator[pa.Table]:
        yield table([row(1), row(2)])
        other = get_context("spawn").Process(target=run, args=(table([row(3)]), tmp_path))
        other.start()
        other.join()
        assert other.exitcode == 0
        assert len(lines(tmp_path / "train.jsonl")) == 1
        yield table([row(4)])

    result = export(meanwhile(), [], tmp_path, ExportSettings(valid_fraction=0))
    assert result.train == 3
    asked = [line["messages"][0]["content"] for line in lines(tmp_path / "train.jsonl")]
    assert asked == ["2 + 1?", "2 + 2?", "2 + 4?"]
    assert not list(tmp_path.glob(".export*"))


def test_unknown_format_names_the_known_ones() -> None:
    """A typo is answered with the list."""
    with pytest.raises(ValidationError, match="openai, sharegpt, alpaca, prompt-completion, parq"):
        ExportSettings(format="opnai")


def test_rows_of_several_files_get_the_names_of_the_format(tmp_path: Path) -> None:
    """`question`/`answer` columns keep their names only in a set of one file."""
    asked = replace(
        row(1), original=json.dumps({"question": "2 + 1?", "answer": "4", "topic": "sums"})
    )
    kept = table([asked])
    settings = ExportSettings(format="prompt-completion", valid_fraction=0.0)
    export([kept], [], tmp_path / "one", settings)
    export([kept], [], tmp_path / "several", settings, own_columns=False)
    assert lines(tmp_path / "one" / "train.jsonl")[0].keys() == {"question", "answer", "topic"}
    (mixed,) = lines(tmp_path / "several" / "train.jsonl")
    assert mixed == {"prompt": "2 + 1?", "completion": "4", "topic": "sums"}


@pytest.mark.parametrize("extra", ["keep", "drop"])
def test_rows_of_several_files_are_read_without_the_map_that_chose_their_columns(
    tmp_path: Path, extra: Literal["keep", "drop"]
) -> None:
    """A column that the map passed over makes way, so that what is exported can be loaded."""
    mapped = replace(row(1, question="Which one?"), format='prompt-completion{"prompt":"prompt"}')
    settings = ExportSettings(format="prompt-completion", valid_fraction=0.0, extra_columns=extra)

    export([table([mapped])], [], tmp_path, settings, own_columns=False)

    (written,) = lines(tmp_path / "train.jsonl")
    carried = {"source_question": "Which one?"} if extra == "keep" else {}
    assert written == {"prompt": "2 + 1?", "completion": "4"} | carried


def test_files_of_others_are_neither_replaced_nor_deleted(tmp_path: Path) -> None:
    """A directory with training files that no export wrote is refused as it is."""
    for name in ("train.jsonl", "valid.parquet"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UsageError, match=f"{name}: no export wrote this file"):
            export([table([row(1)])], [], folder, ExportSettings())
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(name, "mine")]
