"""An estimate's parts: the sample, the rehearsal, what is learnt, the figures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.estimate import Estimate, Need, Span, StageEstimate, words
from clear_pipeline.estimate.chain import ENDS, rehearse, run_stage
from clear_pipeline.estimate.counting import Counting
from clear_pipeline.estimate.learning import Learning, Learnt, Lesson, Tried
from clear_pipeline.estimate.rehearsal import Rehearsal
from clear_pipeline.estimate.revised import Revised
from clear_pipeline.estimate.sample import take
from clear_pipeline.llm.answers import Answer, Answers
from clear_pipeline.llm.base import Capabilities, Choice, Usage
from clear_pipeline.llm.cache import question_hash
from clear_pipeline.llm.meter import Amount
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings, Prices
from clear_pipeline.llm.tokens import ByLength
from clear_pipeline.model_pool import Endpoint
from clear_pipeline.prompts.forced import forced_request, forced_text
from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Context, Shard, Stage
from clear_pipeline.stages.filter import Confidence, Count, Filter, Keep, Quantile
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.score import Score

ENDPOINTS = {
    "llama.cpp": Capabilities(grammar=True, logprobs=True, slots=4),
    "embedded": Capabilities(grammar=True, logprobs=True, slots=4, llguidance=True),
    "vLLM": Capabilities(logprobs=True, prompt_logprobs=True),
    "OpenAI": Capabilities(prompt_logprobs=False),
    "no log-probabilities": Capabilities(logprobs=False, prompt_logprobs=False),
}


def row(number: int, response: str = "It is so. It was so. It will be so.") -> Example:
    messages = (Message("user", f"Is {number} a number? Reply with yes or no, and Good reasons."),)
    target = Message("assistant", f"{response} {number}")
    return Example(f"a:{number}", "a", number, "chat", messages, target, "x" * (number + 1))


def table(rows: int) -> pa.Table:
    return rows_table(map(row, range(rows)))


def endpoint(capabilities: Capabilities, *, openai: bool = False) -> Endpoint:
    given = ModelSettings(model="m", base_url=None if openai else "http://127.0.0.1:9/v1")
    return Endpoint("m", "m", given, capabilities, ByLength())


def calls(stages: Sequence[Stage], rows: int, capabilities: Capabilities, **how: Any) -> list[int]:  # noqa: ANN401
    """Calls of the last stage, by row."""
    roles = {role: endpoint(capabilities) for stage in stages for role in stage.roles()}
    found = asyncio.run(rehearse(stages, table(rows), roles, **how))
    last = [of_rows for (stage, _), of_rows in found.items() if stage == stages[-1].name]
    return [sum(map(len, of_row)) for of_row in zip(*last, strict=True)]


@pytest.mark.parametrize("costly", [False, True])
@pytest.mark.parametrize("kind", ENDPOINTS)
@pytest.mark.parametrize("preset", ["fast", "best", "paper", "likelihood"])
def test_a_rehearsal_comes_to_a_score_of_every_row(preset: str, kind: str, costly: bool) -> None:  # noqa: FBT001
    """With every preset at every endpoint that can serve it: no call fails and hides others."""
    if preset == "likelihood" and not (ENDPOINTS[kind].grammar or ENDPOINTS[kind].prompt_logprobs):
        pytest.skip("this endpoint scores no text")
    model = Rehearsal("m", ENDPOINTS[kind], texts=["It was not so."], costly=costly)
    stage = Score(preset=preset)  # type: ignore[arg-type]
    scored = asyncio.run(run_stage(stage, table(6), Context(models={"scorer": model})))
    assert scored["score_error"].to_pylist() == [None] * 6


@pytest.mark.parametrize("via", ["logprobs", "text"])
@pytest.mark.parametrize("wording", WORDINGS)
def test_a_rehearsal_answers_every_question_of_ours(wording: str, via: str) -> None:
    """Whatever words it offers, and whatever words the row has."""
    stage = Score(reflection=(wording,), reflection_via=via)  # type: ignore[arg-type]
    model = Rehearsal("m", ENDPOINTS["OpenAI"], texts=["a"])
    scored = asyncio.run(run_stage(stage, table(4), Context(models={"scorer": model})))
    assert scored["score_error"].to_pylist() == [None] * 4


def test_the_calls_are_those_of_the_stage() -> None:
    """One question whole and in three parts, by letters: an unclear verdict asks two words more."""
    stage = Score(reflection=("yes_no",), in_parts=False)
    assert calls([stage], 2, ENDPOINTS["llama.cpp"]) == [1, 1]
    assert calls([stage], 2, ENDPOINTS["llama.cpp"], end="high") == [3, 3]
    assert calls([stage], 2, ENDPOINTS["OpenAI"], end="high") == [2, 2]
    assert calls([Score(preset="likelihood")], 2, ENDPOINTS["vLLM"]) == [4, 4]


@pytest.mark.parametrize(
    ("keep", "low", "high"),
    [
        (Quantile(quantile=0.3), 3, 3),
        (Count(count=8), 2, 2),
        (Count(count=50), 0, 0),
        (Confidence(confidence=0.7), 0, 10),
    ],
)
def test_rectify_asks_about_the_rows_that_the_filter_will_drop(
    keep: Keep, low: int, high: int
) -> None:
    """Of ten rows; a threshold on the score may drop none or all.

    A candidate and four verdicts, none if it is what the row says.
    """
    chain: list[Stage] = [Score(reflection=("yes_no",)), Filter(keep=keep), Rectify()]
    found = calls(chain, 10, ENDPOINTS["OpenAI"], total=10)
    assert sum(count > 0 for count in found) == low
    assert set(found) <= {0, 1, 5}
    costly = calls(chain, 10, ENDPOINTS["OpenAI"], total=10, end="high")
    assert sum(count > 0 for count in costly) == high


def test_candidates_that_lose_the_form_of_their_row_are_judged_at_the_costly_end_alone() -> None:
    """A rehearsed candidate is what some row says: prose in place of JSON is refused at once."""
    of_json = [replace(row(n), target=Message("assistant", '{"a": 1}')) for n in range(3)]
    both = rows_table([*of_json, *map(row, range(3, 6))])
    both = both.append_column("keep", pa.array([False] * 6))
    roles = {role: endpoint(ENDPOINTS["OpenAI"]) for role in Rectify().roles()}
    judged = {}
    for end in ENDS:
        found = asyncio.run(rehearse([Rectify()], both, roles, end=end))
        judged[end] = [len(of_row) for of_row in found["rectify", "judge"]]
    assert set(judged["low"][:3]) == {0}
    assert min(judged["high"][:3]) >= 4


def test_a_sample_is_spread_over_all_lengths() -> None:
    """Two of four lengths apart: places 0 and 2, or 1 and 3; the first rows are as they stand."""
    whole = table(4)
    shards = [Shard("a", whole.slice(2, 2)), Shard("b", whole.slice(0, 2))]
    sample = take(lambda: shards, rows=2, first=3)
    ids = sample.table["id"].to_pylist()
    assert ids in (["a:0", "a:2"], ["a:1", "a:3"])
    assert (sample.total, sample.scale) == (4, 2.0)
    assert sample.first["id"].to_pylist() == ["a:2", "a:3", "a:0"]
    assert take(lambda: shards, rows=9, first=0).table["id"].to_pylist() == [
        "a:0", "a:1", "a:2", "a:3",
    ]  # fmt: skip


def test_duplicates_are_not_estimated() -> None:
    """Dead rows cost no call."""
    dead = table(4).append_column("duplicate_of", pa.array([None, "a:0", None, None]))
    sample = take(lambda: [Shard("a", dead)], rows=9, first=9)
    assert sample.total == len(sample.table) == len(sample.first) == 3


@given(st.text(st.characters(codec="utf-8")), st.booleans())
def test_the_text_of_a_grammar_is_read_back(text: str, llguidance: bool) -> None:  # noqa: FBT001
    """Whatever was escaped."""
    asked = forced_request((), text, max_tokens=9, llguidance=llguidance)
    assert forced_text(asked) == text


def test_the_prefix_of_a_row_may_be_cached() -> None:
    """Two calls about one row differ at their end; at OpenAI so short a prompt is never kept."""
    stages = [Score(reflection=("yes_no", "no_yes"), in_parts=False)]
    for kind, kept in (("llama.cpp", True), ("OpenAI", False)):
        served = endpoint(ENDPOINTS[kind], openai=kind == "OpenAI")
        found = asyncio.run(rehearse(stages, table(1), {"scorer": served}))
        (asked,) = found["score", "scorer"]
        first, second = asyncio.run(Counting(served).needs(asked))
        assert first.cached == Span()
        assert second.cached.low == 0
        assert (second.cached.high > 0.6 * second.prompt.low) is kept


def test_samples_are_split_into_the_calls_that_a_server_takes() -> None:
    """Five draws: two calls at a llama.cpp of four slots, one at OpenAI, up to five elsewhere."""
    stage = Score(reflection=(), k=5, similarity="lexical")
    spans = {}
    for kind in ("llama.cpp", "OpenAI", "vLLM"):
        served = endpoint(ENDPOINTS[kind], openai=kind == "OpenAI")
        found = asyncio.run(rehearse([stage], table(1), {"scorer": served}))
        (asked,) = found["score", "scorer"]
        (need,) = asyncio.run(Counting(served).needs(asked))
        spans[kind] = need.calls
        assert need.completion.high == 5 * stage.max_answer_tokens
    assert spans == {"llama.cpp": Span(2, 2), "OpenAI": Span(1, 1), "vLLM": Span(1, 5)}


def test_a_need_costs_from_all_cached_to_nothing_cached() -> None:
    """Of 1M to 2M prompt tokens 0.5M cached at a quarter: 0.5 + 0.125 + 0.1 * 4 to 2 + 0.2 * 4."""
    prices = Prices(input=1.0, cached=0.25, output=4.0)
    need = Need(Span(1, 2), Span(1e6, 2e6), Span(0, 5e5), Span(1e5, 2e5))
    usd = need.usd(prices)
    assert [usd.low, usd.high] == pytest.approx([1.025, 2.8])
    assert (need * 2).total == Span(2.2e6, 4.4e6)


def test_what_was_answered_corrects_what_is_left() -> None:
    """Twice the calls, three times the prompt tokens, 60 % of them cached, five times the words."""
    thought = Need(Span(10, 20), Span(100, 400), Span(0, 90), Span(10, 80))
    lesson = Lesson(20, Usage(prompt=300, cached=180, completion=50), thought)
    left = lesson.correct(Need(Span(5, 10), Span(50, 200), Span(0, 45), Span(5, 40)))
    assert left == Need(Span(10, 10), Span(150, 150), Span(90, 90), Span(25, 25))


def test_a_few_verdicts_tell_only_roughly_how_many_are_unclear() -> None:
    """Four of eight, each for two more calls: Wilson's interval of 0.5 is 0.215 to 0.785."""
    clear, unclear = Need(Span(8, 8)), Need(Span(24, 24))
    tried = Tried(16, Usage(), Usage(), clear, unclear)
    found = tried.correct(Need(Span(10, 30), completion=Span(10, 10)))
    assert [found.calls.low, found.calls.high] == pytest.approx([14.304, 25.696], abs=1e-2)
    assert found.completion == Span(10, 10)


