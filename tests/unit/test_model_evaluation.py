"""An evaluation with scripted models: what counts, what is asked, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import CallError, RunFailedError, UsageError
from clear_pipeline.evaluate.models import EvaluationReport, ModelEvaluation, read_settings
from clear_pipeline.evaluate.models.views import remarks, said
from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.llm.base import Choice
from clear_pipeline.llm.scripted import Reply, ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.stages.base import SilentProgress
from scripted_arms import answers_file, evaluated, figure, says, value


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    return answers_file(tmp_path)


def test_a_failed_call_is_no_answer_and_counted_both_ways(test_file: Path) -> None:
    """Of four rows one fails and one is wrong: 2/4 with it, 2/3 without; -1/3 where both answer."""
    report = evaluated(test_file, {"good": says(), "weak": says(n1="timeout", n2="5")})
    weak = report.arms[1]
    assert (weak.answered, weak.unanswered) == (3, {"timeout": 1})
    found = figure(weak.figures)
    assert (found.rows, value(found.value)) == (4, 0.5)
    assert found.answered_rows == 3
    assert value(found.answered) == pytest.approx(2 / 3)
    difference = figure(report.differences[0].figures)
    assert (difference.rows, value(difference.value)) == (4, -0.5)
    assert difference.answered_rows == 3
    assert value(difference.answered) == pytest.approx(-1 / 3)
    assert any(
        line.startswith("weak: 1 of 4 rows not answered (1 timeout), each counts 0; exact match")
        for line in remarks(report)
    )


def test_predictions_are_written_row_by_row(test_file: Path) -> None:
    """A row without an answer has its reason and no metric."""
    evaluated(test_file, {"weak": says(n1="timeout", n2="5")})
    lines = (test_file.parent / "out" / "predictions-weak.jsonl").read_text().splitlines()
    first, second, *_ = [json.loads(line) for line in lines]
    assert first == {
        "id": "test.jsonl:1",
        "arm": "weak",
        "prediction": None,
        "error": "timeout: too slow",
        "cut": False,
        "reference": "2",
    }
    assert second["prediction"] == "5"
    assert (second["exact_match"], second["token_f1"], second["json_valid"]) == (0, 0, None)
    assert len(lines) == 4


def test_only_what_failed_is_asked_again(test_file: Path) -> None:
    """Answers are kept; the same evaluation later asks for the missing one alone."""
    first = ScriptedChat(says(n1="timeout"), name="arm")
    evaluated(test_file, {"arm": first})
    second = ScriptedChat(says(), name="arm")
    report = evaluated(test_file, {"arm": second})
    assert (len(first.requests), len(second.requests)) == (4, 1)
    assert report.arms[0].answered == 4
    request = second.requests[0]
    assert (request.temperature, request.max_output_tokens) == (0.0, 512)
    assert request.response_format is None


def test_an_arm_that_answers_nothing_stops(test_file: Path) -> None:
    """A mistyped model is told, not compared as one that is always wrong."""

    def script(*_: object) -> Reply:
        raise CallError("bad_request", "no such model", transient=False)

    with pytest.raises(
        RunFailedError, match="none of 4 rows got an answer; the last: bad_request: no such"
    ):
        evaluated(test_file, {"arm": script})


def test_cut_and_withheld_answers(test_file: Path) -> None:
    """An answer at the limit counts as it is; one that is withheld is none."""
    report = evaluated(
        test_file, {"arm": says(n1=Choice("2", "length"), n2=Choice("", "content_filter"))}
    )
    arm = report.arms[0]
    assert (arm.cut, arm.answered, arm.unanswered) == (1, 3, {"content_filter": 1})
    assert value(figure(arm.figures).value) == 0.75


def test_an_empty_reply_is_a_wrong_answer(test_file: Path) -> None:
    """A model that says nothing has answered wrongly."""
    report = evaluated(test_file, {"arm": says(n1="")})
    assert report.arms[0].answered == 4
    assert value(figure(report.arms[0].figures).answered) == 0.75


def test_half_a_character_can_be_written(test_file: Path) -> None:
    """Whatever a model says, its answers are a readable file."""
    evaluated(test_file, {"arm": says(n1="\ud800")})
    text = (test_file.parent / "out" / "predictions-arm.jsonl").read_text(encoding="utf-8")
    assert json.loads(text.splitlines()[0])["prediction"] == "\ufffd"


def test_seeds_are_one_group(test_file: Path) -> None:
    """One seed all right and one half right: 0.75 of the group, over seeds and rows."""
    report = evaluated(
        test_file, {"base": says(n1="0", n2="0"), "t@1": says(), "t@2": says(n1="0", n2="0")}
    )
    group = report.groups[1]
    assert (group.name, group.arms) == ("t", ("t@1", "t@2"))
    assert value(figure(group.figures).value) == 0.75
    assert value(figure(report.differences[0].figures).value) == 0.25
    # With both draws the seed that is the baseline's equal, no row differs.
    assert report.differences[0].figures[0].value is not None
    assert report.differences[0].figures[0].value.low == 0
    assert any("over seeds and rows" in line for line in remarks(report))


def test_the_picture_shows_every_group_and_metric(test_file: Path) -> None:
    """A dot with its interval for each group under each metric, a ring for each seed; valid XML."""
    evaluated(test_file, {"base": says(n1="7"), "t@1": says(), "t@2": says(n2="7")})
    svg = ET.fromstring((test_file.parent / "out" / "evaluation.svg").read_text())
    circles = [dict(each.attrib) for each in svg.iter("{http://www.w3.org/2000/svg}circle")]
    assert sum(circle.get("class") == "seed" for circle in circles) == 2 * 2
    assert sum(circle.get("r") == "5" for circle in circles) == 2 * 2
    texts = {each.text for each in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"exact match", "token F1", "base", "t (2 seeds)"} <= texts


def test_equal_answers_give_equal_files(test_file: Path) -> None:
    """An evaluation again writes the same bytes."""
    out = test_file.parent / "out"
    names = ("evaluation.json", "evaluation.svg", "predictions-a.jsonl")
    evaluated(test_file, {"a": says(), "b": says(n1="7")})
    before = [(out / name).read_bytes() for name in names]
    evaluated(test_file, {"a": says(), "b": says(n1="7")})
    assert [(out / name).read_bytes() for name in names] == before


def test_a_run_directory_is_left_alone(test_file: Path) -> None:
    """Answers of an evaluation do not mix with those of a run."""
    Pipeline(build_config(stages=["dedup"])).run(test_file, out=test_file.parent / "out")
    with pytest.raises(UsageError, match="is a run directory"):
        evaluated(test_file, {"arm": says()})


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (0.0, 0.2, "not shown to differ")],
)
def test_an_interval_that_leaves_out_0_says_something(low: float, high: float, words: str) -> None:
    """Only then is an arm called better or worse."""
    assert said(Estimate((low + high) / 2, low, high)) == words


def test_a_renamed_arm_is_not_given_the_answers_of_another(test_file: Path) -> None:
    """Another adapter behind the same name would look just like the one before it."""

    def evaluate(name: str, url: str, notes: list[str], **model: str) -> EvaluationReport:
        asked = {"model": "m", "base_url": url, **model}
        progress = SilentProgress()
        evaluation = ModelEvaluation(
            read_settings(None, arms=[{"name": name, "model": asked}]),
            models={name: ScriptedChat(says(), name=f"m@{model}")},
            progress=progress,
        )
        try:
            return evaluation.run(evaluation.plan(test_file), out=test_file.parent / "out")
        finally:
            notes += progress.notes

    notes: list[str] = []
    here, there = "http://127.0.0.1:8000/v1", "http://127.0.0.1:9000/v1"
    evaluate("base", here, notes)
    assert notes == []
    with pytest.raises(UsageError, match="tuned: would be given the answers of base"):
        evaluate("tuned", here, notes)
    evaluate("tuned", here, notes, revision="lora")
    assert notes == []
    evaluate("base", there, notes)  # the server came back at another port
    (note,) = notes
    assert note.startswith(f"base: answers that were got at {here} are kept and not asked for at")
