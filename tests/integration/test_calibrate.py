"""From marks to a filter by precision: files, refusals, and no model call anywhere."""

from __future__ import annotations

import io
import json
import math
import shlex
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from aiohttp.web import StreamResponse, json_response
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.marks import figures, read
from calibration_rows import scored_run, script
from clear_pipeline.calibration import Calibration
from clear_pipeline.cli import app
from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.evaluate import Labels, evaluate_scores, read_labels
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.marking import calibrate_run, sample_to_mark, write_marks
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.probe import Probe, ProbeSettings
from clear_pipeline.report import report_data, report_html
from clear_pipeline.report.adapter import score_histogram
from clear_pipeline.report.explain import explanation, explanation_json
from clear_pipeline.report.notebook import histogram, margin, move_threshold
from clear_pipeline.run import Run, open_run
from clear_pipeline.stages.base import SilentProgress
from clear_pipeline.stages.score import Score
from stub_server import Body, StubServer, completion, text_choice, uniform

FATES = ("kept", "filtered")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """200 rows, every third one wrong."""
    return scored_run(tmp_path_factory.mktemp("calibrate"))[0]


@pytest.fixture
def again(run: Run, tmp_path: Path) -> Callable[..., Run]:
    """Runs a copy of the finished run again, with another config; its model must not be asked."""
    out = shutil.copytree(run.path, tmp_path / "again")

    def rerun(settings: Config, progress: SilentProgress | None = None) -> Run:
        model = ScriptedChat(script)
        pipeline = Pipeline(settings, models={"scorer": model}, progress=progress)
        try:
            return pipeline.run(run.path.parent / "rows.jsonl", out=out)
        finally:
            assert model.requests == []

    return rerun


def is_bad(row_id: str) -> bool:
    return (int(row_id.rpartition(":")[2]) - 1) % 3 == 0


def write(path: Path, ids: Iterable[str]) -> Path:
    lines = [f"{i},{'bad' if is_bad(i) else 'good'}" for i in ids]
    path.write_text("\n".join(["id,label", *lines]) + "\n")
    return path


def row_ids(rows: range) -> list[str]:
    return [f"rows.jsonl:{i}" for i in rows]


