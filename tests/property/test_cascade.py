"""The cascade: no row crosses the edge of the band, and the rows outside keep their fate."""

from __future__ import annotations

import asyncio
import json
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.stages.band import band_around, into_band
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.confidence import Key
from clear_pipeline.stages.filter import Filter
from clear_pipeline.stages.held import surveyed
from clear_pipeline.stages.ranking import Ranking

unit = st.floats(0, 1)
Row = tuple[str, float, str, float]
"""Id, cheap confidence, content hash, and what the sampled pass will say."""

rows_strategy: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(unit | st.sampled_from([0.0, 0.25, 0.5, 5e-324, 1.0]), st.sampled_from("abcd"), unit),
    min_size=1,
    max_size=15,
).map(lambda rows: [(f"x:{i:02d}", *row) for i, row in enumerate(rows)])
shares = st.integers(1, 100).map(lambda n: n / 100)
keeps = st.one_of(
    st.just({"above": "median"}),
    st.integers(0, 99).map(lambda n: {"quantile": n / 100}),
    st.integers(1, 30).map(lambda n: {"count": n}),
    unit.map(lambda c: {"confidence": c}),
)


def key(row: Row) -> Key:
    return row[1], row[2], row[0]


def edges(rows: list[Row], keep: dict[str, Any], share: float) -> dict[str, Any] | None:
    """The state of the stage, carried as JSON; None where the filter would keep nothing."""
    stage = Cascade.model_validate({"keep": keep, "band": share})
    if stage.keep.rows(np.array([row[1] for row in rows])) == 0:
        return None
    (state,) = surveyed(stage, [(shard(rows), [True] * len(rows))], Context())
    found: dict[str, Any] = json.loads(json.dumps(state))
    return found


def shard(rows: list[Row], cascaded: list[float] | None = None) -> Shard:
    ids, confidences, hashes, _ = zip(*rows, strict=True)
    columns = {
        "id": ids,
        "confidence": confidences,
        "content_hash": hashes,
        "response": ["so"] * len(rows),
    }
    table = pa.table({name: list(values) for name, values in columns.items()})
    if cascaded is not None:
        table = table.append_column("cascaded", pa.array(cascaded, pa.float64()))
    return Shard("s", table)


def refine(rows: list[Row], state: dict[str, Any]) -> tuple[list[float], set[int]]:
    """What the stage makes of the rows, and which of them it asks."""
    inside = {
        n
        for n, row in enumerate(rows)
        if state and tuple(state["last"]) <= key(row) <= tuple(state["first"])
    }
    low, high = state.get("low", 0.0), state.get("high", 1.0)
    refined = [
        into_band(row[3], low=low, high=high) if n in inside else row[1]
        for n, row in enumerate(rows)
    ]
    return refined, inside


def kept(keep: dict[str, Any], part: Shard) -> list[bool]:
    stage = Filter.model_validate({"keep": keep})
    alive = [True] * part.rows
    (state,) = surveyed(stage, [(part, alive)], Context())
    table = asyncio.run(stage.annotate(part, alive, state, Context()))
    return [bool(value) for value in table["keep"].to_pylist()]


@given(rows_strategy, keeps, shares)
def test_no_row_of_the_band_passes_a_row_outside(
    rows: list[Row], keep: dict[str, Any], share: float
) -> None:
    """The order across the band's edges is that of the cheap pass, ties and hashes included."""
    state = edges(rows, keep, share)
    if state is None:
        return
    refined, inside = refine(rows, state)
    assert all(0.0 <= value <= 1.0 for value in refined)
    for i in inside:
        for o in set(range(len(rows))) - inside:
            before = key(rows[i]) < key(rows[o])
            after = (refined[i], *key(rows[i])[1:]) < (refined[o], *key(rows[o])[1:])
            assert before == after


@given(rows_strategy, keeps, shares)
def test_the_filter_decides_as_before_about_rows_outside(
    rows: list[Row], keep: dict[str, Any], share: float
) -> None:
    """Whatever the draws say."""
    state = edges(rows, keep, share)
    if state is None:
        return
    refined, inside = refine(rows, state)
    # A fixed threshold may find no row above it once the band has moved; the filter says so.
    if "confidence" in keep and max(refined) <= keep["confidence"]:
        return
    before, after = kept(keep, shard(rows)), kept(keep, shard(rows, refined))
    outside = set(range(len(rows))) - inside
    assert [before[n] for n in outside] == [after[n] for n in outside]


@given(rows_strategy, shares, st.randoms(use_true_random=False))
def test_a_band_holds_no_more_than_its_share(
    rows: list[Row], share: float, shuffler: random.Random
) -> None:
    """The bill is bounded by the setting, and the order of the rows moves no edge."""
    ranking = Ranking.of_keys(map(key, rows))
    band = band_around(ranking, kept=math.ceil(len(rows) / 2), share=share)
    if band is not None:
        assert 1 <= len(band.ranks) <= math.ceil(Fraction(str(share)) * len(rows))
        assert band.low <= band.last[0] <= band.first[0] <= band.high
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    assert edges(rows, {"above": "median"}, share) == edges(shuffled, {"above": "median"}, share)


@given(unit, unit, unit, unit)
def test_the_map_into_the_band_keeps_order_and_bounds(
    one: float, other: float, edge: float, far: float
) -> None:
    """A better sampled score never ranks lower, and none leaves the band."""
    low, high = sorted([edge, far])
    a, b = (into_band(score, low=low, high=high) for score in sorted([one, other]))
    assert low <= a <= b <= high
