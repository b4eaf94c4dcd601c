"""One question, one of a few words: every way in which an endpoint's reply is read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Script, ScriptedChat
from clear_pipeline.prompts.choices import (
    choice_probabilities,
    first_visible,
    parse_choice,
    parse_verdict,
    schema_probabilities,
)
from clear_pipeline.prompts.reflection import WORDINGS, reflection_orders
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.choice import ChoiceReply, ask_choice, ask_orders

PROMPT = (Message("user", "?"),)
YES_NO = ("Yes", "No")


def one_token(**probabilities: float) -> Choice:
    top = tuple((text, math.log(p)) for text, p in probabilities.items())
    return Choice(top[0][0], "length", (Token(top[0][0], top[0][1], top),))


def ask(script: Script, *, text_samples: int = 1, **able: bool | None) -> ChoiceReply:
    able = {"logprobs": True, **able}
    model = ScriptedChat(script, capabilities=Capabilities(**able))  # type: ignore[arg-type]
    asked = ask_choice(model, PROMPT, choices=YES_NO, text_samples=text_samples)
    return asyncio.run(asked)


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
    """Forced log-probabilities of 0.03 and 0.01 give 0.75 and 0.25; the mass stays 0.03."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if request.grammar is None:
            return one_token(The=0.9, Yes=0.03)
        name, p = ("Yes", 0.03) if "Yes" in request.grammar else ("No", 0.01)
        return Choice(name, "stop", (Token(name, math.log(p)),))

    model = ScriptedChat(script, capabilities=Capabilities(grammar=True, logprobs=True))
    reply = asyncio.run(ask_choice(model, PROMPT, choices=("Yes", "No")))
    assert reply.probabilities == pytest.approx({"Yes": 0.75, "No": 0.25})
    assert reply.mass == pytest.approx(0.03)
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


def json_reply(*pieces: str, top: Sequence[tuple[str, float]] = (), at: int = 1) -> Choice:
    """A reply in JSON whose piece number `at` has alternatives."""
    tokens = [
        Token(text, -0.1, tuple((t, math.log(p)) for t, p in top) if place == at else ())
        for place, text in enumerate(pieces)
    ]
    return Choice("".join(pieces), "stop", tuple(tokens))


def low_then(reply: Choice) -> Script:
    """Little mass on the choices of the free token; `reply` to the schema."""
    return lambda r, i: reply if r.response_format is not None else one_token(The=0.9, Yes=0.02)


def test_a_schema_gives_the_probabilities_where_little_mass_falls_and_no_grammar_is_taken() -> None:
    """The token after `"answer": "` decides: 0.6 and 0.2 are 0.75 and 0.25; the mass stays low."""
    reply = json_reply('{"', "answer", '": "', "No", '"}', top=[("No", 0.6), ("Yes", 0.2)], at=3)
    found = ask(low_then(reply))
    assert found.probabilities == pytest.approx({"Yes": 0.25, "No": 0.75})
    assert found.mass == pytest.approx(0.02)
    assert found.via == "schema"


@pytest.mark.parametrize(
    ("pieces", "at", "choices"),
    [
        (("{", '"answer":', '"Unsure', '"}'), 2, ("Yes", "Unsure")),
        (('{"answer":"', "Un", "sure", '"}'), 1, ("Yes", "Unsure")),
        (("\n{ ", '"answer" : "', "(unsure", '"}'), 2, ("Yes", "Unsure")),
    ],
)
def test_the_token_where_the_choices_part_is_found(
    pieces: tuple[str, ...], at: int, choices: tuple[str, ...]
) -> None:
    """Whatever the tokenizer puts together, and where a choice is more than one token."""
    begun = pieces[at]
    reply = json_reply(*pieces, top=[(begun, 0.75), ("Yes", 0.25)], at=at)
    found = schema_probabilities(reply, choices)
    assert found == pytest.approx({"Yes": 0.25, "Unsure": 0.75})


def test_json_without_log_probabilities_is_a_hard_verdict() -> None:
    """What was said, and nothing about how surely."""
    found = ask(low_then(Choice('{"answer": "No"}', "stop")))
    assert (found.probabilities, found.via) == ({"Yes": 0.0, "No": 1.0}, "schema")


@pytest.mark.parametrize("text", ['{"answer": "Maybe"}', '{"answer": "N', "{", '{"answer": 1}'])
def test_json_that_names_no_choice_is_asked_about_in_words(text: str) -> None:
    """A truncated or broken reply to the schema is no verdict."""

    def all_ways(request: ChatRequest, sample: int) -> Choice:
        if request.response_format is not None:
            return Choice(text, "length")
        return one_token(The=0.9) if request.max_output_tokens == 1 else Choice("No.", "stop")

    found = ask(all_ways)
    assert (found.probabilities["No"], found.via) == (1.0, "text")


