"""The parts of the confidence, with numbers worked out by hand."""

from __future__ import annotations

import asyncio
import math
from functools import partial

import pytest

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.prompts.views import FIRST
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.consistency import draw, lexical_agreement, observe
from clear_pipeline.scoring.entailment import agreement
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.scoring.similarity import token_f1


def row(response: str) -> Example:
    return Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", "Add 2 and 2."),),
        target=Message("assistant", response),
        original="{}",
    )


def one_token(**probabilities: float) -> Choice:
    top = tuple((text, math.log(p)) for text, p in probabilities.items())
    return Choice(top[0][0], "length", (Token(top[0][0], top[0][1], top),))


def test_reflection_of_the_paper_is_the_mean_of_two_verdicts() -> None:
    """A then C: (1 + 0.5) / 2."""
    model = ScriptedChat(lambda r, i: "C" if "really" in r.messages[0].text else "A")
    verdict = asyncio.run(reflect(model, row("4"), ("abc", "abc_again"), via="text"))
    assert (verdict.score, verdict.via) == (0.75, "text")


def test_reflection_is_the_expected_value_of_the_choice() -> None:
    """P(A) = 0.5, P(B) = 0.25, P(C) = 0.25: 0.5 + 0.125."""
    model = ScriptedChat(lambda r, i: one_token(A=0.5, B=0.25, C=0.25))
    verdict = asyncio.run(reflect(model, row("4"), ("abc",)))
    assert verdict.score == pytest.approx(0.625)
    assert verdict.choice_mass == pytest.approx(1.0)


