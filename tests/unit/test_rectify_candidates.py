"""Rectify with several candidates: which are judged, and which one is taken."""

from __future__ import annotations

import math
from functools import partial

import pytest

from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Reply, Script
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.unified import LONGEST, unified_diff
from rectify_rows import letters, row, run

several = partial(Rectify, form="one-token", candidate_temperature=0.7)
"""Draws of several candidates, by the form whose judge is scripted with one reply."""


def in_turn(*replies: Reply) -> Script:
    """Sample i is the i-th reply."""
    return lambda _, sample: replies[sample]


def judge_by_word(preferences: dict[str, float]) -> Script:
    """How surely a candidate of this word is better than "five", in both orders."""

    def script(request: ChatRequest, _: int) -> Reply:
        text = request.messages[0].text
        word = next(word for word in preferences if f"\n{word}\n" in text)
        first = text.index(f"\n{word}\n") < text.index("\nfive\n")
        one, other = ("A", "B") if first else ("B", "A")
        share = preferences[word]
        top = ((one, math.log(share)), (other, math.log(1 - share)))
        return Choice(one if share > 0.5 else other, "length", (Token(*top[0], top),))

    return script


def test_the_surest_of_several_candidates_becomes_the_target() -> None:
    """Four draws in one request; equal ones are judged once: two apart, two orders, four calls."""
    [got], writer, judge = run(
        several(candidates=4),
        [row(1)],
        candidate=in_turn("four", "six", "Four!", "six"),
        judge=judge_by_word({"four": 0.85, "six": 0.9}),
    )
    [request] = writer.requests
    assert (request.samples, request.temperature, request.seed) == (range(4), 0.7, 0)
    assert (got["candidate"], got["preference"]) == ("six", pytest.approx(0.9))
    assert got["new_target"]["content"] == "six"
    assert len(judge.requests) == 4
    counts = {"drawn": 4, "refused": 0, "confirming": 0, "repeated": 2, "judged": 2}
    assert got["candidate_draws"] == counts


def test_one_that_both_orders_prefer_goes_before_a_surer_tie() -> None:
    """0.9 in one order alone is a tie at 0.65; 0.6 in both orders is a verdict."""

    def script(request: ChatRequest, sample: int) -> Reply:
        if "\nsix\n" in request.messages[0].text:
            return judge_by_word({"six": 0.6})(request, sample)
        first = request.messages[0].text.index("\nfour\n") < request.messages[0].text.index(
            "\nfive"
        )
        share = 0.9 if first else 0.4
        one, other = ("A", "B") if first else ("B", "A")
        top = ((one, math.log(share)), (other, math.log(1 - share)))
        return Choice(one, "length", (Token(*top[0], top),))

    [got], _, _ = run(
        several(candidates=2, eta=0.5), [row(1)], candidate=in_turn("four", "six"), judge=script
    )
    assert (got["candidate"], got["preference"]) == ("six", pytest.approx(0.6))
    assert got["rectify_outcome"] == "replaced"


def test_draws_that_confirm_or_are_refused_are_not_judged() -> None:
    """One as the original, one cut, one left to judge; the counts sum to what was drawn."""
    [got], _, judge = run(
        several(candidates=3), [row(1)], candidate=in_turn("five", Choice("fo", "length"), "four")
    )
    counts = {"drawn": 3, "refused": 1, "confirming": 1, "repeated": 0, "judged": 1}
    assert (got["candidate_draws"], len(judge.requests)) == (counts, 2)
    assert (got["candidate"], got["rectified"]) == ("four", True)


def test_refusals_of_several_draws_are_told_once_each() -> None:
    """Two reasons of three draws."""
    [got], _, _ = run(
        several(candidates=3), [row(1)], candidate=in_turn("", Choice("fo", "length"), " ")
    )
    why = "candidate refused: it is empty; it was cut at the token limit"
    assert (got["rectify_reason"], got["rectify_outcome"]) == (why, "refused")


def test_several_candidates_need_a_temperature() -> None:
    """At 0 all would be the same, and a default would be a guess."""
    with pytest.raises(ValueError, match=r"candidate_temperature=0\.7"):
        Rectify(candidates=2)


def test_a_check_of_the_form_can_be_left_out() -> None:
    """Whoever wants other keys says so."""
    old = row(1, answer='{"answer": "five"}')
    script = in_turn('{"result": "four"}')
    refused, kept = (
        run(stage, [old], candidate=script, judge=lambda *_: Choice("C", "stop"))[0][0]
        for stage in (letters(), letters(keep_form=("code", "tools", "language")))
    )
    assert refused["rectify_reason"] == (
        "candidate refused: its JSON lacks keys of the original: 'answer'"
    )
    assert kept["candidate"] == '{"result": "four"}'


def test_a_diff_shows_lines_and_says_what_it_leaves_out() -> None:
    """Context and changes; 8,000 characters after whole lines, then how many are missing."""
    assert unified_diff("a\nb", "a\nc").split("\n")[2:] == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    # Two heads, one position, 1,000 lines out: 12 + 7 + 16 + 1,000 * 11 characters and a new one.
    long = unified_diff("\n".join(["x" * 9] * 1000), "y").split("\n")
    whole = len("--- original\n+++ new\n@@ -1,1000 +1 @@") + 1000 * 11 + 3
    kept = len("\n".join(long[:-1]))
    assert kept <= LONGEST < kept + 11
    assert long[-1] == f"\\ {whole - kept:,} more characters of this diff are left out"
    assert set(long[3:-1]) == {"-" + "x" * 9}


def test_texts_that_are_too_long_have_no_diff_but_a_word() -> None:
    """Their lines would take minutes to compare."""
    assert unified_diff("a" * 200_000, "b") == "\\ 200,000 and 1 characters: too long for a diff"