def test_an_endpoint_known_to_keep_to_no_schema_is_asked_for_none() -> None:
    """The free token, then words."""
    asked = []

    def script(request: ChatRequest, sample: int) -> Choice:
        asked.append(request.response_format)
        return one_token(The=0.9) if request.max_output_tokens == 1 else Choice("Yes", "stop")

    assert ask(script, schema=False).via == "text"
    assert asked == [None, None]


def test_an_option_in_words_stands_for_its_letter_in_the_order_that_is_asked() -> None:
    """Always "correct", which is A, then C, then B: one opinion in all three."""
    model = ScriptedChat(lambda r, i: "It is correct.", capabilities=Capabilities(logprobs=False))
    orders = reflection_orders(example(), WORDINGS["abc"], samples=3)
    reply = asyncio.run(ask_orders(model, orders))
    assert reply.probabilities == {"A": 1.0, "B": 0.0, "C": 0.0}


def test_several_samples_of_text_give_a_share() -> None:
    """Yes, Yes, No and one that says nothing: 2 of 3, in one request at temperature 1."""
    texts = ("Yes", "yes.", "No", "Hm")
    model = ScriptedChat(lambda r, i: texts[i], capabilities=Capabilities(logprobs=False))
    found = asyncio.run(ask_choice(model, PROMPT, choices=YES_NO, text_samples=4))
    assert found.probabilities == pytest.approx({"Yes": 2 / 3, "No": 1 / 3})
    assert [(r.samples, r.temperature) for r in model.requests] == [(range(4), 1.0)]


def test_a_model_that_argues_first_gets_room_to_finish() -> None:
    """A reply that was cut before it named a choice is asked for once more, with 1,024 tokens."""
    argued = "It may be yes, it may be no.\n\nSo the answer is: No"

    def script(request: ChatRequest, sample: int) -> Choice:
        long = request.max_output_tokens >= 1024
        return Choice(argued, "stop") if long else Choice("It may be", "length")

    found = ask(script, logprobs=False)
    assert (found.probabilities["No"], found.via) == (1.0, "text")


THOUGHT = (Token("<think>", -0.1), Token("Yes?", -0.1), Token("</think>", -0.1))
NO = Token("No", math.log(0.9), (("No", math.log(0.9)), ("Yes", math.log(0.1))))


@pytest.mark.parametrize(
    ("tokens", "probability", "via"),
    [
        ((*THOUGHT, Token("\n\n", -0.1), NO), 0.9, "logprobs"),
        ((Token("\u0120", -0.1), NO), 0.9, "logprobs"),
        (THOUGHT[:2], 1.0, "text"),
        (None, 1.0, "text"),
        ((), 1.0, "text"),
    ],
)
def test_a_model_that_thinks_is_read_after_its_reasoning(
    tokens: tuple[Token, ...] | None, probability: float, via: str
) -> None:
    """By the first visible token where the server gives it, else by the text; with one call."""
    model = ScriptedChat(lambda r, i: Choice("No", "stop", tokens, reasoning="Yes?"))
    found = asyncio.run(ask_choice(model, PROMPT, choices=YES_NO))
    assert found.probabilities["No"] == pytest.approx(probability)
    assert (found.via, len(model.requests)) == (via, 1)


def test_reasoning_that_comes_to_no_answer_is_an_error_and_not_repeated() -> None:
    """Thinking is dear; another form of question would have it think again."""
    model = ScriptedChat(lambda r, i: Choice("", "length", reasoning="Hm, let me"))
    with pytest.raises(CallError, match="bad_reply: the reasoning came to no answer"):
        asyncio.run(ask_choice(model, PROMPT, choices=YES_NO))
    assert len(model.requests) == 1


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_withheld_reply_is_a_content_filter(logprobs: bool) -> None:  # noqa: FBT001
    """Its kind is in the ledger, whatever way was asked."""
    with pytest.raises(CallError, match="content_filter: "):
        ask(lambda r, i: Choice("", "content_filter"), logprobs=logprobs)


@pytest.mark.parametrize("samples", [1, 2])
def test_the_words_of_a_refusal_are_no_verdict(samples: int) -> None:
    """One that begins with No says nothing about the row; with another reply, that one counts."""
    declined = Choice("No, I can't judge that.", "content_filter")
    with pytest.raises(CallError, match="content_filter: the model declined"):
        ask(lambda r, i: declined, logprobs=False, text_samples=samples)
    found = ask(
        lambda r, i: declined if i else Choice("Yes", "stop"), logprobs=False, text_samples=2
    )
    assert found.probabilities == {"Yes": 1.0, "No": 0.0}