def config(calibration: Path | None = None, *assignments: str) -> Config:
    return build_config(
        preset="fast",
        stages=["score", "filter"],
        calibration=calibration,
        assignments=assignments,
    )


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration on 120 marks of a sample, as the command line writes it."""
    folder = tmp_path_factory.mktemp("file")
    sample = sample_to_mark(run, 120, seed=1)
    marks = {i: "bad" if is_bad(i) else "good" for i in sample["id"]}
    write_marks(folder / "marks.csv", sample, marks)
    out = folder / "calibration.json"
    arguments = ["calibrate", str(run.path), "--marks", str(folder / "marks.csv")]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "noise rate" in result.output
    return out


def test_sample_stands_for_the_run(run: Run) -> None:
    """Half from the least confident fifth, each row once, weights that sum to the run."""
    sample = sample_to_mark(run, 40, seed=2)
    assert sample["id"].is_unique
    assert sample["weight"].sum() == pytest.approx(200)
    lowest = sorted(run.ledger(["confidence"])["confidence"].to_pylist())[39]
    assert (sample["confidence"] <= lowest).sum() == 20
    assert sample.equals(sample_to_mark(run, 40, seed=2))
    assert not sample["confidence"].is_monotonic_increasing
    assert sample["response"].str.contains("answer").all()


def test_calibration_file_tells_the_truth_and_no_text(file: Path) -> None:
    """Skill, a noise rate around one third, a plot, and neither ids nor texts of the data."""
    fitted = Calibration.read(file)
    assert fitted.marks is not None
    assert fitted.marks.weighted
    assert fitted.marks.reliability.skill.low > 0
    assert fitted.marks.noise_rate.low < 1 / 3 < fitted.marks.noise_rate.high
    assert fitted.scored_by is not None
    assert fitted.scored_by.model == "scripted:scripted"
    text = file.read_text()
    assert "rows.jsonl" not in text
    assert "answer 1" not in text
    assert file.with_suffix(".svg").read_text().startswith("<svg")


def test_rerun_with_a_calibration_makes_no_call(again: Callable[..., Run], file: Path) -> None:
    """Calibrate and filter run, the score is up to date, and the kept rows are that good."""
    progress = SilentProgress()
    run = again(config(file, "filter.keep.precision=0.95"), progress)
    assert "score: up to date" in progress.notes
    kept = run.ledger(fate="kept")["id"].to_pylist()
    assert len(kept) > 50
    assert sum(map(is_bad, kept)) / len(kept) <= 0.05
    columns = (run.ledger()[c].to_pylist() for c in ("calibrated", "p_bad", "p_good_low"))
    for good, bad, low in zip(*columns, strict=True):
        assert bad == 1 - good
        assert low <= good


def test_a_moved_file_computes_nothing(again: Callable[..., Run], file: Path) -> None:
    """The content decides, not the path."""
    moved = file.with_name("moved.json")
    moved.write_bytes(file.read_bytes())
    again(config(file))
    progress = SilentProgress()
    again(config(moved), progress)
    assert "calibrate: up to date" in progress.notes


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


def test_marks_of_a_cascaded_run_go_with_its_cascade(tmp_path: Path) -> None:
    """Fitted after the cascade, the file weighs or tried `cascaded`: a rerun asks nothing."""
    assigned = ["cascade.similarity=lexical", "cascade.k=2"]
    stages = ("score", "cascade", "filter")
    first, _ = scored_run(tmp_path, 120, stages=stages, assignments=assigned)
    ids = first.ledger(["id"])["id"].to_pylist()
    fitted, _ = calibrate_run(first, Labels({i: is_bad(i) for i in ids[:90]}))
    fitted.save(tmp_path / "c.json")
    model, progress = ScriptedChat(script), SilentProgress()
    settings = build_config(
        first.path / "config.yaml",
        calibration=tmp_path / "c.json",
        assignments=["filter.keep.precision=0.7"],
    )
    pipeline = Pipeline(settings, models={"scorer": model}, progress=progress)
    done = pipeline.run(tmp_path / "rows.jsonl", out=first.path)
    assert model.requests == []
    assert "cascade: up to date" in progress.notes
    assert done.manifest.chain == ["score", "cascade", "calibrate", "filter"]


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
    assert told == (
        f"a threshold below {out['p_good_low']:.3f} for P(good) at least, as a lower precision "
        "sets it: 1 other filtered rows, as sure or surer, would stay too"
    )
    (told,) = explanation_json(precise, last["id"])["what_would_change_it"]
    assert told.startswith(f"a threshold above {last['p_good_low']:.3f} for P(good) at least")
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
    assert data.confidences == score_histogram(precise.ledger(), "p_good_low")
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


def test_file_of_another_model_is_refused(
    run: Run, again: Callable[..., Run], file: Path, tmp_path: Path
) -> None:
    """Both models are named, before a row is scored anew and before the run is touched."""
    fitted = Calibration.read(file)
    assert fitted.scored_by is not None
    other = fitted.scored_by.model_copy(update={"model": "elsewhere:big"})
    fitted.model_copy(update={"scored_by": other}).save(tmp_path / "other.json")
    preset = build_config(
        preset="best", stages=["score", "filter"], calibration=tmp_path / "other.json"
    )
    with pytest.raises(UsageError, match=r"for elsewhere:big, but scripted:scripted would score"):
        again(preset)
    for name in ("config.yaml", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (run.path / name).read_bytes()


async def yes_to_right_answers(body: Body) -> StreamResponse:
    """As `script`, from a server: by the answer that is asked about, but for noise by prompt."""
    side = -1.5 if "wrong answer" in body["messages"][-1]["content"] else 1.5
    share = 1 / (1 + math.exp(-(side + 4 * (uniform(body, "noise") - 0.5))))
    top = [{"token": w, "logprob": math.log(p)} for w, p in (("Yes", share), ("No", 1 - share))]
    logprobs = {"content": [{**top[0], "top_logprobs": top}]}
    return json_response(completion(body, [text_choice("Yes", logprobs=logprobs)]))


def test_the_next_command_asks_nothing_anew(run: Run, tmp_path: Path) -> None:
    """Typed as printed: the run's own model and preset, no request, and the precision is kept."""
    data, out = run.path.parent / "rows.jsonl", tmp_path / "my run"
    marks = write(tmp_path / "marks.csv", row_ids(range(1, 121)))
    with StubServer(yes_to_right_answers) as server:
        first = ["run", str(data), "--out", str(out), "--stages", "score,filter"]
        first += ["--preset", "best", "--set", "score.k=0"]
        first += ["--model", "stub", "--base-url", server.url]
        assert CliRunner().invoke(app, first, catch_exceptions=False).exit_code == 0
        asked = len(server.bodies)
        fit = ["calibrate", str(out), "--marks", str(marks), "--out", str(tmp_path / "c.json")]
        printed = CliRunner().invoke(app, fit, catch_exceptions=False).output
        (line,) = [text for text in printed.splitlines() if text.startswith("next: ")]
        program, *words = shlex.split(line.removeprefix("next: "))
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert (program, result.exit_code) == ("clear-pipeline", 0)
        assert asked > 0
        assert len(server.bodies) == asked
    assert "score: up to date" in result.output
    kept = open_run(out).ledger(fate="kept")["id"].to_pylist()
    assert len(kept) > 50
    assert sum(map(is_bad, kept)) / len(kept) <= 0.05
    assert set(open_run(out).manifest.models) == {"scorer"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a directory; name a file"), ("plot.svg", "name the file: --out .*plot.json")],
)
def test_a_name_that_cannot_hold_the_file_is_refused(
    run: Run, tmp_path: Path, name: str, message: str
) -> None:
    """A folder, and the name of the plot, which would overwrite what was fitted."""
    marks = write(tmp_path / "marks.csv", row_ids(range(1, 91)))
    arguments = ["calibrate", str(run.path), "--marks", str(marks), "--out", str(tmp_path / name)]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["marks.csv"]


