"""The likelihood of a response, with numbers worked out by hand."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import pytest

from clear_pipeline.errors import CallError, RunFailedError, UsageError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Choice, Completion, Token, Usage
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.prompts.forced import parse_scored
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.forced import force
from clear_pipeline.scoring.likelihood import (
    ALONE,
    Form,
    Likelihood,
    likelihood,
    require_likelihood,
)


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


@pytest.mark.parametrize(
    ("form", "score"),
    [
        ("gain_per_token", 1 / (1 + math.exp(-1.5))),
        ("gain", (1 + 3 / 4) / 2),
        ("given_per_token", math.exp(-1.0)),
        ("given", 1 / 3),
    ],
)
def test_each_form_of_the_likelihood(form: Form, score: float) -> None:
    """-2 after the request, -5 without it, two tokens: a gain of 3, 1.5 each."""
    assert Likelihood(-2.0, -5.0, 2, cut=False, form=form).score == pytest.approx(score)


@pytest.mark.parametrize("form", ["gain_per_token", "gain", "given_per_token", "given"])
@pytest.mark.parametrize("tokens", [16, 2000])
def test_likelier_responses_score_higher_at_any_length(form: Form, tokens: int) -> None:
    """No form runs into 0 or 1, where rows would tie: 1,000 sums, a twentieth of a nat apart."""
    sums = [-0.05 * n * tokens / 16 for n in range(1, 1000)]
    scores = [Likelihood(s, -25.0 * tokens / 16, tokens, cut=False, form=form).score for s in sums]
    assert all(0.0 < lower < higher < 1.0 for higher, lower in pairwise(scores))


@pytest.mark.parametrize("form", ["given_per_token", "given"])
def test_a_likelihood_after_the_request_needs_no_call_without_it(form: Form) -> None:
    """One call; what was not asked for is None."""
    reply = Choice("4", "stop", (Token("4", -2.0),))
    model = ScriptedChat(lambda r, i: reply, capabilities=Capabilities(grammar=True))
    found = asyncio.run(likelihood(model, row("4"), max_tokens=16, form=form))
    assert (found.given_prompt, found.alone, len(model.requests)) == (-2.0, None, 1)


@pytest.mark.parametrize("form", ["gain_per_token", "gain", "given_per_token", "given"])
@pytest.mark.parametrize("logprob", [-1e9, 0.0])
def test_extreme_likelihoods_stay_in_range(form: Form, logprob: float) -> None:
    """No overflow at either end."""
    assert 0.0 <= Likelihood(logprob, -5e8, 1, cut=False, form=form).score <= 1.0


def test_an_endpoint_that_scores_no_text_cannot_give_likelihoods() -> None:
    """The message says what can; what is known is not asked."""
    model = ScriptedChat(lambda r, i: "4", capabilities=Capabilities(prompt_logprobs=False))
    with pytest.raises(UsageError, match=r"a llama\.cpp \(grammars\), a vLLM \(prompt_logprobs\)"):
        asyncio.run(require_likelihood(model))
    assert model.requests == []


def test_a_server_that_only_talks_is_found_out_by_asking() -> None:
    """Unknown parameters are ignored by many; the reply shows it."""
    model = ScriptedChat(lambda r, i: "Sure!", capabilities=Capabilities())
    with pytest.raises(UsageError, match="--preset fast"):
        asyncio.run(require_likelihood(model))


@pytest.mark.parametrize("kind", ["outage", "timeout", "rate_limit", "garbled"])
def test_an_outage_says_nothing_about_what_an_endpoint_can(kind: str) -> None:
    """Half of the rows with the likelihood and half without would not compare; the run waits."""

    def script(request: ChatRequest, sample: int) -> Choice:
        raise CallError(kind, "down", transient=True)

    with pytest.raises(RunFailedError, match=rf"^{kind}: down.*the same command asks again"):
        asyncio.run(require_likelihood(ScriptedChat(script, capabilities=Capabilities())))


class Scoring(ScriptedChat):
    """A server that counts five tokens before the response and scores it by `tokens`."""

    def __init__(self, *tokens: Token) -> None:
        text = "".join(token.text for token in tokens)
        super().__init__(lambda r, i: Choice(text, "stop", tokens))

    async def complete(self, request: ChatRequest) -> Completion:
        answer = await super().complete(request)
        return Completion(answer.choices, answer.model, Usage(prompt=5))


def test_the_prompt_is_scored_from_where_the_response_begins() -> None:
    """Five tokens come before it; of its own three, the first two count, and it is cut."""
    model = Scoring(Token("for", -1.0), Token("ty", -2.0), Token(" two", -4.0))
    found = asyncio.run(likelihood(model, row("forty two"), max_tokens=2, form="given"))
    assert (found.given_prompt, found.tokens, found.cut) == (-3.0, 2, True)
    before, scored = model.requests
    assert (before.messages, before.score_from) == (row("").messages, None)
    assert scored.messages == (*row("").messages, Message("assistant", "forty two"))
    assert scored.score_from == 5


@pytest.mark.parametrize(
    ("tokens", "text", "first"),
    [
        (["<think>", "\n\n", "</think>", "\n\n", "Yes", "."], "Yes.", 3),
        (["Two", "words"], "Two words", 0),
        (["\n", "Yes"], "  Yes \n", 0),
        (["\ufffd", "\ufffd", "\ufffd", " ok"], "\U0001f600 ok", 0),
        (["caf", "\ufffd", "\ufffd"], "caf\u00e9", 0),
        (["A", "B"], "\uff21\uff22", 0),
    ],
)
def test_the_response_is_found_behind_what_a_template_writes(
    tokens: list[str], text: str, first: int
) -> None:
    """Empty thoughts are skipped; spaces, cut characters and wide letters may print otherwise."""
    scored = tuple(Token(t, -1.0) for t in tokens)
    assert parse_scored(Choice("".join(tokens), "stop", scored), text) == scored[first:]


@pytest.mark.parametrize("tokens", [["Yes", "<|im_end|>", "\n"], ["No"], ["Ye"], []])
def test_other_text_than_the_response_is_no_score_of_it(tokens: list[str]) -> None:
    """A template that closes the turn, or a server that scores something else."""
    scored = tuple(Token(t, -1.0) for t in tokens)
    with pytest.raises(CallError, match="bad_reply"):
        parse_scored(Choice("", "stop", scored), "Yes")


def test_more_tokens_than_were_asked_for_do_not_count() -> None:
    """A model that thinks is given more room; its rows must compare with those of before."""
    tokens = tuple(Token(letter, -1.0) for letter in "abcd")
    model = ScriptedChat(
        lambda r, i: Choice("abcd", "stop", tokens), capabilities=Capabilities(grammar=True)
    )
    found = asyncio.run(force(model, ALONE, "abcd", max_tokens=3))
    assert (found.logprob, found.tokens, found.cut) == (-3.0, 3, True)


def test_a_text_that_ends_at_the_limit_is_not_cut() -> None:
    """The server says "length" for it as well."""
    tokens = tuple(Token(letter, -1.0) for letter in "abc")
    model = ScriptedChat(
        lambda r, i: Choice("abc", "length", tokens), capabilities=Capabilities(grammar=True)
    )
    assert asyncio.run(force(model, ALONE, "abc", max_tokens=3)).cut is False