def test_unclear_verdicts_on_short_parts_take_less_than_their_share() -> None:
    """Of eight questions, 800 tokens by our count and 1,200 by the server's, four are unclear.

    They are short and take 600 more, a quarter of the 2,400 that all eight would take. Wilson's
    interval of 2 in 8 is 0.0715 to 0.5907: 100 to 300 tokens are 1.5 times 114.3 to 218.1.
    """
    clear = Need(Span(8, 8), Span(800, 800))
    unclear = Need(Span(24, 24), Span(2_400, 2_400))
    tried = Tried(16, Usage(prompt=1_800, cached=900), Usage(prompt=1_200), clear, unclear)
    found = tried.correct(Need(Span(10, 30), Span(100, 300), Span(0, 9)))
    assert [found.prompt.low, found.prompt.high] == pytest.approx([171.4, 327.2], abs=0.1)
    assert found.cached.low == pytest.approx(found.prompt.low / 2)
    assert [found.calls.low, found.calls.high] == pytest.approx([14.304, 25.696], abs=1e-2)


def test_a_server_that_counts_nothing_teaches_calls_alone() -> None:
    """60 calls where 50 were thought; their tokens stay what was thought of them, not none."""
    need = Need(Span(10, 30), Span(100, 300), Span(0, 9), Span(10, 50))
    lesson = Lesson(60, Usage(), Need(Span(50, 50), Span(500, 500), Span(), Span(50, 50)))
    found = lesson.correct(need)
    assert found.calls == Span(12, 12)
    assert (found.prompt, found.completion) == (need.prompt, need.completion)
    clear, unclear = Need(Span(8, 8), Span(80, 80)), Need(Span(24, 24), Span(240, 240))
    found = Tried(16, Usage(), Usage(), clear, unclear).correct(need)
    assert found.calls.low == pytest.approx(14.304, abs=1e-2)
    assert (found.prompt, found.completion) == (need.prompt, need.completion)
    learnt = Learnt({("score", "scorer", True): lesson}, {}, {"scorer": "m", "judge": "m"})
    assert learnt.corrected("rectify", "judge", need, verdicts=True) == need