def test_a_cascade_whose_draws_would_not_count_is_refused(file: Path, tmp_path: Path) -> None:
    """A file that never saw `cascaded` takes its place: refused before a call, with what to do."""
    stages = ["score", "cascade", "filter"]
    with pytest.raises(ConfigError, match=r"change nothing.*never weighs `cascaded`.*--marks FILE"):
        build_config(preset="fast", stages=stages, calibration=file)
    fitted = Calibration.read(file)
    assert fitted.marks is not None
    tried = fitted.marks.candidates[0].model_copy(update={"signals": ("cascaded",)})
    marks = fitted.marks.model_copy(update={"candidates": (tried,)})
    fitted.model_copy(update={"marks": marks}).save(tmp_path / "after_the_cascade.json")
    build_config(preset="fast", stages=stages, calibration=tmp_path / "after_the_cascade.json")


def test_file_of_other_signals_is_refused(
    again: Callable[..., Run], file: Path, tmp_path: Path
) -> None:
    """The missing signal is named, with those that are there."""
    fitted = Calibration.read(file)
    other = fitted.features[0].model_copy(update={"name": "consistency"})
    features = (other, *fitted.features[1:])
    fitted.model_copy(update={"features": features}).save(tmp_path / "other.json")
    with pytest.raises(UsageError, match=r"weighs consistency, which no row.*there are confidence"):
        again(config(tmp_path / "other.json"))


def test_file_for_other_settings_is_used_with_a_note(
    again: Callable[..., Run], file: Path, tmp_path: Path
) -> None:
    """The same signals under other settings of score: what differs is told."""
    fitted = Calibration.read(file)
    assert fitted.scored_by is not None
    settings = fitted.scored_by.settings | {"k": 5}
    other = fitted.scored_by.model_copy(update={"settings": settings})
    fitted.model_copy(update={"scored_by": other}).save(tmp_path / "other.json")
    progress = SilentProgress()
    again(config(tmp_path / "other.json"), progress)
    assert any("k 5 then, 0 now" in note for note in progress.notes)


def test_precision_without_marks_says_what_to_type() -> None:
    """Neither a plain run nor one with a ranking can promise a precision."""
    with pytest.raises(ConfigError, match="clear-pipeline calibrate RUN --marks FILE"):
        config(None, "filter.keep.precision=0.95")


@pytest.mark.parametrize("known", [60, 0])
def test_unknown_ids_are_all_listed_and_nothing_is_written(
    run: Run, tmp_path: Path, known: int
) -> None:
    """Sixty of them beside known ones or alone: one per line, wrong usage, and no file."""
    unknown = [f"gone.jsonl:{n}" for n in range(1, 61)]
    marks = write(tmp_path / "marks.csv", [*row_ids(range(1, known + 1)), *unknown])
    out = tmp_path / "out.json"
    arguments = ["calibrate", str(run.path), "--marks", str(marks), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError)
    said = str(result.exception).splitlines()
    assert "60 " in said[0]
    assert said[1:61] == [f"  {row_id}" for row_id in unknown]
    assert not out.exists()


