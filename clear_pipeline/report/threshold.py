"""What a run's filter compared with its threshold; both are on one scale, and only they are."""

from __future__ import annotations

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
