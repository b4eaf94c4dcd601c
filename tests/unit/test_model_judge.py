"""A judge of scripted models' answers: what its marks are, and which rows have one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from clear_pipeline.errors import CallError, RunFailedError
from clear_pipeline.evaluate.models import ModelEvaluation, read_settings
from clear_pipeline.evaluate.models.views import remarks
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Reply, Script, ScriptedChat
from clear_pipeline.stages.base import SilentProgress
from scripted_arms import ANSWERS, answers_file, evaluated, figure, says, value


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    return answers_file(tmp_path)


def yes(probability: float) -> Choice:
    top = (("Yes", math.log(probability)), ("No", math.log(1 - probability)))
    return Choice("Yes", "length", (Token("Yes", top[0][1], top),))


def judge_of(right: float, wrong: float) -> Script:
    """How surely it says Yes to a response that is right, and to one that is wrong."""

    def script(request: ChatRequest, _: int) -> Reply:
        text = request.messages[0].text
        tag = "response"
        for label in ("A", "B"):
            if f"Is response {label} the" in text:
                tag = f"response-{label}"
        shown = text.split(f"<{tag}>\n")[1].split("\n<")[0]
        return yes(right if shown in ANSWERS.values() else wrong)

    return script


def test_a_judge_marks_each_answer(test_file: Path) -> None:
    """Three right answers at 0.8 and a wrong one at 0.4: 0.7. A missing answer counts 0."""
    report = evaluated(
        test_file,
        {"one": says(n1="7"), "two": says(n1="timeout"), "judge": judge_of(0.8, 0.4)},
        judge={"model": {"model": "judge"}},
    )
    one, two = (figure(arm.figures, "judge") for arm in report.arms)
    assert value(one.value) == pytest.approx(0.7)
    assert value(two.value) == pytest.approx(0.6)
    assert value(two.answered) == pytest.approx(0.8)
    assert report.judge == "judge, yes-no"


def test_a_judge_prefers_in_both_orders(test_file: Path) -> None:
    """Of p (1 - q) / (p (1 - q) + q (1 - p)) with 0.8 and 0.4 is 6/7; equal answers are 0.5."""
    report = evaluated(
        test_file,
        {"base": says(n1="7"), "new": says(), "judge": judge_of(0.8, 0.4)},
        judge={"model": {"model": "judge"}, "form": "preference"},
    )
    base, new = (figure(arm.figures, "judge") for arm in report.arms)
    assert value(base.value) == 0.5
    assert value(new.value) == pytest.approx((6 / 7 + 3 * 0.5) / 4)


def test_a_mark_that_the_judge_does_not_give_is_left_out(test_file: Path) -> None:
    """That is not the arm's fault: the mean is of the other rows, and the loss is told."""

    def script(request: ChatRequest, sample: int) -> Reply:
        if "1 + 1?" in request.messages[0].text:
            raise CallError("timeout", "too slow", transient=True)
        return judge_of(0.8, 0.4)(request, sample)

    report = evaluated(
        test_file, {"arm": says(), "judge": script}, judge={"model": {"model": "judge"}}
    )
    found = figure(report.arms[0].figures, "judge")
    assert found.rows == 3
    assert value(found.value) == pytest.approx(0.8)
    assert report.arms[0].unjudged == {"timeout": 1}
    assert "arm: answers without a mark of the judge: 1 timeout" in set(remarks(report))


def test_a_rating_is_its_expected_digit(test_file: Path) -> None:
    """Half on 5 and half on 4 is 0.875 of the way from 1 to 5."""
    half = math.log(0.5)
    digits = Choice("5", "length", (Token("5", half, (("5", half), ("4", half))),))
    report = evaluated(
        test_file,
        {"arm": says(), "judge": lambda *_: digits},
        judge={"model": {"model": "judge"}, "form": "rating"},
    )
    assert value(figure(report.arms[0].figures, "judge").value) == pytest.approx(0.875)


def test_a_row_without_a_rival_is_left_out(test_file: Path) -> None:
    """Of three rows one is lost and counts 0, and two are even: 1/3. Whoever loses none: 1/2."""
    report = evaluated(
        test_file,
        {
            "base": says(n1="timeout"),
            "lost": says(n2="timeout"),
            "late": says(n1="timeout"),
            "judge": judge_of(0.8, 0.4),
        },
        judge={"model": {"model": "judge"}, "form": "preference"},
    )
    base, lost, late = (figure(arm.figures, "judge") for arm in report.arms)
    assert (base.rows, lost.rows, late.rows) == (3, 3, 3)
    assert value(lost.value) == pytest.approx(1 / 3)
    assert value(base.value) == value(late.value) == 0.5


def test_a_judge_that_marks_nothing_stops(test_file: Path) -> None:
    """After the rows of the first arm, or 20, no more are asked about; the reason is told."""

    def broken(*_: object) -> Reply:
        raise CallError("bad_request", "no such model", transient=False)

    judge = ScriptedChat(broken, name="judge")
    with pytest.raises(RunFailedError, match="none of 4 answers got a mark of the judge; the last"):
        evaluated(
            test_file, {"one": says(), "two": says(n1="7"), "judge": judge},
            judge={"model": {"model": "judge"}},
        )  # fmt: skip
    shown = "".join(request.messages[0].text for request in judge.requests)
    assert "<response>\n2\n" in shown
    assert "<response>\n7\n" not in shown


def test_a_judge_at_another_address_is_told(test_file: Path) -> None:
    """Marks that were got elsewhere are kept, and whoever evaluates is told so."""
    here, there = "http://127.0.0.1:8000/v1", "http://127.0.0.1:9000/v1"
    progress = SilentProgress()
    for url in (here, there):
        made = read_settings(
            None,
            arms=[{"name": "arm", "model": {"model": "m", "base_url": here}}],
            judge={"model": {"model": "m", "base_url": url, "revision": "judge"}},
        )
        models = {
            "arm": ScriptedChat(says(), name="arm"),
            "judge": ScriptedChat(judge_of(0.8, 0.4), name="judge"),
        }
        evaluation = ModelEvaluation(made, models=models, progress=progress)
        evaluation.run(evaluation.plan(test_file), out=test_file.parent / "out")
    (note,) = progress.notes
    assert note.startswith(f"judge: answers that were got at {here} are kept and not asked for at")