def test_of_rows_side_by_side_those_that_are_through_first_are_not_believed(
    tmp_path: Path,
) -> None:
    """Two calls a row: 30 rows are through, and of the next 30 every other one, the clear ones.

    Nine in ten are through up to row 37 (30 and 4 of 37), not up to row 38: 34 rows, 68 calls.
    """
    stage = Score(reflection=("yes_no", "abc"), reflection_via="text", in_parts=False)
    served = endpoint(Capabilities())
    found = asyncio.run(rehearse([stage], table(60), {"scorer": served}))
    answers = Answers(tmp_path / "answers.sqlite")
    for place, asked in enumerate(found["score", "scorer"]):
        if place < 30 or place % 2 == 0:
            for call in asked:
                given = Answer(Choice(call.reply, "stop"), "m", Usage(prompt=10))
                answers.write(question_hash("m", call.request), {0: given})
    endpoints, counting = {"scorer": served}, {"scorer": Counting(served)}
    learning = Learning([stage], endpoints, counting, answers)
    learnt = asyncio.run(learning.from_run(table(60)))
    assert learnt.calls("m") == 68
    assert learnt.lessons["score", "scorer", True].usage == Usage(prompt=680)
    answers.close()


def estimated(calls: Span, prompt: Span, *, spent: Amount) -> Estimate:
    """Of one stage whose model costs a dollar for a million tokens, 1,000 of them written."""
    need = Need(calls, prompt, Span(), Span(1_000, 1_000))
    stage = StageEstimate("score", "m", 9, need, Prices(input=1.0, output=1.0))
    return Estimate(9, 9, (stage,), (), spent=spent)


