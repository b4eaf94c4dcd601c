"""The score stage: presets, columns, and what becomes of rows that cannot be scored."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from clear_pipeline.errors import CallError, TooManyFailuresError, UsageError
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Script, ScriptedChat
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Context, Shard, SilentProgress, Stage
from clear_pipeline.stages.failures import FailureTally
from clear_pipeline.stages.score import Score
from clear_pipeline.stages.score_row import COLUMNS


def example(line: int, *, response: str = "4", unscorable: str | None = None) -> Example:
    return Example(
        id=f"a:{line}",
        file="a",
        line=line,
        format="chat",
        messages=(Message("user", f"Question {line}"),),
        target=Message("assistant", response),
        original="{}",
        unscorable=unscorable,
    )


def annotate(
    stage: Score,
    model: ChatModel,
    rows: list[Example],
    *,
    alive: list[bool] | None = None,
    tally: FailureTally | None = None,
) -> list[dict[str, Any]]:
    shard = Shard("s", rows_table(rows))
    tally = tally or FailureTally()
    ctx = Context(models={"scorer": model}, rows_in_flight=1, tally=tally)
    table = asyncio.run(stage.annotate(shard, alive or [True] * len(rows), None, ctx))
    assert table.schema.equals(COLUMNS)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def says(text: str, p: float) -> Choice:
    return Choice(text, "length", (Token(text, math.log(p), ((text, math.log(p)),)),))


def test_it_is_a_stage() -> None:
    """The engine knows it by the protocol alone."""
    assert isinstance(Score(), Stage)
    assert Score().adds() == COLUMNS
    assert Score().roles() == ("scorer",)


def test_the_preset_of_the_paper_has_its_constants() -> None:
    """K = 5 at temperature 1, alpha = 0.8, beta = 0.7, two verdicts, entailment by the model."""
    stage = Score(preset="paper")
    assert (stage.k, stage.temperature, stage.alpha, stage.beta) == (5, 1.0, 0.8, 0.7)
    assert stage.reflection == ("abc", "abc_again")
    assert (stage.reflection_via, stage.similarity) == ("text", "llm")


def test_a_given_value_wins_over_the_preset_and_all_values_are_shown() -> None:
    """The dump names every value, and a stage made from it is the same stage."""
    stage = Score(preset="paper", k=2)
    assert (stage.k, stage.alpha) == (2, 0.8)
    assert Score(**stage.model_dump()) == stage


def test_weights_of_a_preset_are_replaced_one_by_one() -> None:
    """What is not named stays; a question that is not asked any more has no weight."""
    own = Score(preset="best", weights={"yes_no": 2.0})
    assert own.weights == {"yes_no": 2, "likelihood": 1, "consistency": 1}
    other = Score(preset="best", k=0, reflection=("abc",), weights={"abc": 3.0})
    assert other.weights == {"abc": 3, "likelihood": 1}
    alone = Score(preset="likelihood", weights={"likelihood": 1.0})
    assert (alone.likelihood_weight, alone.weights) == (0, {"likelihood": 1})
    assert Score(**other.model_dump()) == other


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preset": "paper", "k": 0},
        {"preset": "paper", "reflection": []},
        {"preset": "best", "k": 0},
        {"preset": "likelihood"},
        {"k": 3, "similarity": "llm", "reflection": [], "reflection_via": "text"},
        {"reflection": ["yes_no", "rating"], "orders": 2},
    ],
)
def test_values_that_a_preset_sets_may_have_no_effect(settings: dict[str, Any]) -> None:
    """Nobody gave them; the dump of the stage names them all, and reads back."""
    stage = Score(**settings)
    assert Score(**stage.model_dump()) == stage


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reflection": ["no_such"]}, "unknown wording 'no_such'; known: abc"),
        ({"preset": "slow"}, "preset"),
        ({"reflection": []}, "nothing to compute"),
        ({"reflection": [], "likelihood_weight": 0.5}, "likelihood_weight must be 1"),
        ({"alpha": 1.5}, "alpha"),
        ({"weights": {"abc": 1.0}}, "weights: 'abc' is not computed"),
        ({"weights": {"consistency": 1.0}}, "weights: 'consistency' is not computed"),
        ({"weights": {"yes_no": 0.0}}, "weights: yes_no: 0 is no weight"),
        ({"weights": {"likelihood": 0}}, "preset fast weighs it; without it: preset fast with"),
        (
            {"preset": "paper", "weights": {"abc": 0, "abc_again": 1, "consistency": 1}},
            "leave out what counts 0",
        ),
        ({"weights": {"yes_no": math.inf}}, "weights: yes_no: inf is no weight"),
        ({"weights": {"yes_no": 1.0}, "likelihood_weight": 0.5}, "name likelihood there"),
        ({"preset": "likelihood", "reflection": ["yes_no"]}, "as preset likelihood sets it"),
        ({"preset": "best", "reflection": ["abc"]}, "'abc' would be asked for and not counted"),
        ({"k": 3, "weights": {"yes_no": 1.0}}, "'consistency' would be asked for"),
        ({"preset": "likelihood", "k": 1}, "asked for and not counted"),
        ({"k": 3, "temperature": 0.0}, "3 draws at temperature 0 are one"),
        ({"colour": 1}, "colour"),
        ({"beta": 0.3}, "beta: has no effect: weights are given"),
        ({"k": 3, "reflection": [], "beta": 0.3}, "beta: has no effect: it weighs consistency"),
        ({"k": 3, "weights": {"yes_no": 1, "consistency": 1}, "beta": 0.3}, "weights are given"),
        ({"similarity": "nli"}, "similarity: has no effect: no draws are asked for; set k > 0"),
        ({"temperature": 0.5}, "temperature: has no effect"),
        ({"preset": "best", "k": 0, "draw_for": "all", "alpha": 0.5}, "alpha: has no effect"),
        ({"k": 3, "nli_model": "m"}, "nli_model: has no effect: only similarity: nli"),
        ({"reflection": ["yes_no"], "likelihood_tokens": 99}, "no likelihood is computed"),
        ({"reflection": ["yes_no"], "likelihood": "gain"}, "likelihood: has no effect"),
        ({"reflection": ["rating"], "orders": 3}, "orders: has no effect: no question of"),
        ({"preset": "likelihood", "orders": 2}, "orders: has no effect: no question is asked"),
        ({"preset": "likelihood", "in_parts": False}, "in_parts: has no effect"),
        ({"preset": "likelihood", "reflection_via": "text"}, "reflection_via: has no effect"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    """Before the first call."""
    with pytest.raises(ValidationError, match=message):
        Score.model_validate(settings)


def test_fast_asks_one_question_of_one_token() -> None:
    """The confidence is the reflection; nothing else is computed."""
    model = ScriptedChat(lambda r, i: says("Yes", 0.9))
    (found,) = annotate(Score(reflection=("yes_no",)), model, [example(1)])
    assert len(model.requests) == 1
    filled = {name: value for name, value in found.items() if value is not None}
    assert filled == {
        "confidence": 1.0,
        "score_status": "scored",
        "reflection": 1.0,
        "reflections": [("yes_no", 1.0)],
        "choice_mass": pytest.approx(0.9),
        "reflection_via": "logprobs",
        "reflection_whole": 1.0,
        "reflection_view": "whole",
        "reflection_usage": found["reflection_usage"],
    }
    assert found["reflection_usage"]["completion"] == 1


def test_paper_computes_every_part_and_weighs_them() -> None:
    """Draws 4 and 5, contradiction 1 and 0 on the second, verdicts A and C."""

    def script(request: ChatRequest, sample: int) -> str:
        text = request.messages[0].text
        if "FINAL RESPONSE" in text:
            return f"FINAL RESPONSE: {4 + sample}"
        if "Suppose that the first" in text:
            return "B"
        return "C" if "really" in text else "A"

    (found,) = annotate(Score(preset="paper", k=2), ScriptedChat(script), [example(1)])
    assert found["draws"] == ["4", "5"]
    assert found["reflection"] == pytest.approx(0.75)
    assert found["entailment"] == pytest.approx(0.75)
    assert found["exact_match"] == pytest.approx(0.5)
    assert found["consistency"] == pytest.approx(0.8 * 0.75 + 0.2 * 0.5)
    assert found["confidence"] == pytest.approx(0.7 * 0.7 + 0.3 * 0.75)


def test_weights_turn_a_question_and_draw_in_a_unanimous_vote() -> None:
    """Two draws agree: 2.5 / 3 counts as consistency. A turned 0.2 is a 0.8."""

    def script(request: ChatRequest, sample: int) -> Choice:
        text = request.messages[0].text
        if "FINAL RESPONSE" in text:
            return Choice("FINAL RESPONSE: 4", "stop")
        p = 0.8 if "completely" in text else 0.2
        yes, no = ("True", "False") if "True or False" in text else ("Yes", "No")
        top = ((yes, math.log(p)), (no, math.log(1 - p)))
        return Choice(top[0][0], "length", (Token(*top[0], top),))

    stage = Score(
        reflection=("yes_no", "true_false"),
        k=2,
        weights={"yes_no": 1.0, "true_false": -1.0, "consistency": 2.0},
    )
    (found,) = annotate(stage, ScriptedChat(script), [example(1)])
    assert dict(found["reflections"]) == pytest.approx({"yes_no": 0.8, "true_false": 0.2})
    assert found["reflection"] == pytest.approx(0.5)
    log_odds = (math.log(4) + math.log(4) + 2 * math.log(5)) / 4
    assert found["confidence"] == pytest.approx(1 / (1 + math.exp(-log_odds)))


def test_dead_rows_get_nulls_and_cost_no_call() -> None:
    """Duplicates are not scored."""
    model = ScriptedChat(lambda r, i: says("Yes", 0.9))
    dead, live = annotate(Score(), model, [example(1), example(2)], alive=[False, True])
    assert set(dead.values()) == {None}
    assert live["score_status"] == "scored"
    assert all("Question 2" in r.messages[0].text for r in model.requests)


def test_an_unscorable_row_says_why_and_costs_no_call() -> None:
    """An image cannot be shown to the model."""
    model = ScriptedChat(lambda r, i: says("Yes", 0.9))
    (found,) = annotate(Score(), model, [example(1, unscorable="image")])
    assert (found["score_status"], found["score_error"]) == ("unscored", "image")
    assert found["confidence"] is None
    assert model.requests == []


def test_a_failed_call_makes_a_row_unscored_and_keeps_the_parts_before_it() -> None:
    """Never 0: the error stands in its place."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if request.max_output_tokens > 1:
            raise CallError("content_filter", "refused", transient=False)
        return says("Yes", 0.9)

    (found,) = annotate(Score(reflection=("yes_no",), k=1), ScriptedChat(script), [example(1)])
    assert found["score_status"] == "unscored"
    assert found["score_error"] == "content_filter: refused"
    assert (found["reflection"], found["confidence"]) == (1.0, None)


