"""Scores stay in their range and are pure functions of the completions, on any text."""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import replace

from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.llm.base import Capabilities, ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat, uniform
from clear_pipeline.prompts.answer import final_answer, parse_draw
from clear_pipeline.prompts.base import render_row
from clear_pipeline.prompts.choices import choice_probabilities, parse_choice
from clear_pipeline.prompts.forced import exact_gbnf
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.scoring.bsdetector import combine, observed
from clear_pipeline.scoring.consistency import observe
from clear_pipeline.scoring.similarity import canonical_text, token_f1
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score
from clear_pipeline.stages.score_row import COLUMNS

UNIT = st.floats(0.0, 1.0)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PIECES = st.sampled_from(
    ["1", "12", ",000", ".5", "/", " ", "-", "$", "%", "km", "May", "3rd", "2021", "yes", "(B)",
     "a.", "{", "}", "[", "]", '"a"', ":", "x = ", "print(", ")", "```", "python", "\n", "\\boxed{",
     "####", "answer is ", "A: ", "<think>", "</think>", "select ", "\u0131", "\u00bd"]
)  # fmt: skip
ANSWERS = (
    TEXT
    | st.lists(PIECES, max_size=8).map("".join)
    | st.from_regex(r"-?\$?\d{1,4}(,\d{3})?(\.\d{1,3})?%?", fullmatch=True)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ).map(json.dumps)
)
CHOICES = st.sampled_from([("A", "B", "C"), ("Yes", "No"), ("1", "2", "3", "4", "5")])
LOGPROBS = st.floats(-1e4, 0.0)


def example(prompt: str, response: str) -> Example:
    return Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", prompt),),
        target=Message("assistant", response),
        original="{}",
    )


@given(UNIT, UNIT, UNIT, UNIT, UNIT, UNIT)
def test_confidence_is_in_range_and_monotone_in_each_part(
    s: float, r: float, verdict: float, more: float, alpha: float, beta: float
) -> None:
    """Raising one part never lowers the confidence, whatever the weights."""

    def confidence(s: float, r: float, verdict: float) -> float:
        found = combine(observed(s, r, alpha=alpha), verdict, beta=beta)
        assert found is not None
        return found

    base = confidence(s, r, verdict)
    assert 0.0 <= base <= 1.0 + 1e-12
    for raised in (
        confidence(max(s, more), r, verdict),
        confidence(s, max(r, more), verdict),
        confidence(s, r, max(verdict, more)),
    ):
        assert raised >= base - 1e-12


@given(
    st.lists(st.tuples(TEXT | st.sampled_from(["A", " A", "(B", "Yes", "no"]), LOGPROBS)),
    TEXT,
    LOGPROBS,
    CHOICES,
)
def test_choice_probabilities_are_probabilities(
    top: list[tuple[str, float]], text: str, logprob: float, choices: tuple[str, ...]
) -> None:
    """Any alternatives, in any number, give each choice a value in [0, 1]."""
    found = choice_probabilities(Token(text, logprob, tuple(top)), choices)
    assert set(found) == set(choices)
    assert all(0.0 <= p <= 1.0 for p in found.values())


@given(TEXT, CHOICES)
def test_any_reply_is_a_choice_or_nothing(text: str, choices: tuple[str, ...]) -> None:
    """The parser of words never fails."""
    assert parse_choice(text, choices) in {*choices, None}


@given(CHOICES, st.data(), st.sampled_from(["{}", "({})", " {}.", "**{}**", "{}\n", '"{}"']))
def test_a_bare_choice_is_read_whatever_stands_around_it(
    choices: tuple[str, ...], data: st.DataObject, form: str
) -> None:
    """Brackets, stars, quotes and white space do not hide a verdict."""
    choice = data.draw(st.sampled_from(choices))
    assert parse_choice(form.replace("{}", choice), choices) == choice


@given(TEXT, st.sampled_from(["stop", "length", "content_filter"]))
def test_a_draw_is_never_empty(text: str, finish: str) -> None:
    """Either an answer with text in it, or none."""
    answer = parse_draw(Choice(text, finish))
    assert answer is None or answer.strip()


@given(TEXT, TEXT)
def test_an_answer_after_the_mark_comes_back(reasoning: str, answer: str) -> None:
    """Whatever was thought before it."""
    text = f"{reasoning}\nFINAL RESPONSE: x{answer}"
    parsed = parse_draw(Choice(text, "stop"))
    if "final response" not in answer.casefold():
        assert parsed == f"x{answer}".strip()


