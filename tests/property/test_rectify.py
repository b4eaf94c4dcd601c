"""Rectify over arbitrary replies: bounded, complete, indifferent to the order of rows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.scripted import Reply, ScriptedChat, uniform
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.rectify import Rectify

Row = tuple[str, bool, bool]
"""The row's response, whether the filter keeps it, whether it is alive."""

rows_strategy = st.lists(
    st.tuples(st.sampled_from(["x", "no", '{"a": 1}']), st.booleans(), st.booleans()),
    min_size=1,
    max_size=4,
)
stages = st.builds(
    Rectify,
    scope=st.sampled_from(["low", "all"]),
    form=st.sampled_from(["one-token", "yes-no", "sampled"]),
    eta=st.floats(0, 1),
    k=st.integers(1, 3),
    candidates=st.integers(1, 3),
    candidate_temperature=st.just(0.7),
    max_failed_fraction=st.just(1.0),
)


def reply(request: ChatRequest, sample: int) -> Reply:
    """Any of what a server may do, by the request alone."""
    share = uniform(request, sample)
    if share < 0.1:
        raise CallError("outage", "gone", transient=True)
    if share < 0.2:
        return Choice("cut off", "length")
    words = ["A", "B", "C", "Yes", "VERDICT: A", "VERDICT: B", "", "x", "I cannot help."]
    return words[int(share * 1000) % len(words)]


def annotate(stage: Rectify, rows: list[tuple[int, Row]]) -> list[dict[str, Any]]:
    table = rows_table(
        Example(
            id=f"x:{i}",
            file="x",
            line=i,
            format="openai",
            messages=(Message("user", f"question {i}"),),
            target=Message("assistant", response),
            original="{}",
        )
        for i, (response, _, _) in rows
    ).append_column("keep", pa.array([keep for _, (_, keep, _) in rows]))
    model = ScriptedChat(reply)
    ctx = Context(models={"candidate": model, "judge": model})
    alive = [lives for _, (_, _, lives) in rows]
    made = asyncio.run(stage.annotate(Shard("s", table), alive, None, ctx))
    assert made.schema == stage.adds()
    assert made.num_rows == len(rows)
    found: list[dict[str, Any]] = made.to_pylist()
    return found


@given(stages, rows_strategy)
def test_every_row_in_scope_has_a_reason_and_figures_in_range(
    stage: Rectify, rows: list[Row]
) -> None:
    """Whatever the server says: no crash, and a new target only where both orders prefer it."""
    made = annotate(stage, list(enumerate(rows)))
    for (_, keep, lives), got in zip(rows, made, strict=True):
        in_scope = lives and (stage.scope == "all" or not keep)
        assert (got["rectified"] is not None) == (got["rectify_reason"] is not None) == in_scope
        if got["preference"] is not None:
            parts = (got["preference_first"], got["preference_second"])
            assert all(0 <= part <= 1 for part in parts)
            assert got["preference"] == sum(parts) / 2
        draws = got["candidate_draws"]
        if draws is not None:
            assert sum(draws.values()) == 2 * draws["drawn"] == 2 * stage.candidates
            assert (got["rectify_outcome"] == "refused") == (draws["refused"] == draws["drawn"])
        assert (got["rectify_outcome"] == "replaced") == bool(got["rectified"])
        sure = got["verdict"] == "candidate" and got["preference"] > stage.eta_in_force
        assert bool(got["rectified"]) == sure == (got["new_target"] is not None)


@given(stages, rows_strategy, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_what_they_get(
    stage: Rectify, rows: list[Row], shuffler: random.Random
) -> None:
    """A row's repair depends on that row alone."""
    numbered = list(enumerate(rows))
    shuffled = list(numbered)
    shuffler.shuffle(shuffled)
    made = annotate(stage, numbered)
    assert annotate(stage, shuffled) == [made[i] for i, _ in shuffled]