def test_a_failed_part_says_what_it_took() -> None:
    """A reply that could not be read was paid for."""
    model = ScriptedChat(lambda r, i: "no verdict", capabilities=Capabilities(logprobs=False))
    (found,) = annotate(Score(reflection=("true_false",)), model, [example(1)])
    assert found["score_status"] == "unscored"
    assert found["reflection_usage"]["completion"] == 2


def failing(every: int) -> Script:
    def script(request: ChatRequest, sample: int) -> Choice:
        line = int(request.messages[0].text.split("Question ")[1].split()[0])
        if line % every == 0:
            raise CallError("bad_request", "no", transient=False)
        return says("Yes", 0.9)

    return script


def test_more_failures_than_allowed_stop_the_stage_with_the_commonest_error() -> None:
    """Half of the rows fail where a twentieth may."""
    with pytest.raises(TooManyFailuresError, match=r"5 of \d+ rows failed.*bad_request: no"):
        annotate(Score(), ScriptedChat(failing(2)), [example(n) for n in range(1, 40)])


def test_the_share_of_failures_is_judged_over_all_shards_of_a_run() -> None:
    """Four failures in a small shard are too few to judge; the fifth in the next one is not."""
    stage, model = Score(), ScriptedChat(failing(1))
    tally = FailureTally()
    assert len(annotate(stage, model, [example(n) for n in range(1, 5)], tally=tally)) == 4
    with pytest.raises(TooManyFailuresError, match="5 of 5 rows"):
        annotate(stage, model, [example(5)], tally=tally)


