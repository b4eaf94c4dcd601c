"""The benchmark of the cascade, with a scripted model: its figures by hand."""

from __future__ import annotations

import argparse
import asyncio
import math

import pytest

from benchmarks.cascade import compare, stages
from benchmarks.rectify import Case
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Example, Message
from clear_pipeline.stages.base import Context
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.score import Score

CHEAP = [0.1, 0.2, 0.45, 0.55, 0.8, 0.9]
BAD = [True, True, False, True, False, False]
"""The cheap pass has one pair of nine the wrong way round, 0.45 and 0.55; draws put it right."""


def reply(request: ChatRequest, sample: int) -> Choice:
    text = request.messages[-1].text
    number = int(text.split("Question ")[1].split()[0])
    if "FINAL RESPONSE" in text:
        return Choice(f"FINAL RESPONSE: {'no' if BAD[number] else 'yes'}", "stop")
    top = tuple(
        (word, math.log(p)) for word, p in (("Yes", CHEAP[number]), ("No", 1 - CHEAP[number]))
    )
    return Choice("Yes", "stop", (Token("Yes", top[0][1], top),))


def case(number: int) -> Case:
    messages = (Message("user", f"Question {number}"),)
    example = Example(
        f"a:{number}", "a", number, "chat", messages, Message("assistant", "yes"), "{}"
    )
    return Case(example, BAD[number], "yes")


def test_a_third_of_the_calls_finds_what_all_of_them_find() -> None:
    """Cheap 8/9; sampled 1; a band of two rows saves four of six calls and loses nothing."""
    cases = [case(number) for number in range(len(BAD))]
    cascade = Cascade(k=1, similarity="lexical")
    ctx = Context({"scorer": ScriptedChat(reply)}, rows_in_flight=1)
    cheap, full, most, found = asyncio.run(compare(cases, Score(), cascade, [0.34, 0.2], ctx))
    assert [cheap.value, full.value] == pytest.approx([8 / 9, 1.0])
    assert (most.asked, most.calls) == (6, 6)
    assert [one.use.asked for one in found] == [3, 2]
    assert found[1].draws_saved == pytest.approx(4 / 6)
    assert (found[1].auroc.value, found[1].difference.value) == (1.0, 0.0)


def test_first_draws_of_every_row_count_among_the_draws() -> None:
    """One of four draws for six rows, three more for two: 12 of 24."""
    cases = [case(number) for number in range(len(BAD))]
    score = Score(k=1, similarity="lexical")
    cascade = Cascade(k=4, similarity="lexical")
    ctx = Context({"scorer": ScriptedChat(reply)}, rows_in_flight=1)
    cheap, full, _, (one,) = asyncio.run(compare(cases, score, cascade, [0.34], ctx))
    assert (cheap.value, full.value) == (1.0, 1.0)
    assert one.use.asked == 3
    assert one.draws_saved == pytest.approx(1 - (6 + 3 * 3) / 24)


@pytest.mark.parametrize(("first", "draws"), [(0, 0), (1, 1)])
def test_the_cheap_pass_draws_only_where_it_is_told_to(first: int, draws: int) -> None:
    """Without a first draw, what says how to draw is for the cascade alone."""
    args = argparse.Namespace(
        preset="fast", k=3, first=first, similarity="lexical", draw_form="plain",
        temperature=0.7, max_tokens=64,
    )  # fmt: skip
    score, cascade = stages(args)
    assert (score.k, cascade.k) == (draws, 3)
    assert (cascade.similarity, cascade.temperature) == ("lexical", 0.7)
