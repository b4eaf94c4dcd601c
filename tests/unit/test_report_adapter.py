"""From a run directory to the values of its report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.meter import Totals
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import ReportData, report_data, report_html, write_report
from clear_pipeline.report.adapter import MAX_ROWS, usage_lines
from clear_pipeline.report.data import PartTokens
from clear_pipeline.report.scores import part_tokens
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from clear_pipeline.stages.usage import USAGE
from report_runs import demo_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("demo") / "run"
    return demo_run(out, stages=["dedup", "score", "filter", "rectify"])


@pytest.fixture(scope="module")
def data(run: Run) -> ReportData:
    return report_data(run)


def test_every_row_that_is_not_kept_is_shown(run: Run, data: ReportData) -> None:
    """In input order, with the ledger's fate, reason and confidence."""
    ledger = run.ledger(["id", "fate", "reason", "confidence"]).to_pylist()
    changed = [row for row in ledger if row["fate"] != Fate.KEPT]
    shown = [
        {"id": r.id, "fate": r.fate, "reason": r.reason, "confidence": r.confidence}
        for r in data.rows
    ]
    assert shown == changed
    assert data.removed == len(changed)


def test_texts_are_those_of_the_data(run: Run, data: ReportData) -> None:
    """Duplicates name their keeper, rectified rows both texts, quarantined rows the raw line."""
    rows = {fate: next(row for row in data.rows if row.fate is fate) for fate in
            (Fate.QUARANTINED, Fate.DUPLICATE, Fate.RECTIFIED)}  # fmt: skip
    quarantined, duplicate, rectified = rows.values()
    entry = next(entry for entry in run.quarantine() if entry["id"] == quarantined.id)
    assert (quarantined.prompt, quarantined.response) == ("", entry["text"])
    assert duplicate.keeper == run.row(duplicate.id)["duplicate_of"]
    text = run.texts([rectified.id])[rectified.id]
    assert (rectified.prompt, rectified.response) == (text.prompt, text.response)
    assert rectified.candidate == text.new_response


def test_counts_agree_with_each_other(run: Run, data: ReportData) -> None:
    """Fates, files, reasons and the histogram count the same rows."""
    assert data.fates == {fate: run.manifest.fates[fate] for fate in Fate}
    for fate in Fate:
        assert sum(file.fates.get(fate, 0) for file in data.files) == data.fates[fate]
    for fate in set(Fate) - {Fate.KEPT}:
        assert sum(r.rows for r in data.reasons if r.fate is fate) == data.fates[fate]
    assert data.confidences is not None
    for fate, counts in data.confidences.counts.items():
        assert sum(counts) == data.fates[fate]


def test_run_is_described(run: Run, data: ReportData) -> None:
    """Chain with settings, model with its use, threshold, notes, and how to go on."""
    assert [stage.kind for stage in data.stages] == ["dedup", "score", "filter", "rectify"]
    assert "above: median" in data.stages[2].settings
    assert {use.role for use in data.models} == {"scorer", "candidate", "judge"}
    assert data.threshold == run.ledger(["threshold"])["threshold"].drop_null()[0].as_py()
    assert [part.name for part in data.parts] == ["reflection"]
    assert any(note.startswith("filter keeps") for note in data.notes)
    assert all(command.startswith("clear-pipeline ") for _, command in data.commands)


def test_report_of_a_run_is_the_same_each_time(run: Run) -> None:
    """Written again from the same run directory, report.html has the same bytes."""
    written = (run.path / "report.html").read_bytes()
    assert write_report(Run(run.path)).read_bytes() == written
    assert report_html(report_data(run)).encode() == written


def test_at_most_2000_rows_are_listed(tmp_path: Path) -> None:
    """Of 2,499 duplicates and 3 broken rows all broken ones stand there, with the true count."""
    row = json.dumps({"prompt": "p", "completion": "c"})
    lines = [row] * 2_500 + ["{"] * 3
    source = tmp_path / "same.jsonl"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = Pipeline(build_config(stages=["dedup"])).run(source, out=tmp_path / "run")
    data = report_data(run)
    assert (len(data.rows), data.removed) == (MAX_ROWS, 2_502)
    assert sum(row.fate is Fate.QUARANTINED for row in data.rows) == 3
    assert "2,000 of 2,502, the least confident of each fate" in report_html(data)


def test_run_without_scores_has_no_histogram(tmp_path: Path) -> None:
    """A run of dedup alone is reported without confidences, parts or threshold."""
    data = report_data(demo_run(tmp_path / "run", stages=["dedup"]))
    assert (data.confidences, data.threshold, data.parts) == (None, None, ())
    assert "How confident the model is" not in report_html(data)


def test_unfinished_run_has_no_report(run: Run, tmp_path: Path) -> None:
    """Without a ledger the message says how to get one."""
    (tmp_path / "manifest.json").write_bytes((run.path / "manifest.json").read_bytes())
    with pytest.raises(UsageError, match="finish it with the same run command"):
        report_data(Run(tmp_path))


def test_tokens_are_totals_and_per_row() -> None:
    """Per row for which the part was asked: 40 tokens of two rows, and one row was not asked."""
    usages = [{"calls": 2, "prompt": 30, "cached": 20, "completion": 1}, None,
              {"calls": 1, "prompt": 10, "cached": 0, "completion": 2}]  # fmt: skip
    part = part_tokens("reflection", pa.array(usages, USAGE))
    assert part == PartTokens("reflection", rows=2, prompt=40, cached=20, completion=3)
    assert part.cells == ("2", "40", "20", "3", "20.0", "10.0", "1.5")


def test_the_report_shows_the_tokens_of_the_score(run: Run, data: ReportData) -> None:
    """All that the scorer was asked for this score, also at the end of the run."""
    (part,) = data.tokens
    assert part.part == "reflection"
    assert part.rows == run.ledger(["score_status"])["score_status"].to_pylist().count("scored")
    assert f"<td>{part.prompt:,}</td>" in report_html(data)


def test_spend_is_told_or_said_to_be_unknown() -> None:
    """Zeros that say nothing are left out; without a price no dollar is claimed."""
    totals = Totals(requests=1_234, usage=Usage(prompt=10, completion=2))
    lines = usage_lines(totals)
    assert lines["requests"] == "1,234"
    assert not [label for label in lines if "failed" in label]
    refused = usage_lines(totals + Totals(failures={"rate_limit": 7}))
    assert refused["… failed: rate_limit"] == "7"
    assert not [label for label in lines if "retries" in label]
    assert lines["spend"] == "price not known"
