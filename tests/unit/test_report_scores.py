"""What a report takes from a ledger that is read in batches."""

from __future__ import annotations

import pyarrow as pa
import pytest

from clear_pipeline.report.scores import distribution, least_confident, threshold_of
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from report_runs import demo_run

LINES = [
    ("filtered", 0.5),
    ("kept", 0.9),
    ("filtered", 0.25),
    ("duplicate", None),
    ("filtered", 0.5),
    ("duplicate", None),
    ("filtered", 0.125),
    ("duplicate", 0.75),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("demo") / "run"
    return demo_run(out, stages=["dedup", "score", "filter"])


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_the_least_confident_rows_of_each_fate_are_found_however_batches_are_cut(rows: int) -> None:
    """Two of each, surest last; 0.5 stands twice and the first counts, no confidence comes last."""
    schema = pa.schema([("fate", pa.string()), ("confidence", pa.float64())])
    lines = [{"fate": fate, "confidence": confidence} for fate, confidence in LINES]
    table = pa.Table.from_pylist(lines, schema=schema)
    found = least_confident(table.to_batches(max_chunksize=rows), 2)
    assert found[Fate.FILTERED] == (4, [6, 2])
    assert found[Fate.DUPLICATE] == (3, [7, 3])
    assert found[Fate.KEPT] == (1, [1])
    assert found[Fate.UNSCORED] == (0, [])


def test_a_distribution_is_that_of_the_ledger(run: Run) -> None:
    """Every row that has a score counts once under its fate, and the mean is theirs."""
    ledger = run.ledger(["fate", "confidence"]).to_pylist()
    scored = [line for line in ledger if line["confidence"] is not None]
    found = distribution(run, "confidence")
    assert found is not None
    for fate in Fate:
        rows = sum(line["fate"] == fate for line in scored)
        assert sum(found.histogram.counts.get(fate, ())) == rows
    assert found.mean == pytest.approx(sum(line["confidence"] for line in scored) / len(scored))
    assert found.histogram.low <= min(line["confidence"] for line in scored)


def test_what_no_row_has_is_not_drawn(run: Run) -> None:
    """Neither a column of nulls nor one that the ledger lacks."""
    assert distribution(run, "preference") is None
    assert distribution(run, "nothing") is None


def test_the_threshold_is_that_of_the_rows_that_were_compared(run: Run) -> None:
    """Duplicates have none, so it is not in every line."""
    thresholds = run.ledger(["threshold"])["threshold"]
    assert thresholds.null_count > 0
    assert [threshold_of(run)] == thresholds.unique().drop_null().to_pylist()
