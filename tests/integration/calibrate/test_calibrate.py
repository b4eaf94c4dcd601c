"""From marks to a filter by precision: files, refusals, and no model call anywhere."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.web import StreamResponse, json_response
from typer.testing import CliRunner

from calibration_rows import scored_run, script
from clear_pipeline.calibration import Calibration
from clear_pipeline.cli import app
from clear_pipeline.config import build_config
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.evaluate import Labels, read_labels
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.marking import calibrate_run, sample_to_mark
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.probe import Probe, ProbeSettings
from clear_pipeline.run import Run, open_run
from clear_pipeline.stages.base import SilentProgress
from clear_pipeline.stages.score import Score
from marked_rows import config, is_bad, row_ids, write
from stub_server import Body, StubServer, completion, text_choice, uniform


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


@pytest.mark.parametrize(("bad_every", "suggested"), [(3, True), (4, False)])
def test_a_precision_is_suggested_of_marks_that_the_scores_know_something_about(
    run: Run, tmp_path: Path, *, bad_every: int, suggested: bool
) -> None:
    """Every third row is wrong: marks of every third have skill, those of every fourth none."""
    marks = tmp_path / "marks.csv"
    labels = ("bad" if n % bad_every == 0 else "good" for n in range(120))
    lines = [f"{row},{label}" for row, label in zip(row_ids(range(1, 121)), labels, strict=True)]
    marks.write_text("\n".join(["id,label", *lines]) + "\n")
    fit = ["calibrate", str(run.path), "--marks", str(marks), "--out", str(tmp_path / "c.json")]
    printed = CliRunner().invoke(app, fit, catch_exceptions=False).output
    assert ("filter.keep.precision=0.95" in printed) is suggested


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
