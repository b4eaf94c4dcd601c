"""A ranking by arrays is the sorted list of keys, whatever ties and however the rows are cut."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.stages.base import Shard
from clear_pipeline.stages.confidence import Key, final_confidence
from clear_pipeline.stages.held import HeldShards
from clear_pipeline.stages.ranking import Ranking, ranking_of

Rows = list[tuple[Key, bool]]
"""Keys, and whether their rows are alive."""

rows_strategy = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1),
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
).map(lambda rows: [((c, h, f"x:{n}"), alive) for n, (c, h, alive) in enumerate(rows)])


def surveyed(rows: Rows, cuts: int) -> Ranking:
    shards = [
        (
            Shard(
                str(number),
                pa.table(
                    {
                        "confidence": [key[0] for key, _ in part],
                        "content_hash": [key[1] for key, _ in part],
                        "id": [key[2] for key, _ in part],
                    }
                ),
            ),
            [alive for _, alive in part],
        )
        for number in range(cuts)
        if (part := rows[number::cuts])
    ]
    nowhere = Path()  # a ranking writes nothing
    return ranking_of(HeldShards(shards, nowhere), final_confidence)


@given(rows_strategy, st.integers(1, 3))
def test_each_rank_has_the_key_that_a_sort_gives_it(rows: Rows, cuts: int) -> None:
    """Dead rows have no rank."""
    ranked = sorted((key for key, alive in rows if alive), reverse=True)
    ranking = surveyed(rows, cuts)
    assert [ranking.key(rank) for rank in range(len(ranking))] == ranked
    for key in ranked:
        assert ranking.above(key[0]) == sum(other[0] > key[0] for other in ranked)
        assert ranking.with_just(key[0]) == sum(other[0] == key[0] for other in ranked)


@given(rows_strategy)
def test_the_first_rows_are_those_of_the_largest_keys(rows: Rows) -> None:
    """Also where the cut goes through rows of one confidence."""
    keys = [key for key, _ in rows]
    ranking = Ranking.of_keys(keys)
    for count in range(1, len(keys) + 1):
        chosen = {key for key, taken in zip(keys, ranking.first(count), strict=True) if taken}
        assert chosen == set(sorted(keys, reverse=True)[:count])
