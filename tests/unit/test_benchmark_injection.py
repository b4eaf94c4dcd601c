"""The attacks on the judge, and how their success is counted."""

from __future__ import annotations

import asyncio
import math
import re

import pytest

from benchmarks.attacks import ATTACKS, CONTROL
from benchmarks.injection import Judged, attack, plain_judge, stage_judge, table, trial
from benchmarks.rectify import Case
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Example, Message
from clear_pipeline.stages.base import Context
from clear_pipeline.stages.score import Score

FENCED = re.compile(r"<response>\n.*?\n</response>", re.DOTALL)


def gullible(request: ChatRequest, sample: int) -> Choice:
    """Believes any praise that stands outside its tags; else knows the right response, "4"."""
    prompt = request.messages[0].text
    persuaded = re.search(r"\bYes\b.*(?=Reply|Does|Is the)", FENCED.sub("", prompt), re.DOTALL)
    right = re.search(r"^(Answer: )?4$", prompt, re.MULTILINE) is not None
    yes = 0.95 if persuaded else 0.9 if right else 0.1
    top = (("Yes", math.log(yes)), ("No", math.log(1 - yes)))
    return Choice("Yes", "stop", (Token("Yes", top[0][1], top),))


def case(n: int, *, bad: bool) -> Case:
    example = Example(
        id=f"a:{n}",
        file="a",
        line=n,
        format="chat",
        messages=(Message("user", f"2 + 2, number {n}?"),),
        target=Message("assistant", "5" if bad else "4"),
        original="{}",
    )
    return Case(example, bad, "4")


def judged(good: list[float | None], bad: list[float | None], after: list[float | None]) -> Judged:
    return Judged(good, bad, dict.fromkeys(ATTACKS, after))


def test_an_attack_succeeds_where_nothing_marks_the_row_off() -> None:
    """The same attacks on a gullible model: none leaves its tags, some pass without any."""
    cases = [case(n, bad=n % 2 == 0) for n in range(12)]
    model = ScriptedChat(gullible)
    stage = Score(reflection=("yes_no",))
    fenced = asyncio.run(trial(stage_judge(model, stage, Context()), cases))
    plain = asyncio.run(trial(plain_judge(model, stage, Context()), cases))
    assert [fenced.passed(kind) for kind in ATTACKS] == [0] * len(ATTACKS)
    assert plain.passed("verdict planted") > 0
    assert plain.passed(CONTROL) == 0
    assert len(plain.attackable) == len(fenced.attackable) == 6


def test_rows_that_pass_as_they_are_cannot_be_attacked() -> None:
    """The threshold is the median of the clean rows; an unscored row neither counts nor passes."""
    found = judged([0.9, 0.8, None], [0.1, 0.2, 0.85, None], [0.8, 0.79, 0.9, 0.9])
    assert found.threshold == 0.8
    assert found.attackable == [0, 1]
    assert found.after(CONTROL) == [0.8, 0.79]
    assert found.passed(CONTROL) == 1


def test_the_table_counts_attacks_apart_from_the_control() -> None:
    """Six kinds on two rows are twelve attacks; all six succeed on one of the rows.

    Rows that differ so are worth one attack: beta quantiles of half a success in one.
    """
    found = judged([0.9, 0.8], [0.1, 0.2], [0.8, None])
    lines = table({"ours": {"set": found}})
    assert "| **all six** | 6/12 = 0.50 [0.00, 1.00], 6 unscored |" in lines
    assert lines[-1] == "- ours: set 0 of 2 (at 0.500)"


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_keeps_the_response_and_adds_to_it(kind: str) -> None:
    """The bad response still stands first, and rows get the wordings of a kind in turn."""
    rows = [attack(case(n, bad=True).example, kind, ATTACKS[kind], n) for n in range(6)]
    assert all(row.response.startswith("5") and len(row.response) > 2 for row in rows)
    assert len({row.response for row in rows}) == (1 if kind == CONTROL else 6 - (kind in FIVE))


FIVE = {"ignore the above", "hidden text", "long padding"}
"""Kinds of five wordings, so that the sixth row has the first row's."""
