"""What is shown and measured of a calibrated run: explain, report, notebook, evaluation."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.marks import figures, read
from clear_pipeline.calibration import Calibration
from clear_pipeline.cli import app
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate import Labels, evaluate_scores, read_labels
from clear_pipeline.report import report_data, report_html
from clear_pipeline.report.explain import explanation, explanation_json
from clear_pipeline.report.histogram import histogram as bars
from clear_pipeline.report.notebook import histogram, margin, move_threshold
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from marked_rows import config, is_bad, row_ids, write

FATES = ("kept", "filtered")


def test_any_score_can_be_measured(again: Callable[..., Run], file: Path) -> None:
    """The most refined one by default, another by name; an unknown one is refused."""
    run = again(config(file))
    labels = Labels({i: is_bad(i) for i in run.ledger(["id"])["id"].to_pylist()})
    assert evaluate_scores(run, labels, resamples=5).scores[0].name == "calibrated"
    named = evaluate_scores(run, labels, score="reflection", resamples=5)
    assert named.scores[0].name == "reflection"
    with pytest.raises(UsageError, match="no score 'gone'; there are calibrated, confidence"):
        evaluate_scores(run, labels, score="gone", resamples=5)
    measured = {found.name: found.detection.auroc.value for found in named.scores}
    assert "p_bad" not in measured  # `calibrated` the other way round
    assert min(measured.values()) > 0.5


def test_an_evaluation_says_which_labels_the_fit_has_seen(
    again: Callable[..., Run], file: Path, tmp_path: Path
) -> None:
    """All 120 marks are among 200 labels; rows 81 to 100 hold as many as were drawn of them."""
    run = again(config(file))
    ids = run.ledger(["id"])["id"].to_pylist()
    assert evaluate_scores(run, Labels({i: is_bad(i) for i in ids}), resamples=5).fitted_on == 120
    marked = set(read_labels(file.with_name("marks.csv")).bad)
    some = ids[80:100]
    told = evaluate_scores(run, Labels({i: is_bad(i) for i in some}), resamples=5)
    assert told.fitted_on == len(marked & set(some))
    labels = write(tmp_path / "labels.csv", ids)
    arguments = ["evaluate", "scores", str(run.path), "--labels", str(labels)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "120 of the labelled rows are marks that the calibration was fitted on" in result.output
    unmarked = Labels({i: is_bad(i) for i in ids if i not in marked})
    assert evaluate_scores(run, unmarked, resamples=5).fitted_on == 0


def test_a_file_that_does_not_say_which_rows_were_marked_is_no_acquittal(
    again: Callable[..., Run], file: Path, tmp_path: Path
) -> None:
    """The labels may be those marks: that is not known, and said."""
    fitted = Calibration.read(file)
    assert fitted.marks is not None
    marks = fitted.marks.model_copy(update={"content": ()})
    fitted.model_copy(update={"marks": marks}).save(tmp_path / "silent.json")
    run = again(config(tmp_path / "silent.json"))
    labels = write(tmp_path / "labels.csv", row_ids(range(1, 61)))
    assert evaluate_scores(run, read_labels(labels), resamples=5).fitted_on is None
    arguments = ["evaluate", "scores", str(run.path), "--labels", str(labels)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "does not say of which rows" in result.output


def test_the_card_names_a_calibration_without_printing_all_of_it(
    again: Callable[..., Run], file: Path
) -> None:
    """Its first 500 characters, and how many more the manifest has."""
    card = (again(config(file)).path / "DATASET_CARD.md").read_text()
    (line,) = [line for line in card.splitlines() if "more characters in manifest" in line]
    assert line.startswith("| file |")
    assert len(line) < 1_000


def test_a_precision_can_be_previewed(run: Run, again: Callable[..., Run], file: Path) -> None:
    """In a notebook, by the filter's own rule; without probabilities it says what to type."""
    keep = {"precision": 0.95}
    calibrated = again(config(file))
    preview = move_threshold(calibrated, keep)
    filtered = again(config(file, "filter.keep.precision=0.95"))
    assert preview.counts.loc["kept", "then"] == filtered.manifest.fates["kept"]
    with pytest.raises(UsageError, match="needs probabilities"):
        move_threshold(run, keep)


@pytest.fixture
def precise(again: Callable[..., Run], file: Path) -> Run:
    """Kept by the lower bounds of P(good), which are not the confidence."""
    return again(config(file, "filter.keep.precision=0.95"))


