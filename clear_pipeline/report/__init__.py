"""What people look at: report.html, the views of the command line, the notebook."""

from __future__ import annotations

from pathlib import Path

from clear_pipeline.report.adapter import report_data
from clear_pipeline.report.data import ReportData
from clear_pipeline.report.html import report_html, save_report
from clear_pipeline.run import Run
from clear_pipeline.store import REPORT

__all__ = ["ReportData", "report_data", "report_html", "save_report", "write_report"]


def write_report(run: Run) -> Path:
    """Write `report.html` into the run directory: offline, self-contained, at most 20 MB.

    Returns:
        Where it lies.

    Raises:
        UsageError: The run has no ledger yet.
    """
    return save_report(report_data(run), run.path / REPORT)