def revised(left: Span, **caps: float) -> Revised:
    """First 10,000 to 20,000 tokens; now 60 calls and 5,900 tokens are spent, 500 of them before.

    To come: 150 calls, `left` tokens read and 1,000 written.
    """
    first = estimated(Span(100, 200), Span(9_000, 19_000), spent=Amount(10, 500, 500_000))
    now = estimated(Span(150, 150), left, spent=Amount(60, 5_900, 5_900_000))
    return Revised(first, now, answered=50, caps=BudgetSettings(**caps))  # type: ignore[arg-type]


def test_a_revised_estimate_adds_what_is_spent_to_what_is_to_come() -> None:
    """5,900 + 12,600 tokens, 500 of them before the first: 18,000 for a middle of 15,000."""
    told = revised(Span(11_600, 11_600), max_tokens=20_000)
    assert words.revised(told) == (
        "estimate after 50 calls: 210 calls, 18,500 tokens, $0.018 in all, 20% more tokens than "
        "the middle of the first estimate; spent 60 calls, 5,900 tokens, $0.006; "
        "to come 150 calls, 12,600 tokens, $0.013"
    )
    assert told.off == pytest.approx(0.2)
    figures = told.to_json()
    assert figures["total"] == {
        "calls": [210, 210],
        "tokens": [18_500, 18_500],
        "usd": [0.0185] * 2,
    }
    assert figures["first"]["tokens"] == [10_000, 20_000]
    assert figures["short_caps"] == []


