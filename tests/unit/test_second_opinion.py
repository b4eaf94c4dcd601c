"""The second opinion: which rows another model sees, and how far it disagrees."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from calibration_rows import signals
from clear_pipeline.calibration import fit_ranking
from clear_pipeline.errors import CallError, TooManyFailuresError
from clear_pipeline.llm.base import OMIT, ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Script, ScriptedChat
from clear_pipeline.manifest import StageRecord
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Context, DatasetStage, Shard, SilentProgress
from clear_pipeline.stages.calibrate import Calibrate
from clear_pipeline.stages.held import surveyed
from clear_pipeline.stages.score import Score
from clear_pipeline.stages.second_opinion import COLUMNS, SecondOpinion

FIVE = {"confidence": [0.1, 0.9, 0.5, 0.8, 0.3]}


def quarter(request: ChatRequest, sample: int) -> Choice:
    """Yes with a probability of 0.25."""
    top = (("Yes", math.log(0.25)), ("No", math.log(0.75)))
    return Choice("No", "stop", (Token("No", top[1][1], top),))


def scored(**columns: list[Any]) -> Shard:
    rows = [
        Example(
            id=f"a:{line}",
            file="a",
            line=line,
            format="chat",
            messages=(Message("user", f"Question {line}"),),
            target=Message("assistant", "4"),
            original="{}",
        )
        for line in range(len(next(iter(columns.values()))))
    ]
    table = rows_table(rows)
    for name, values in columns.items():
        maps = pa.map_(pa.string(), pa.float64())
        table = table.append_column(
            name, pa.array(values, maps if name == "reflections" else pa.float64())
        )
    return Shard("s", table)


def run(
    stage: SecondOpinion, shard: Shard, model: ScriptedChat, *, alive: list[bool] | None = None
) -> list[dict[str, Any]]:
    alive = alive or [True] * shard.rows
    ctx = Context({"second": model}, SilentProgress(), rows_in_flight=1)
    (state,) = surveyed(stage, [(shard, alive)], ctx)
    table = asyncio.run(stage.annotate(shard, alive, state, ctx))
    assert table.schema.equals(COLUMNS)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def asked(rows: list[dict[str, Any]]) -> list[int]:
    return [n for n, row in enumerate(rows) if row["second_confidence"] is not None]


def test_it_is_a_stage_of_the_other_model() -> None:
    """Nothing is asked of the scorer."""
    assert isinstance(SecondOpinion(), DatasetStage)
    assert SecondOpinion().roles() == ("second",)


def test_the_surest_share_is_asked_and_the_distance_is_the_disagreement() -> None:
    """Of five rows two fifths: 0.9 and 0.8, of which the second model thinks 0.25."""
    model = ScriptedChat(quarter)
    rows = run(SecondOpinion(fraction=0.4), scored(**FIVE), model)
    assert asked(rows) == [1, 3]
    assert [rows[n]["second_confidence"] for n in (1, 3)] == pytest.approx([0.25, 0.25])
    assert [rows[n]["disagreement"] for n in (1, 3)] == pytest.approx([0.65, 0.55])
    assert len(model.requests) == 2
    assert [row["second_usage"] and row["second_usage"]["calls"] for row in rows] == [
        None, 1, None, 1, None,
    ]  # fmt: skip


def test_the_most_refined_confidence_says_which_rows_are_sure() -> None:
    """The cascade has taken row 1 down."""
    shard = scored(**FIVE, cascaded=[0.1, 0.2, 0.5, 0.8, 0.3])
    assert asked(run(SecondOpinion(fraction=0.2), shard, ScriptedChat(quarter))) == [3]


def test_an_answer_is_compared_with_the_answer_to_the_same_question() -> None:
    """The scorer's reflection of 0.35 and not what the cascade made of it."""
    shard = scored(confidence=[0.35], reflection=[0.35], cascaded=[0.95])
    (row,) = run(SecondOpinion(), shard, ScriptedChat(quarter))
    assert row["disagreement"] == pytest.approx(0.1)


