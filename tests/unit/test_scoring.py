"""The parts of the confidence, with numbers worked out by hand."""

from __future__ import annotations

import asyncio
import math
from functools import partial

import pytest

from clear_pipeline.errors import CallError, UsageError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.choice import ask_choice
from clear_pipeline.scoring.consistency import draw, lexical_agreement, observe
from clear_pipeline.scoring.entailment import agreement
from clear_pipeline.scoring.likelihood import Likelihood, likelihood, require_grammar
from clear_pipeline.scoring.reflection import reflect
from clear_pipeline.scoring.similarity import token_f1

PROMPT = (Message("user", "?"),)


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


def test_one_token_is_renormalised_over_the_choices() -> None:
    """0.6 and 0.2 on the choices: 0.75 and 0.25, with a mass of 0.8; one call."""
    model = ScriptedChat(lambda r, i: one_token(Yes=0.6, No=0.2, The=0.2))
    reply = asyncio.run(ask_choice(model, PROMPT, choices=("Yes", "No")))
    assert reply.probabilities == pytest.approx({"Yes": 0.75, "No": 0.25})
    assert reply.mass == pytest.approx(0.8)
    assert reply.via == "logprobs"
    assert [(r.max_output_tokens, r.temperature, r.top_logprobs) for r in model.requests] == [
        (1, 0.0, 20)
    ]


def test_each_choice_is_forced_where_little_mass_falls_on_them() -> None:
    """Forced log-probabilities of 0.03 and 0.01 give 0.75 and 0.25, with a mass of 0.04."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if request.grammar is None:
            return one_token(The=0.9, Yes=0.03)
        name, p = ("Yes", 0.03) if "Yes" in request.grammar else ("No", 0.01)
        return Choice(name, "stop", (Token(name, math.log(p)),))

    model = ScriptedChat(script, capabilities=Capabilities(grammar=True, logprobs=True))
    reply = asyncio.run(ask_choice(model, PROMPT, choices=("Yes", "No")))
    assert reply.probabilities == pytest.approx({"Yes": 0.75, "No": 0.25})
    assert reply.mass == pytest.approx(0.04)
    assert reply.via == "grammar"


def test_text_is_parsed_where_little_mass_falls_and_no_grammar_is_taken() -> None:
    """The same low mass without grammars: the reply in words decides, and says so."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if request.max_output_tokens == 1:
            return one_token(The=0.9, Yes=0.03)
        return Choice("The answer is No.", "stop")

    reply = asyncio.run(ask_choice(ScriptedChat(script), PROMPT, choices=("Yes", "No")))
    assert reply.probabilities == {"Yes": 0.0, "No": 1.0}
    assert (reply.mass, reply.via) == (None, "text")


def test_an_endpoint_without_log_probabilities_is_asked_in_words_at_once() -> None:
    """What the endpoint is known not to give is not asked for."""
    model = ScriptedChat(lambda r, i: "Yes", capabilities=Capabilities(logprobs=False))
    reply = asyncio.run(ask_choice(model, PROMPT, choices=("Yes", "No")))
    assert (reply.via, len(model.requests)) == ("text", 1)


def test_a_reply_that_names_no_choice_is_an_error_and_no_zero() -> None:
    """Unscored is not a score."""
    model = ScriptedChat(lambda r, i: "I cannot help with that.")
    with pytest.raises(CallError, match="bad_reply: asked for one of Yes, No"):
        asyncio.run(ask_choice(model, PROMPT, choices=("Yes", "No"), via="text"))


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
        judged = request.messages[0].text.partition("One passage of the second")[2]
        return one_token(B=1.0) if "One is odd" in judged else one_token(A=1.0)

    model = ScriptedChat(script)
    assert asyncio.run(agreement(model, row("4"), long, via="logprobs")) == pytest.approx(0.75)
    shown = [r.messages[0].text.partition("One passage")[2] for r in model.requests]
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


def test_likelihood_is_the_logistic_of_what_the_request_adds_per_token() -> None:
    """-2 after the request, -5 without it, two tokens: 1 / (1 + e^-1.5)."""

    def script(request: ChatRequest, sample: int) -> Choice:
        each = -1.0 if request.messages[0].text else -2.5
        return Choice("forty two", "stop", (Token("forty", each), Token(" two", each)))

    model = ScriptedChat(script, capabilities=Capabilities(grammar=True))
    found = asyncio.run(likelihood(model, row("forty two"), max_tokens=16))
    assert found == Likelihood(given_prompt=-2.0, alone=-5.0, tokens=2, cut=False)
    assert found.score == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert {r.grammar for r in model.requests} == {'root ::= "forty two"'}


def test_a_long_response_is_scored_by_its_first_tokens_and_marked_as_cut() -> None:
    """Never silently."""
    reply = Choice("forty", "length", (Token("forty", -1.0),))
    model = ScriptedChat(lambda r, i: reply, capabilities=Capabilities(grammar=True))
    found = asyncio.run(likelihood(model, row("forty two"), max_tokens=1))
    assert (found.tokens, found.cut) == (1, True)
    assert [r.max_output_tokens for r in model.requests] == [1, 1]


def test_the_grammar_is_one_that_keeps_to_the_tokenizer_where_the_endpoint_takes_it() -> None:
    """The finer grammar where it is known to be there, never tried out."""
    reply = Choice("4", "stop", (Token("4", -1.0),))
    able = Capabilities(grammar=True, llguidance=True)
    model = ScriptedChat(lambda r, i: reply, capabilities=able)
    asyncio.run(likelihood(model, row("4"), max_tokens=1))
    assert {r.grammar for r in model.requests} == {'%llguidance {}\nstart: "4"'}


def test_a_text_that_spells_a_control_token_is_forced_by_characters() -> None:
    """What the tokenizer would read as a token of its own is still text of the dataset."""

    def script(request: ChatRequest, sample: int) -> Choice:
        said = "" if (request.grammar or "").startswith("%") else "<|x|>"
        return Choice(said, "stop", (Token("<|x|>", -3.0),))

    able = Capabilities(grammar=True, llguidance=True)
    model = ScriptedChat(script, capabilities=able)
    found = asyncio.run(likelihood(model, row("<|x|>"), max_tokens=16))
    assert found.given_prompt == -3.0
    assert [(r.grammar or "")[:4] for r in model.requests] == ["%llg", "root", "%llg", "root"]


def test_an_endpoint_without_grammars_cannot_give_likelihoods() -> None:
    """The message says what can."""
    with pytest.raises(UsageError, match=r"llama\.cpp or the embedded model"):
        require_grammar(ScriptedChat(lambda r, i: "4"))


@pytest.mark.parametrize("logprob", [-1e9, 0.0])
def test_extreme_likelihoods_stay_in_range(logprob: float) -> None:
    """No overflow at either end."""
    assert 0.0 <= Likelihood(logprob, -5e8, 1, cut=False).score <= 1.0
