"""The ledger: one line per input row, one fate, a reason that a person understands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.errors import DamagedRunError
from clear_pipeline.ledger import (
    LEDGER,
    ROWS_PER_GROUP,
    assert_fates,
    fates,
    ledger_table,
    write_ledger,
)
from clear_pipeline.schema import Example, Fate, Message, rows_table
from clear_pipeline.stages.base import Stage
from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.filter import Filter
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.score import Score

QUARANTINE = [
    {"id": "x.jsonl:9", "file": "x.jsonl", "line": 9, "reason": "broken JSON", "text": "{"}
]


def rows(count: int, *, file: str = "x.jsonl") -> pa.Table:
    return rows_table(
        Example(
            id=f"{file}:{line}",
            file=file,
            line=line,
            format="openai",
            messages=(Message("user", f"question {line}"),),
            target=Message("assistant", "answer"),
            original="{}",
        )
        for line in range(1, count + 1)
    )


def with_columns(table: pa.Table, **columns: Any) -> pa.Table:  # noqa: ANN401
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def one(**columns: Any) -> tuple[Fate, str]:  # noqa: ANN401
    """Fate and reason of a single row with these stage columns."""
    table = with_columns(rows(1), **{name: [value] for name, value in columns.items()})
    [fate], [reason] = fates(table)
    return fate, reason


FILTERED = {
    "score_status": "scored",
    "keep": False,
    "filter_reason": "confidence 0.213 < 0.482 (median)",
}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, (Fate.KEPT, "not scored in this run")),
        ({"score_status": "scored"}, (Fate.KEPT, "scored, not filtered in this run")),
        (
            {"duplicate_of": "x.jsonl:3", "duplicate_kind": "near", "similarity": 0.912},
            (Fate.DUPLICATE, "duplicate of x.jsonl:3 (near, similarity 0.91)"),
        ),
        (
            {"duplicate_of": "x.jsonl:3", "duplicate_kind": "exact", "similarity": 1.0},
            (Fate.DUPLICATE, "duplicate of x.jsonl:3 (exact)"),
        ),
        (
            {"score_status": "unscored", "score_error": "outage: no answer"},
            (Fate.UNSCORED, "unscored: outage: no answer"),
        ),
        (FILTERED, (Fate.FILTERED, "confidence 0.213 < 0.482 (median)")),
        (
            {**FILTERED, "rectified": True, "rectify_reason": "candidate preferred 0.93 > 0.8"},
            (
                Fate.RECTIFIED,
                "rectified: candidate preferred 0.93 > 0.8; confidence 0.213 < 0.482 (median)",
            ),
        ),
        (
            {**FILTERED, "rectified": False, "rectify_reason": "candidate failed: outage: x"},
            (Fate.FILTERED, "candidate failed: outage: x; confidence 0.213 < 0.482 (median)"),
        ),
        (
            {"contaminated_by": "test.jsonl:1", "duplicate_of": "x.jsonl:3"},
            (Fate.CONTAMINATED, "contaminated by test.jsonl:1"),
        ),
        (
            {
                "contaminated_by": "test.jsonl:1",
                "contamination_reason": '3 of 4 13-grams, first "a"',
            },
            (Fate.CONTAMINATED, 'contaminated by test.jsonl:1: 3 of 4 13-grams, first "a"'),
        ),
    ],
)
def test_fate_and_reason(columns: dict[str, Any], expected: tuple[Fate, str]) -> None:
    """Each fate says why in words and figures."""
    assert one(**columns) == expected


def test_row_without_a_status_is_unscored_not_kept() -> None:
    """Where score ran, a row that it did not score is never exported as if it were good."""
    table = with_columns(rows(1), score_status=pa.array([None], pa.string()))
    assert fates(table) == ([Fate.UNSCORED], ["unscored: no score was recorded"])


def test_columns_are_stable_and_parts_follow() -> None:
    """The base columns are always there; what a stage added beyond them comes after, kept."""
    table = with_columns(rows(1), confidence=[0.5], score_status=["scored"], reflection=[0.25])
    ledger = ledger_table([table], [])
    assert ledger.column_names == [*LEDGER.names, "reflection"]
    assert ledger["confidence"].to_pylist() == [0.5]
    assert ledger["reflection"].to_pylist() == [0.25]
    assert ledger["candidate"].to_pylist() == [None]


@pytest.mark.parametrize(
    "stage",
    [Decontaminate(against=("b",)), Dedup(), Score(), Filter(), Rectify()],
    ids=lambda s: s.name,
)
def test_columns_have_the_types_of_their_stage(stage: Stage) -> None:
    """No value changes on its way into the ledger."""
    shared = [field for field in stage.adds() if field.name in LEDGER.names]
    assert shared
    assert [LEDGER.field(field.name).type for field in shared] == [f.type for f in shared]


def test_quarantined_rows_stand_at_the_end() -> None:
    """A row that could not be used is in the ledger with its place and reason."""
    ledger = ledger_table([rows(2), rows(1, file="y.jsonl")], QUARANTINE)
    assert ledger["id"].to_pylist() == ["x.jsonl:1", "x.jsonl:2", "y.jsonl:1", "x.jsonl:9"]
    last = ledger.to_pylist()[-1]
    assert (last["fate"], last["reason"], last["line"]) == (
        "quarantined",
        "quarantined: broken JSON",
        9,
    )


def test_run_of_quarantined_rows_only_has_a_ledger() -> None:
    """Without any shard the base columns hold."""
    assert ledger_table([], QUARANTINE).schema == LEDGER


def test_written_ledger_is_the_table_and_equal_byte_for_byte(tmp_path: Path) -> None:
    """Writing part by part gives the same rows, and the same bytes again."""
    tables = [rows(2), rows(3, file="y.jsonl")]
    counts = write_ledger(tmp_path / "a.parquet", iter(tables), QUARANTINE, input_rows=6)
    write_ledger(tmp_path / "b.parquet", iter(tables), QUARANTINE, input_rows=6)
    assert pq.read_table(tmp_path / "a.parquet") == ledger_table(tables, QUARANTINE)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert {f: n for f, n in counts.items() if n} == {Fate.QUARANTINED: 1, Fate.KEPT: 5}
    assert list(counts) == list(Fate)


def test_the_cut_of_the_shards_leaves_no_trace(tmp_path: Path) -> None:
    """The same rows in other shards are the same file, beyond one group of rows too."""
    table = rows(ROWS_PER_GROUP + 5, file="y.jsonl")
    halves = [table.slice(0, 7_000), table.slice(7_000)]
    for name, tables in (("whole", [table]), ("halves", halves)):
        write_ledger(tmp_path / name, tables, QUARANTINE, input_rows=ROWS_PER_GROUP + 6)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "halves").read_bytes()
    metadata = pq.read_metadata(tmp_path / "whole")
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert groups == [ROWS_PER_GROUP, 6]


def test_a_missing_row_is_an_error_and_leaves_no_ledger(tmp_path: Path) -> None:
    """Fates that do not sum to the input are never written."""
    with pytest.raises(DamagedRunError, match="sum to 2, but 3 rows"):
        write_ledger(tmp_path / "ledger.parquet", [rows(2)], [], input_rows=3)
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_stands_twice_is_an_error() -> None:
    """Equal ids cannot both be accounted for."""
    with pytest.raises(DamagedRunError, match="1 rows stand in it twice"):
        assert_fates([ledger_table([rows(1), rows(1)], [])], 2)


def test_an_unknown_fate_is_an_error() -> None:
    """Only the fates of the schema are counted."""
    with pytest.raises(DamagedRunError, match="lost"):
        assert_fates([pa.table({"id": ["a"], "fate": ["lost"]})], 1)
