"""What a run's filter compared with its threshold; both are on one scale, and only they are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.run import Run
from clear_pipeline.stages.filter import AboveMedian, Filter, Keep, ledger_column


def keep_of(run: Run) -> Keep:
    """The rule of the run's filter; the median where none ran."""
    record = run.manifest.stage("filter")
    if record is None or "filter" not in run.manifest.chain:
        return AboveMedian()
    return Filter.model_validate(record.settings).keep


def compared_column(run: Run) -> str:
    """The ledger column that `threshold` was compared with, where a filter ran."""
    return ledger_column(keep_of(run))


def threshold_of(ledger: pa.Table) -> float | None:
    """The filter's threshold, None where no filter ran."""
    threshold: float | None = pc.max(ledger["threshold"]).as_py()
    return threshold
