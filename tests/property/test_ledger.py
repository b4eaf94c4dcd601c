"""The ledger over arbitrary combinations of stage columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.ledger import assert_fates, fates, ledger_table
from clear_pipeline.schema import Example, Fate, Message, rows_table
from clear_pipeline.stages.base import alive_rows

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "contaminated_by": (pa.string(), st.sampled_from([None, "test:1"])),
    "duplicate_of": (pa.string(), st.sampled_from([None, "x:1"])),
    "duplicate_kind": (pa.string(), st.sampled_from([None, "exact", "near"])),
    "similarity": (pa.float64(), st.none() | st.floats(0, 1)),
    "score_status": (pa.string(), st.sampled_from([None, "scored", "unscored"])),
    "score_error": (pa.string(), st.sampled_from([None, "outage: gone"])),
    "keep": (pa.bool_(), st.sampled_from([None, True, False])),
    "filter_reason": (pa.string(), st.sampled_from([None, "low"])),
    "rectified": (pa.bool_(), st.sampled_from([None, True, False])),
    "rectify_reason": (pa.string(), st.sampled_from([None, "better"])),
}


@st.composite
def shards(draw: st.DrawFn) -> pa.Table:
    """A shard after any stages, its columns filled without regard to each other."""
    count = draw(st.integers(0, 6))
    table = rows_table(
        Example(
            f"x:{i}", "x", i, "openai", (Message("user", "q"),), Message("assistant", "a"), "{}"
        )
        for i in range(count)
    )
    for name in sorted(draw(st.sets(st.sampled_from(sorted(COLUMNS))))):
        kind, values = COLUMNS[name]
        cells = draw(st.lists(values, min_size=count, max_size=count))
        table = table.append_column(name, pa.array(cells, kind))
    return table


@given(shards(), st.integers(0, 3))
def test_fates_sum_to_the_input(table: pa.Table, quarantined: int) -> None:
    """Whatever the stages wrote, each row has one fate and a reason."""
    entries = [
        {"id": f"q:{i}", "file": "q", "line": i, "reason": "bad"} for i in range(quarantined)
    ]
    ledger = ledger_table([table], entries)
    counts = assert_fates([ledger], table.num_rows + quarantined)
    assert sum(counts.values()) == table.num_rows + quarantined
    assert counts[Fate.QUARANTINED] == quarantined


@given(shards())
def test_the_first_fate_that_holds_wins(table: pa.Table) -> None:
    """The order of `Fate` is the order of precedence."""
    for row, fate in zip(table.to_pylist(), fates(table)[0], strict=True):
        holds = {
            Fate.CONTAMINATED: row.get("contaminated_by") is not None,
            Fate.DUPLICATE: row.get("duplicate_of") is not None,
            Fate.UNSCORED: "score_status" in row and row["score_status"] != "scored",
            Fate.RECTIFIED: row.get("rectified") is True,
            Fate.FILTERED: row.get("keep") is False,
            Fate.KEPT: True,
        }
        assert fate == next(f for f in Fate if holds.get(f))


@given(shards())
def test_stages_and_ledger_agree_on_who_is_alive(table: pa.Table) -> None:
    """A row that later stages skip is not exported, and the other way round."""
    living = {Fate.RECTIFIED, Fate.FILTERED, Fate.KEPT}
    assert [fate in living for fate in fates(table)[0]] == alive_rows(table)


@given(shards(), st.randoms(use_true_random=False))
def test_permuting_rows_permutes_fates(table: pa.Table, shuffler: Any) -> None:  # noqa: ANN401
    """A row's fate depends on that row alone."""
    order = list(range(table.num_rows))
    shuffler.shuffle(order)
    fate, reason = fates(table)
    expected = ([fate[i] for i in order], [reason[i] for i in order])
    assert fates(table.take(pa.array(order, pa.int64()))) == expected