def test_several_questions_report_the_least_mass_and_the_weakest_way() -> None:
    """One question read as text makes the whole verdict `text`."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if "True or False" in request.messages[0].text:
            return Choice("True", "stop")
        return one_token(Yes=0.54, No=0.06, The=0.4)

    verdict = asyncio.run(reflect(ScriptedChat(script), row("4"), ("yes_no", "true_false")))
    assert verdict.score == pytest.approx((0.9 + 1.0) / 2)
    assert verdict.choice_mass == pytest.approx(0.6)
    assert verdict.via == "text"


def test_no_part_of_a_response_covers_for_another() -> None:
    """Yes is 0.9 for the whole, 0.2 for the first part; True is 0.3 for the rest, else 0.6.

    The lowest of each question count: (0.2 + 0.3) / 2, where the whole has (0.9 + 0.6) / 2.
    """

    def script(request: ChatRequest, sample: int) -> Choice:
        text = request.messages[0].text
        whole, first = "5.\n\nLovely" in text, "Lovely" not in text
        if "True or False" in text:
            p = 0.6 if whole or first else 0.3
            return one_token(**{"True": p, "False": 1 - p})
        p = 0.9 if whole else (0.2 if first else 0.5)
        return one_token(Yes=p, No=1 - p)

    model = ScriptedChat(script)
    attacked = row("It is 5.\n\nLovely weather.")
    verdict = asyncio.run(reflect(model, attacked, ("yes_no", "true_false"), in_parts=True))
    assert verdict.values == pytest.approx({"yes_no": 0.2, "true_false": 0.3})
    assert verdict.score == pytest.approx(0.25)
    assert verdict.whole == pytest.approx(0.75)
    assert verdict.lowest == FIRST
    assert len(model.requests) == 6
    whole = asyncio.run(reflect(model, attacked, ("yes_no",)))
    assert whole.score == whole.whole == pytest.approx(0.9)


def test_agreement_is_one_minus_the_mean_contradiction_of_both_directions() -> None:
    """0.8 one way and 0.2 the other: 0.5."""

    def script(request: ChatRequest, sample: int) -> Choice:
        forward = "Suppose that the first" in request.messages[0].text
        return one_token(B=0.8, A=0.2) if forward else one_token(A=0.8, B=0.2)

    s = asyncio.run(agreement(ScriptedChat(script), row("4"), "5", via="logprobs"))
    assert s == pytest.approx(0.5)


def test_a_long_answer_is_judged_in_passages_and_its_sentences_weigh_the_same() -> None:
    """4 sentences in passages of 2: contradiction 1 and 0 is 0.5 one way, 0 the other: 0.75."""
    long = "One is odd. Two is even. Three is odd. Four is even."

    def script(request: ChatRequest, sample: int) -> Choice:
        judged = request.messages[0].text.partition("<passage>")[2]
        return one_token(B=1.0) if "One is odd" in judged else one_token(A=1.0)

    model = ScriptedChat(script)
    assert asyncio.run(agreement(model, row("4"), long, via="logprobs")) == pytest.approx(0.75)
    shown = [r.messages[0].text.partition("<passage>")[2] for r in model.requests]
    assert [("One" in t, "Three" in t) for t in shown] == [
        (True, False), (False, True), (False, False),
    ]  # fmt: skip


def test_a_pair_that_the_window_cannot_hold_is_an_error_and_nothing_is_cut() -> None:
    """The reason reaches the row."""

    def script(request: ChatRequest, sample: int) -> Choice:
        raise CallError("context", "9000 tokens, the window is 4096", transient=False)

    with pytest.raises(CallError, match="context: 9000 tokens"):
        asyncio.run(agreement(ScriptedChat(script), row("4"), "5", via="logprobs"))


def test_observed_consistency_weighs_agreement_and_exact_match() -> None:
    """Draws 4 and 5 against 4: s = 1, 0.25 and r = 1, 0, so O = (1 + 0.8 * 0.25) / 2."""
    model = ScriptedChat(lambda r, i: one_token(B=0.75, A=0.25))
    seen = asyncio.run(
        observe(row("4"), ["4.", "5"], alpha=0.8, agree=partial(agreement, model, via="logprobs"))
    )
    assert seen.score == pytest.approx((1.0 + 0.8 * 0.25) / 2)
    assert seen.entailment == pytest.approx(0.625)
    assert seen.exact_match == 0.5
    assert len(model.requests) == 2, "the draw that says the same is not asked about"


def test_lexical_similarity_is_the_overlap_of_words() -> None:
    """Words alone: "big red dog" against "red dog" is 2 * 2 / 5."""
    seen = asyncio.run(
        observe(row("red dog"), ["a big red dog"], alpha=0.8, agree=lexical_agreement)
    )
    assert seen.entailment == pytest.approx(0.8)
    assert seen.score == pytest.approx(0.64)


def test_draws_that_came_to_no_answer_are_left_out_and_none_is_an_error() -> None:
    """A draw that the token limit cut is no disagreement."""

    def script(request: ChatRequest, sample: int) -> Choice:
        return Choice("FINAL RESPONSE: 4", "stop") if sample == 1 else Choice("Hm", "length")

    model = ScriptedChat(script)
    assert asyncio.run(draw(model, row("4"), k=3, temperature=1.0, max_tokens=8)) == ["4"]
    assert [r.samples for r in model.requests] == [range(3)], "all draws in one request"
    with pytest.raises(CallError, match="none of 1 draws came to a response within 8 tokens"):
        asyncio.run(draw(model, row("4"), k=1, temperature=1.0, max_tokens=8))


def test_the_confidence_of_the_paper_has_its_flat_weights() -> None:
    """0.56 agreement + 0.14 exact match + 0.30 reflection."""
    s, r, verdict = 0.5, 1.0, 0.25
    o = bsdetector.observed(s, r, alpha=bsdetector.PAPER_ALPHA)
    c = bsdetector.combine(o, verdict, beta=bsdetector.PAPER_BETA)
    assert c == pytest.approx(0.56 * s + 0.14 * r + 0.30 * verdict)


def test_log_odds_are_averaged_by_absolute_weight() -> None:
    """Odds 4 and, turned, 4; odds 9 and 1 at weights 1 and 3 are odds 9 ** (1 / 4)."""
    turned = bsdetector.weighted_log_odds({"a": 0.8, "b": 0.2}, {"a": 1.0, "b": -1.0})
    assert turned == pytest.approx(0.8)
    odds = 9**0.25
    mixed = bsdetector.weighted_log_odds({"a": 0.9, "b": 0.5}, {"a": 1.0, "b": 3.0})
    assert mixed == pytest.approx(odds / (1 + odds))


def test_certainty_has_finite_log_odds() -> None:
    """0 and 1 count as a millionth from there, so that the other part still shows."""
    sure = bsdetector.weighted_log_odds({"a": 1.0, "b": 0.4}, {"a": 1.0, "b": 1.0})
    surer = bsdetector.weighted_log_odds({"a": 1.0, "b": 0.6}, {"a": 1.0, "b": 1.0})
    assert 0.5 < sure < surer < 1.0
    assert bsdetector.weighted_log_odds({"a": 1.0}, {"a": -2.0}) == pytest.approx(1e-6)


def test_few_draws_that_agree_are_no_proof() -> None:
    """(k O + 1/2) / (k + 1): more draws come nearer to 0 and 1, none reaches them."""
    assert bsdetector.share_of_draws(1.0, 5) == pytest.approx(5.5 / 6)
    assert bsdetector.share_of_draws(0.0, 2) == pytest.approx(0.5 / 3)
    assert bsdetector.share_of_draws(0.5, 4) == pytest.approx(0.5)


def test_a_part_that_was_not_computed_leaves_the_other_alone() -> None:
    """Absent is not zero."""
    assert bsdetector.combine(None, 0.25, beta=0.7) == 0.25
    assert bsdetector.combine(0.5, None, beta=0.7) == 0.5
    assert bsdetector.combine(None, None, beta=0.7) is None


def test_word_overlap_is_the_harmonic_mean_of_precision_and_recall() -> None:
    """3 of 4 words and 3 of 5: 6 / 9."""
    assert token_f1("one two three four", "one two three five six") == pytest.approx(6 / 9)
    assert token_f1("", "") == 1.0
    assert token_f1("!", "?") == 0.0
    assert token_f1("!", "word") == 0.0