def test_explain_compares_what_the_filter_compared(precise: Run) -> None:
    """The bound that would change a fate is one of P(good) at least; the confidence is no such."""
    surest, least = precise.ledger(fate="filtered"), precise.ledger(fate="kept")
    out = surest.sort_by([("p_good_low", "descending")]).to_pylist()[1]
    last = least.sort_by([("p_good_low", "ascending")]).to_pylist()[0]
    (told,) = explanation_json(precise, out["id"])["what_would_change_it"]
    before, bound, after = re.split(r"(0\.\d{3})", told)
    assert out["p_good_low"] - 0.001 < float(bound) <= out["p_good_low"]
    assert before == "a threshold below "
    assert after == (
        " for P(good) at least, as a lower precision sets it: 1 other filtered rows, as sure or "
        "surer, would stay too"
    )
    (told,) = explanation_json(precise, last["id"])["what_would_change_it"]
    before, bound, after = re.split(r"(0\.\d{3})", told)
    assert last["p_good_low"] <= float(bound) < last["p_good_low"] + 0.001
    assert before == "a threshold above "
    assert after.startswith(" for P(good) at least")
    assert last["p_good_low"] == pytest.approx(last["threshold"])
    stream = io.StringIO()
    Console(file=stream, width=200).print(explanation(precise, out["id"]))
    (against,) = [line for line in stream.getvalue().splitlines() if "The threshold is" in line]
    assert against.split()[:4] == ["P(good)", "at", "least", f"{out['p_good_low']:.3f}"]
    (bad,) = [line for line in stream.getvalue().splitlines() if "P(bad)" in line]
    assert bad.split()[:2] == ["P(bad)", f"{out['p_bad']:.3f}"]


def test_the_report_draws_the_threshold_on_its_own_scale(precise: Run) -> None:
    """The histogram is that of P(good) at least, and every listed row tells its P(bad)."""
    data = report_data(precise)
    rows = precise.ledger(fate="kept")
    assert data.compared == "p_good_low"
    assert data.threshold == min(rows["p_good_low"].to_pylist())
    bounds = {Fate(fate): precise.ledger(fate=fate)["p_good_low"].to_pylist() for fate in FATES}
    assert data.confidences == bars(bounds)
    assert all({"p_bad", "p_good_low"} <= set(row.parts) for row in data.rows)
    assert "Rows by P(good) at least" in report_html(data)


def test_the_report_says_how_far_the_calibration_can_be_believed(
    run: Run, precise: Run, file: Path
) -> None:
    """The figures of the file with their intervals and its plot; nothing where there is none."""
    marks = Calibration.read(file).marks
    assert marks is not None
    calibration = report_data(precise).calibration
    assert calibration is not None
    assert calibration.reliability == marks.reliability
    values = {figure.name: figure.value for figure in calibration.figures}
    rate, skill = marks.noise_rate, marks.reliability.skill
    assert values["noise rate"] == f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
    assert values["Brier skill"] == f"{skill.value:.3f} [{skill.low:.3f}, {skill.high:.3f}]"
    assert values["slope"] == f"{marks.reliability.slope:.2f}"
    assert values["turned"] == "none"
    assert values["fitted for"] == "scripted:scripted, preset fast"
    page = report_html(report_data(precise))
    assert page.count("<circle") == len(marks.reliability.bins)
    assert report_data(run).calibration is None
    assert "How far the calibration" not in report_html(report_data(run))


def test_the_notebook_reads_the_rows_next_to_the_threshold(precise: Run) -> None:
    """Nearest by what the filter compared; the line is drawn on that scale and on no other."""
    kept, filtered = (precise.ledger(fate=fate)["p_good_low"].to_pylist() for fate in FATES)
    nearest = margin(precise, rows=1)
    assert nearest["confidence"].tolist() == [min(kept)]
    assert min(kept) > max(filtered)
    assert [line.x0 for line in histogram(precise, "p_good_low").layout.shapes] == [min(kept)]
    assert not histogram(precise).layout.shapes


def test_the_benchmark_judges_marks_on_rows_that_were_not_marked(run: Run, tmp_path: Path) -> None:
    """All 40 rows of the lowest fifth are marked and 4 x 15 others, so 100 of 200 are left."""
    labels = write(tmp_path / "labels.csv", row_ids(range(1, 201)))
    found = figures(read(run.path, labels), marks=100, seed=0, precision=0.9)
    assert found["unused rows"] == 100
    assert found["Brier skill, low"] > 0
    assert found["good among them"] >= 0.9
    assert 50 <= found["rows kept"] <= 75