def refusing(last: int, kind: str) -> Script:
    def script(request: ChatRequest, sample: int) -> Choice:
        line = int(request.messages[0].text.split("Question ")[1].split()[0])
        if line <= last:
            raise CallError(kind, "no", transient=False)
        return says("Yes", 0.9)

    return script


@pytest.mark.parametrize("kind", ["context", "content_filter"])
def test_rows_that_fail_by_themselves_count_against_all_rows_of_the_stage(kind: str) -> None:
    """Five bad rows at the start of a hundred are a twentieth, which is allowed; six are not."""
    rows = [example(n) for n in range(1, 101)]
    found = annotate(Score(), ScriptedChat(refusing(5, kind)), rows, tally=FailureTally(100))
    assert sum(row["score_status"] == "unscored" for row in found) == 5
    with pytest.raises(TooManyFailuresError, match=f"6 of 100 rows failed.*{kind}: no"):
        annotate(Score(), ScriptedChat(refusing(6, kind)), rows, tally=FailureTally(100))


@pytest.mark.parametrize("kind", ["bad_request", "outage"])
def test_an_endpoint_that_answers_nothing_stops_the_stage_at_once(kind: str) -> None:
    """However many rows are left."""
    rows = [example(n) for n in range(1, 101)]
    with pytest.raises(TooManyFailuresError, match=f"5 of 5 rows failed.*{kind}: no"):
        annotate(Score(), ScriptedChat(refusing(5, kind)), rows, tally=FailureTally(100))