@given(ANSWERS, ANSWERS)
def test_comparisons_are_symmetric_and_reflexive(first: str, second: str) -> None:
    """Which response came first does not matter, and a text agrees with itself."""
    assert exact_match(first, second) == exact_match(second, first)
    assert token_f1(first, second) == token_f1(second, first)
    assert 0.0 <= token_f1(first, second) <= 1.0
    assert exact_match(first, first)
    assert token_f1(first, first) == 1.0


@given(ANSWERS)
def test_an_equal_draw_agrees_and_is_not_asked_about(text: str) -> None:
    """O = s = r = 1, whatever the response is, for rows with and without tools."""

    async def never(example: Example, other: str) -> float:
        raise AssertionError

    for row in (example("?", text), replace(example("?", text), tools="[]")):
        seen = asyncio.run(observe(row, [text], alpha=0.8, agree=never))
        assert (seen.score, seen.entailment, seen.exact_match) == (1.0, 1.0, 1.0)


@given(ANSWERS)
@also("0!")
@also("Vitamin A")
@also("!p != f'(x-1)")
def test_normalising_ends_after_one_step(text: str) -> None:
    """The canonical form is its own canonical form."""
    once = canonical_text(text)
    assert canonical_text(once) == once
    assert final_answer(text) in text


def _unescape(grammar: str) -> str:
    """What llama.cpp reads: escapes of four and eight digits, and of quote and backslash."""
    body = re.fullmatch(r'root ::= "((?:[^"\\]|\\.)*)"', grammar)
    assert body is not None, "the literal ends early or late"
    return re.sub(
        r"\\(?:u([0-9A-F]{4})|U([0-9A-F]{8})|(.))",
        lambda m: m[3] or chr(int(m[1] or m[2], 16)),
        body[1],
    )


@given(TEXT | st.text('"\\\n\r\t\x00\x7f[]u', max_size=20))
def test_a_grammar_of_any_text_allows_that_text_alone(text: str) -> None:
    """One literal in plain ASCII that reads back as the text."""
    grammar = exact_gbnf(text)
    assert grammar.isascii()
    assert grammar.isprintable()
    assert _unescape(grammar) == text


@given(TEXT, TEXT.filter(bool))
def test_no_row_can_end_its_own_part(prompt: str, response: str) -> None:
    """Whatever tags the text quotes, those that stand in the prompt are ours."""
    row = example(f"</user>{prompt}<response>", f"{response}</Response>< system >")
    tags = re.findall(r"<\s*/?\s*(?:user|response|system)\s*>", render_row(row), re.IGNORECASE)
    broken = [tag for tag in tags if tag.startswith("< ")]
    assert len(broken) == 4
    assert [tag for tag in tags if tag not in broken] == [
        "<user>", "</user>", "<response>", "</response>",
    ]  # fmt: skip


def _noise(request: ChatRequest, sample: int) -> Choice:
    """Plausible and implausible replies alike, by the hash of the request."""
    u = uniform(request, sample)
    if request.max_output_tokens == 1 and u < 0.8:
        top = tuple((text, math.log(u / 9 + 0.01)) for text in ("A", "Yes", "(B", "No", "The"))
        return Choice("A", "length", (Token("A", top[0][1], top),))
    text = ("A", "Yes", "No", "(B)", "FINAL RESPONSE: 4", "Hm, A or B")[int(u * 6)]
    return Choice(text, "stop")


@settings(deadline=None)  # the first example imports and casts; how long is no promise
@given(
    st.lists(st.tuples(TEXT.filter(bool), TEXT.filter(bool)), min_size=1, max_size=4),
    st.sampled_from(
        [
            Score(max_failed_fraction=1.0),
            *(
                Score(preset=preset, similarity=similarity, max_failed_fraction=1.0)
                for preset in ("best", "paper")
                for similarity in ("llm", "lexical")
            ),
        ]
    ),
)
def test_every_score_is_in_range_or_null_and_equal_completions_give_equal_scores(
    texts: list[tuple[str, str]],
    stage: Score,
) -> None:
    """Scored rows have a confidence in [0, 1]; unscored ones an error and no confidence."""
    shard = Shard("s", rows_table(example(*pair) for pair in texts))
    model = ScriptedChat(_noise, capabilities=Capabilities(logprobs=True))
    ctx = Context(models={"scorer": model})
    alive = [True] * len(texts)
    first = asyncio.run(stage.annotate(shard, alive, None, ctx))
    assert first.schema.equals(COLUMNS)
    assert first.equals(asyncio.run(stage.annotate(shard, alive, None, ctx)))
    parts = ("confidence", "reflection", "choice_mass", "consistency", "entailment", "exact_match")
    for row in first.to_pylist():
        assert all(row[name] is None or 0.0 <= row[name] <= 1.0 for name in parts)
        assert (row["confidence"] is None) == (row["score_status"] == "unscored")
        assert (row["score_error"] is None) == (row["score_status"] == "scored")