def test_a_token_whose_probability_is_no_number_falls_back_to_text() -> None:
    """The server lists log-probabilities that cannot be used: for this row, words."""
    found = ask(lambda r, i: Choice("Yes", "stop", tokens=()))
    assert (found.probabilities["Yes"], found.via) == (1.0, "text")


@pytest.mark.parametrize(
    "text",
    ["A", " A", "(A", "**A", "\u0120A", "\u2581A", "\u010aA", "a", "A)", "\uff21",
     "\uff08\uff21\uff09", '"A', "A.", "`A`", "\u3010A\u3011"],
)  # fmt: skip
def test_every_form_in_which_tokenizers_print_a_choice_counts(text: str) -> None:
    """Spaces in disguise, brackets, marks, lower case, full width."""
    found = choice_probabilities(Token("x", -9.0, ((text, math.log(0.5)),)), ("A", "B"))
    assert found == pytest.approx({"A": 0.5, "B": 0.0})


def test_two_tokens_that_print_alike_both_count() -> None:
    """They are different tokens to the model; their probabilities add up."""
    half = math.log(0.4)
    found = choice_probabilities(Token("A", half, (("A", half), ("A", half))), ("A", "B"))
    assert found["A"] == pytest.approx(0.8)


def test_a_full_width_reply_is_read() -> None:
    """As models write in Chinese and Japanese."""
    assert parse_choice("\uff08\uff22\uff09\u3002", ("A", "B")) == "B"


def test_the_last_line_decides_where_an_argument_names_several() -> None:
    """A verdict at the end of reasoning in the open; two on that line are none."""
    assert parse_verdict("It may be yes or no.\nFinal: No\n", YES_NO) == "No"
    assert parse_verdict("Either.\nYes and no", YES_NO) == "Yes", "it starts with its choice"
    assert parse_verdict("Perhaps yes, perhaps no", YES_NO) is None


def test_the_first_token_stands_where_nothing_was_thought() -> None:
    """White space and all: its alternatives tell how much fell on the choices."""
    blank = Token("\n", -0.1, (("\n", -0.1), ("Yes", -2.0)))
    assert first_visible(Choice("\nYes", "length", (blank,))) == blank


def example() -> Example:
    return Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", "2 + 2?"),),
        target=Message("assistant", "4"),
        original="{}",
    )


def test_letters_stay_and_meanings_move() -> None:
    """A model that always says A comes out without an opinion: each option gets a third."""
    orders = reflection_orders(example(), WORDINGS["abc"], samples=3)
    model = ScriptedChat(lambda r, i: one_token(A=0.9, B=0.05, C=0.05))
    found = asyncio.run(ask_orders(model, orders))
    assert found.probabilities == pytest.approx(dict.fromkeys("ABC", 1 / 3))
    shown = [prompt[0].text.partition("Is the response ")[2] for prompt, _ in orders]
    assert all(text.index("(A)") < text.index("(B)") < text.index("(C)") for text in shown)
    assert [text.partition(",")[0] for text in shown] == [
        "(A) correct", "(A) incorrect", "(A) are you not sure"
    ]  # fmt: skip


def test_an_opinion_on_the_meaning_survives_every_order() -> None:
    """Whatever letter stands before "correct" gets 0.8, and so does the option."""

    def script(request: ChatRequest, sample: int) -> Choice:
        text = request.messages[0].text
        letter = text[text.index(") correct") - 1]
        return one_token(**{letter: 0.8}, **{n: 0.1 for n in "ABC" if n != letter})

    orders = reflection_orders(example(), WORDINGS["abc"], samples=3)
    found = asyncio.run(ask_orders(ScriptedChat(script), orders))
    assert found.probabilities == pytest.approx({"A": 0.8, "B": 0.1, "C": 0.1})
    assert found.mass == pytest.approx(1.0)
    assert found.via == "logprobs"


def test_words_change_places_in_the_question() -> None:
    """Yes or No, then No or Yes; further samples would repeat themselves and are left out."""
    orders = reflection_orders(example(), WORDINGS["yes_no"], samples=5)
    assert [prompt[0].text.rpartition(": ")[2] for prompt, _ in orders] == [
        "Yes or No.", "No or Yes."
    ]  # fmt: skip
    assert [list(option) for _, option in orders] == [["Yes", "No"], ["No", "Yes"]]
    assert len(reflection_orders(example(), WORDINGS["rating"], samples=5)) == 1


@pytest.mark.parametrize("name", [n for n, w in WORDINGS.items() if w.options])
def test_options_stand_in_their_question_once_and_the_first_order_is_the_question(
    name: str,
) -> None:
    """Else exchanging them would garble it."""
    wording = WORDINGS[name]
    assert [wording.question.count(option) for option in wording.options] == [1] * len(
        wording.options
    )
    assert wording.ordered(0) == (wording.question, {n: n for n in wording.values})