def test_a_stage_that_is_used_again_begins_to_count_anew() -> None:
    """The failures of one run do not stop the next run of the same config."""
    stage, rows = Score(), [example(n) for n in range(1, 10)]
    with pytest.raises(TooManyFailuresError):
        annotate(stage, ScriptedChat(failing(1)), rows)
    found = annotate(stage, ScriptedChat(failing(9)), rows)
    assert [row["score_status"] for row in found] == ["scored"] * 8 + ["unscored"]


def test_failures_within_the_allowed_share_go_on() -> None:
    """Six of sixty where a tenth may fail."""
    found = annotate(
        Score(max_failed_fraction=0.1),
        ScriptedChat(failing(10)),
        [example(n) for n in range(1, 61)],
    )
    assert sum(row["score_status"] == "unscored" for row in found) == 6


def test_what_a_run_counted_is_no_setting() -> None:
    """A stage that has worked is equal to a fresh one, and dumps the same."""
    used = Score()
    annotate(used, ScriptedChat(failing(2)), [example(1), example(2)])
    assert used == Score()
    assert used.model_dump() == Score().model_dump()


def test_likelihood_where_no_text_is_scored_is_refused_with_the_way_out() -> None:
    """Before the first row."""
    model = ScriptedChat(lambda r, i: "4", capabilities=Capabilities(prompt_logprobs=False))
    with pytest.raises(UsageError, match="preset likelihood needs an endpoint that scores"):
        annotate(Score(preset="likelihood"), model, [example(1)])
    assert model.requests == []


def best_of(draws: Sequence[Choice]) -> ScriptedChat:
    """P(Yes) = 0.8, a likelihood of 1 / (1 + 3) = 0.25, and these draws."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if len(request.samples) > 1:
            return draws[sample]
        if "Yes or No" not in request.messages[0].text:
            return Choice("4", "stop", (Token("4", -3.0),))
        top = (("Yes", math.log(0.8)), ("No", math.log(0.2)))
        return Choice("Yes", "length", (Token("Yes", top[0][1], top),))

    return ScriptedChat(script, capabilities=Capabilities(grammar=True))


def test_best_weighs_a_question_the_likelihood_and_draws() -> None:
    """Odds of 4, 1 / 3 and, three draws of four being the same, (3 + 1/2) / (1 + 1/2) = 7 / 3."""
    said = [Choice(text, "stop") for text in ("4", "A: 4", "five", "It is simple.\n#### 4")]
    model = best_of(said)
    (found,) = annotate(Score(preset="best"), model, [example(1)])
    odds = (4 * (1 / 3) * (7 / 3)) ** (1 / 3)
    assert (found["likelihood"], found["consistency"]) == (0.25, 0.75)
    assert found["confidence"] == pytest.approx(odds / (1 + odds))
    assert len(model.requests) == 3
    drawn = next(request for request in model.requests if len(request.samples) == 4)
    assert drawn.messages == example(1).messages


def test_draws_that_never_end_do_not_count_in_best() -> None:
    """The others do: log-odds (ln 4 - ln 3) / 2; the paper's score has nothing left."""
    endless = [Choice("and so on", "length")] * 4
    (found,) = annotate(Score(preset="best"), best_of(endless), [example(1)])
    odds = math.sqrt(4 / 3)
    assert (found["draws"], found["consistency"]) == ([], None)
    assert found["confidence"] == pytest.approx(odds / (1 + odds))
    strict = Score(k=4, draw_form="plain", max_failed_fraction=1.0)
    (row,) = annotate(strict, best_of(endless), [example(1)])
    assert row["score_error"] == "bad_reply: none of 4 draws came to a response within 512 tokens"