@pytest.mark.parametrize(("turned", "disagreement"), [("reflection.yes_no", 0.65), ("", 0.15)])
def test_a_turned_verdict_is_compared_as_the_calibration_reads_it(
    turned: str, disagreement: float
) -> None:
    """Of a good row the scorer says 0.1 and the second model 0.25: |0.9 - 0.25| if 0.1 is good."""
    bad = np.arange(120) % 2 == 0
    file, _ = fit_ranking(
        {"reflection.yes_no": signals(bad, inverted=bool(turned))["reflection"]},
        ["swap" if row else None for row in bad],
        [f"row{i // 2}" for i in range(120)],
    )
    assert file.turned == ((turned,) if turned else ())
    settings = Calibrate(file=file).model_dump(mode="json")
    record = StageRecord(kind="calibrate", version=1, settings=settings)
    shard = scored(confidence=[0.1], reflection=[0.1], calibrated=[0.9])
    stage, progress = SecondOpinion(), SilentProgress()
    ctx = Context({"second": ScriptedChat(quarter)}, progress, records={"calibrate": record})
    (state,) = surveyed(stage, [(shard, [True])], ctx)
    (row,) = asyncio.run(stage.annotate(shard, [True], state, ctx)).to_pylist()
    assert row["disagreement"] == pytest.approx(disagreement)
    assert any("turned reflection.yes_no" in note for note in progress.notes) == bool(turned)


def test_the_questions_are_those_that_the_scorer_answered() -> None:
    """Two questions are asked of the row that has two, the usual one of the row that has none."""
    shard = scored(confidence=[0.5, 0.6], reflections=[[("yes_no", 0.5), ("expert", 0.5)], None])
    model = ScriptedChat(quarter)
    run(SecondOpinion(fraction=1), shard, model)
    per_row = ["Question 0" in request.messages[0].text for request in model.requests]
    assert sorted(per_row) == [False, True, True]


def test_it_is_asked_in_as_many_orders_and_in_the_same_way_as_the_scorer() -> None:
    """A letter bias that the scorer's average took out must not be the disagreement."""
    score = Score(reflection=("abc",), orders=3, reflection_via="text")
    record = StageRecord(kind="score", version=1, settings=score.model_dump(mode="json"))
    stage, model = SecondOpinion(fraction=1.0), ScriptedChat(lambda r, i: "A")
    shard = scored(confidence=[0.9], reflection=[0.9], reflections=[[("abc", 0.9)]])
    ctx = Context({"second": model}, SilentProgress(), records={"score": record})
    (state,) = surveyed(stage, [(shard, [True])], ctx)
    (found,) = asyncio.run(stage.annotate(shard, [True], state, ctx)).to_pylist()
    assert len(model.requests) == 3
    assert all(request.top_logprobs is OMIT for request in model.requests)
    assert found["second_confidence"] == pytest.approx(0.5)


def test_dead_rows_are_neither_ranked_nor_asked() -> None:
    """The surest of the others is asked instead."""
    alive = [True, False, True, True, True]
    rows = run(SecondOpinion(fraction=0.25), scored(**FIVE), ScriptedChat(quarter), alive=alive)
    assert asked(rows) == [3]


def failing(*lines: int) -> Script:
    def script(request: ChatRequest, sample: int) -> Choice:
        if any(f"Question {line}" in request.messages[0].text for line in lines):
            raise CallError("bad_request", "no", transient=False)
        return quarter(request, sample)

    return script


def test_a_failed_call_is_data_of_its_row() -> None:
    """No opinion is no agreement: both scores are null, with the reason."""
    rows = run(SecondOpinion(fraction=0.4), scored(**FIVE), ScriptedChat(failing(1)))
    assert rows[1] == {
        "second_confidence": None,
        "disagreement": None,
        "second_error": "bad_request: no",
        "second_usage": {"calls": 1, "prompt": 0, "cached": 0, "completion": 0},
    }
    assert asked(rows) == [3]


def test_more_failures_than_allowed_stop_the_stage() -> None:
    """Five of five."""
    model = ScriptedChat(failing(*range(5)))
    with pytest.raises(TooManyFailuresError, match="second_opinion: 5 of 5"):
        run(SecondOpinion(fraction=1), scored(**FIVE), model)


def test_without_rows_nothing_is_asked() -> None:
    """A dataset of duplicates alone."""
    rows = run(SecondOpinion(), scored(confidence=[0.5]), ScriptedChat(quarter), alive=[False])
    assert set(rows[0].values()) == {None}