def test_a_revised_estimate_names_the_caps_that_are_too_low() -> None:
    """A fifth is allowed for: 60 + 1.2 x 150 = 240 calls, $0.0059 + 1.2 x $0.0126 = $0.022.

    Of 16,500 to 18,500 tokens a cap of 17,000 may do: 5,900 + 1.2 x 12,600 = 21,020.
    """
    certain = revised(Span(11_600, 11_600), max_calls=205, max_usd=0.01)
    assert words.revised(certain).endswith(
        "; --max-usd 0.01 will not suffice, --max-usd 0.03 would"
        "; --max-calls 205 will not suffice, --max-calls 240 would"
    )
    assert {each.cap: each.certain for each in certain.short_caps} == {
        "max_usd": True, "max_calls": True,
    }  # fmt: skip
    free_of_charge = words.revised(revised(Span(11_600, 11_600), max_usd=0.0))
    assert "; --max-usd 0.00 will not suffice" in free_of_charge
    (short,) = revised(Span(9_600, 11_600), max_tokens=17_000).short_caps
    assert not short.certain
    assert short.enough == pytest.approx(21_020)
    may = words.revised(revised(Span(9_600, 11_600), max_tokens=17_000))
    assert may.endswith("; --max-tokens 17000 may not suffice, --max-tokens 22000 would")


def test_prompts_of_another_stage_are_corrected_by_their_size_alone() -> None:
    """A call was 1.5 times as long as thought; how many there will be is another matter."""
    thought = Need(Span(10, 10), Span(100, 100), Span(), Span(10, 10))
    lesson = Lesson(20, Usage(prompt=300, completion=50), thought)
    learnt = Learnt(
        {("score", "scorer", True): lesson},
        identities={"scorer": "m", "judge": "m", "x": "n"},
    )
    need = Need(Span(5, 6), Span(10, 20), Span(0, 8), Span(5, 7))
    found = learnt.corrected("rectify", "judge", need, verdicts=True)
    assert found == Need(Span(5, 6), Span(15, 30), Span(0, 12), Span(5, 7))
    assert learnt.corrected("rectify", "x", need, verdicts=True) == need


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (Span(0, 0), "0"),
        (Span(9_999, 9_999), "9,999"),
        (Span(950.4, 12_345), "950-12.3k"),
        (Span(123_456, 1_234_567), "123k-1.23M"),
        (Span(99_960, 999_600), "100k-1.00M"),
    ],
)
def test_large_numbers_are_shown_with_three_digits(span: Span, shown: str) -> None:
    """Nobody reads seven digits of a guess."""
    assert words.short(span) == shown


def test_dollars_tell_nothing_from_little() -> None:
    """Free, unknown, and a hundredth of a cent are three things."""
    assert words.dollars(None) == "not known"
    assert words.dollars(Span(0, 0)) == "free of charge"
    assert words.dollars(Span(0.00012, 0.00012)) == "$0.0001"
    assert words.dollars(Span(0.5, 12.345)) == "$0.50 to $12.35"