def test_best_does_without_the_likelihood_where_no_text_is_scored_and_says_so_once() -> None:
    """Two shards of one run, one note; the confidence is that of the others."""
    model = ScriptedChat(
        lambda r, i: says("Yes", 0.9), capabilities=Capabilities(prompt_logprobs=False)
    )
    progress = SilentProgress()
    ctx = Context(models={"scorer": model}, progress=progress)
    for line in (1, 2):
        shard = Shard(f"s{line}", rows_table([example(line)]))
        (row,) = asyncio.run(
            Score(preset="best", k=0).annotate(shard, [True], None, ctx)
        ).to_pylist()
        assert (row["confidence"], row["likelihood"]) == (row["reflection"], None)
        assert row["likelihood_usage"] is None
    (note,) = progress.notes
    assert "so the likelihood is left out and the confidence is that of yes_no" in note
    assert len(model.requests) == 2


def test_the_form_of_the_likelihood_is_a_setting() -> None:
    """`given` of -3: 1 / 4, from one call; the raw sum is a column."""
    reply = Choice("4", "stop", (Token("4", -3.0),))
    model = ScriptedChat(lambda r, i: reply, capabilities=Capabilities(grammar=True))
    (found,) = annotate(Score(preset="likelihood", likelihood="given"), model, [example(1)])
    assert (found["likelihood"], found["confidence"]) == (0.25, 0.25)
    assert (found["logp_given_prompt"], found["logp_alone"]) == (-3.0, None)
    assert found["likelihood_usage"] == {"calls": 1, "prompt": 2, "cached": 0, "completion": 1}


def test_progress_advances_once_per_row_dead_rows_too() -> None:
    """The bar reaches its end."""

    class Counting(SilentProgress):
        rows = 0

        def advance(self, rows: int = 1) -> None:
            self.rows += rows

    progress = Counting()
    ctx = Context(models={"scorer": ScriptedChat(lambda r, i: says("Yes", 0.9))}, progress=progress)
    shard = Shard("s", rows_table([example(1), example(2), example(3, unscorable="image")]))
    asyncio.run(Score().annotate(shard, [True, False, True], None, ctx))
    assert progress.rows == 3


def test_plain_draws_are_asked_as_the_conversation_itself() -> None:
    """No words of ours; two of three draws say 4, so O = 0.8 * 2/3 + 0.2 * 2/3."""
    model = ScriptedChat(lambda request, sample: "5" if sample == 1 else "The answer is 4")
    stage = Score(reflection=(), k=3, draw_form="plain", similarity="lexical")
    (row,) = annotate(stage, model, [example(1)])
    assert [r.messages for r in model.requests] == [(Message("user", "Question 1"),)]
    assert row["confidence"] == pytest.approx(2 / 3)


def test_a_row_with_a_long_answer_is_not_drawn_for() -> None:
    """Its confidence is the reflection; a short answer that no draw gives has C = 0.3 * 1."""

    def script(request: ChatRequest, sample: int) -> Choice:
        asked = "Yes or No" in request.messages[0].text
        return says("Yes", 0.9) if asked else Choice("The answer is 5", "stop")

    stage = Score(k=1, longest_answer=9, reflection=("yes_no",), similarity="lexical")
    rows = [example(1), example(2, response="four, or so it says"), example(3, response="A: 4")]
    scored = annotate(stage, ScriptedChat(script), rows)
    assert [row["draws"] is None for row in scored] == [False, True, False]
    assert scored[1]["confidence"] == scored[1]["reflection"] == pytest.approx(1.0)
    assert scored[0]["confidence"] == scored[2]["confidence"] == pytest.approx(0.3)


def test_draws_for_values_alone() -> None:
    """Words are not drawn for, though they are short; the number behind a mark is."""
    stage = Score(k=1, draw_for="values", similarity="lexical")
    texts = ["four, or so it says", "It is 2 + 2.\nA: 4", "(B)", "yes", '{"n": 4}', "3 May 2021"]
    rows = [example(n, response=text) for n, text in enumerate(texts, 1)]
    scored = annotate(stage, ScriptedChat(lambda r, i: says("Yes", 0.9)), rows)
    assert [row["draws"] is not None for row in scored] == [False, True, True, True, True, True]