def test_lines_of_marks_that_are_not_used_are_told(run: Run, tmp_path: Path) -> None:
    """One that cannot be read and one without a label: how many, and where."""
    path = tmp_path / "marks.jsonl"
    marks = [
        json.dumps({"id": i, "label": "bad" if is_bad(i) else "good"})
        for i in row_ids(range(1, 91))
    ]
    path.write_text("\n".join([*marks, "{broken", '{"id": "rows.jsonl:99", "label": ""}']))
    out = tmp_path / "out.json"
    arguments = ["calibrate", str(run.path), "--marks", str(path), "--out", str(out)]
    said = CliRunner().invoke(app, arguments, catch_exceptions=False).output
    assert "rows of the labels file that cannot be read: 1 (line 91)" in said
    assert "rows of the labels file without an id or a label, left out: 1 (line 92)" in said


def test_conflicting_marks_are_all_listed(tmp_path: Path) -> None:
    """Two ids marked both ways: two lines, each with its place."""
    path = tmp_path / "marks.csv"
    path.write_text("id,label\na,good\nb,bad\na,bad\nb,good\nc,good\n")
    with pytest.raises(UsageError, match=r"(?s)csv:4: id 'a' is marked.*csv:5: id 'b' is marked"):
        read_labels(path)


def test_marks_without_weights_say_what_they_assume(run: Run, tmp_path: Path) -> None:
    """The noise rate then holds for marks that were drawn at random."""
    _, remarks = calibrate_run(
        run, read_labels(write(tmp_path / "marks.csv", row_ids(range(1, 91))))
    )
    assert any("drawn at random" in remark for remark in remarks)


def test_probe_gives_a_ranking_that_runs(
    run: Run, again: Callable[..., Run], tmp_path: Path
) -> None:
    """From a probe to a run: bound to model and settings, a ranking, no probability, no cascade."""
    settings = ProbeSettings(rows=60, per_corruption=15)
    scores = [
        Score(),
        Score(preset="best", reflection=("yes_no", "belongs"), weights={"belongs": 1.0}),
    ]
    probe = Probe(config(), scores, settings, models={"scorer": ScriptedChat(script)})
    probe.run(probe.plan(run.path.parent / "rows.jsonl"), out=tmp_path)
    out = tmp_path / "ranking.json"
    arguments = ["calibrate", str(tmp_path / "probe.parquet"), "--out", str(out), "--json"]
    with pytest.raises(UsageError, match="has scores by best, fast; name one: --preset"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    arguments += ["--preset", "fast"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    fitted = json.loads(result.output)
    assert fitted["kind"] == "ranking-only"
    assert fitted["scored_by"]["model"] == "scripted:scripted"
    assert fitted["scored_by"]["settings"]["reflection"] == ["yes_no"]
    progress = SilentProgress()
    ledger = again(config(out), progress).ledger()
    assert "p_bad" not in ledger.column_names
    assert all(0 <= value <= 1 for value in ledger["calibrated"].to_pylist())
    assert any("no probability" in note for note in progress.notes)
    assert not any("other settings" in note for note in progress.notes)
    with pytest.raises(ConfigError, match="needs probabilities"):
        config(out, "filter.keep.precision=0.95")
    with pytest.raises(ConfigError, match="a ranking from corruptions never weighs `cascaded`"):
        build_config(preset="fast", stages=["score", "cascade", "filter"], calibration=out)


def test_the_benchmark_judges_marks_on_rows_that_were_not_marked(run: Run, tmp_path: Path) -> None:
    """All 40 rows of the lowest fifth are marked and 4 x 15 others, so 100 of 200 are left."""
    labels = write(tmp_path / "labels.csv", row_ids(range(1, 201)))
    found = figures(read(run.path, labels), marks=100, seed=0, precision=0.9)
    assert found["unused rows"] == 100
    assert found["Brier skill, low"] > 0
    assert found["good among them"] >= 0.9
    assert 50 <= found["rows kept"] <= 75
