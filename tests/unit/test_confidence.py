"""Which confidence counts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.export import ExportSettings, export
from clear_pipeline.ledger import ledger_part, ledger_schema
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.confidence import final_confidence

CHEAP = [0.1, 0.2, None]
CASCADED = [0.3, None, None]
CALIBRATED = [None, 0.5, None]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, [None, None, None]),
        ({"confidence": CHEAP}, CHEAP),
        ({"confidence": CHEAP, "cascaded": CASCADED}, [0.3, 0.2, None]),
        ({"confidence": CHEAP, "calibrated": CALIBRATED}, CALIBRATED),
        ({"confidence": CHEAP, "cascaded": CASCADED, "calibrated": CALIBRATED}, CALIBRATED),
    ],
)
def test_the_most_refined_confidence_counts(
    columns: dict[str, list[float | None]], expected: list[float | None]
) -> None:
    """The cascade's where it has one; a calibration's scale is never mixed with another."""
    typed = {name: pa.array(values, pa.float64()) for name, values in columns.items()}
    table = pa.table({"id": ["a", "b", "c"], **typed})
    assert final_confidence(table).to_pylist() == expected
    assert final_confidence(table).type == pa.float64()


def table_with(**columns: float) -> pa.Table:
    example = Example(
        id="a:1",
        file="a",
        line=1,
        format="openai",
        messages=(Message("user", "2 + 2?"),),
        target=Message("assistant", "4"),
        original="{}",
    )
    table = rows_table([example])
    for name, value in columns.items():
        table = table.append_column(name, pa.array([value], pa.float64()))
    return table


def test_the_ledger_holds_the_final_confidence_and_the_parts() -> None:
    """`confidence` is what the filter compared; the refined column stands beside it."""
    table = table_with(confidence=0.2, reflection=0.2, cascaded=0.7)
    line = ledger_part(table, ledger_schema(table.schema)).to_pylist()[0]
    assert (line["confidence"], line["cascaded"], line["reflection"]) == (0.7, 0.7, 0.2)


def test_the_export_holds_the_final_confidence(tmp_path: Path) -> None:
    """Who trains on the Parquet files weighs rows by what the filter went by."""
    out = tmp_path / "out"
    settings = ExportSettings(format="parquet", valid_fraction=0)
    export([table_with(confidence=0.2, cascaded=0.7)], [], out, settings, own_columns=True)
    assert pq.read_table(out / "train.parquet")["confidence"].to_pylist() == [0.7]