def test_weights_of_parts_that_a_row_does_not_have_are_left_out() -> None:
    """The long answer has the log-odds of its one question."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if "Yes or No" not in request.messages[0].text:
            return Choice("The answer is 5", "stop")
        top = (("Yes", math.log(0.8)), ("No", math.log(0.2)))
        return Choice("Yes", "length", (Token("Yes", top[0][1], top),))

    stage = Score(
        k=1, longest_answer=9, similarity="lexical", weights={"yes_no": 1, "consistency": 3}
    )
    rows = [example(1), example(2, response="four, or so it says")]
    short, long = annotate(stage, ScriptedChat(script), rows)
    assert long["confidence"] == pytest.approx(0.8)
    # logit(0.8) = ln 4; no draw of one agrees: (0 + 1/2) / 2 = 1/4, its logit is -ln 3.
    odds = math.exp((math.log(4) - 3 * math.log(3)) / 4)
    assert short["confidence"] == pytest.approx(odds / (1 + odds))


def test_where_a_row_could_be_left_without_any_part_the_settings_are_refused() -> None:
    """Consistency alone, and rows that are not drawn for."""
    with pytest.raises(ValidationError, match="a row without draws would have no confidence"):
        Score(reflection=(), k=3, longest_answer=50)
    with pytest.raises(ValidationError, match="a row without draws would have no confidence"):
        Score(reflection=(), k=3, draw_for="values")
    with pytest.raises(ValidationError, match="a row without draws would have no confidence"):
        Score(reflection=(), k=3, longest_answer=50, weights={"consistency": 1.0})


def test_questions_are_asked_in_several_orders_and_averaged() -> None:
    """A model that likes the first letter best: A, B and C each stand once for "correct".

    P = 0.6, 0.3, 0.1 by place, so each option gets 1/3: (1 + 0 + 0.5) / 3.
    """

    def script(request: ChatRequest, sample: int) -> Choice:
        top = (("A", math.log(0.6)), ("B", math.log(0.3)), ("C", math.log(0.1)))
        return Choice("A", "length", (Token("A", top[0][1], top),))

    model = ScriptedChat(script)
    (row,) = annotate(Score(reflection=("abc",), orders=3), model, [example(1)])
    assert row["confidence"] == pytest.approx(0.5)
    assert len({request.messages for request in model.requests}) == len(model.requests) == 3


def test_verdicts_in_words_can_be_the_share_of_several() -> None:
    """Three of four say Yes."""
    model = ScriptedChat(lambda request, sample: "No" if sample == 2 else "Yes")
    stage = Score(reflection_via="text", text_samples=4)
    (row,) = annotate(stage, model, [example(1)])
    assert (row["confidence"], row["reflection_via"]) == (0.75, "text")


def test_draws_for_some_rows_need_a_part_that_every_endpoint_has() -> None:
    """Without text scored and without a draw, a row would have no confidence."""
    with pytest.raises(ValidationError, match="a row without draws would have no confidence"):
        Score.model_validate({"preset": "best", "reflection": []})


def test_weights_beside_fast_are_merged_by_name() -> None:
    """The likelihood stays what the preset makes of it."""
    stage = Score(weights={"likelihood": 2.0})
    assert dict(stage.weights) == {"yes_no": 1.0, "likelihood": 2.0}
    assert (stage.likelihood, stage.likelihood_tokens) == ("given", 256)


@pytest.mark.parametrize(
    "own", [{"reflection": ("yes_no",)}, {"k": 2}, {"likelihood_weight": 0.0}], ids=str
)
def test_whoever_says_what_counts_replaces_fast(own: dict[str, Any]) -> None:
    """The question alone, and the constants of the paper."""
    stage = Score.model_validate({"preset": "fast", **own})
    assert (dict(stage.weights), stage.wants_likelihood) == ({}, False)


def test_no_draws_beside_fast_is_fast() -> None:
    """It has none."""
    assert Score(preset="fast", k=0) == Score(preset="fast")


def test_an_empty_setting_is_an_error_with_a_name() -> None:
    """As `reflection:` without a value in a YAML file."""
    with pytest.raises(ValidationError, match="reflection"):
        Score.model_validate({"preset": "best", "reflection": None})
