"""Dedup by meaning: which rows with given vectors are one, and what keeps rows apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import ConfigError, RunFailedError
from clear_pipeline.manifest import StageRecord
from clear_pipeline.schema import rows_table
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.dedup.found import columns
from clear_pipeline.stages.embed import COLUMNS
from clear_pipeline.stages.held import surveyed
from dedup_rows import rows

Row = tuple[str, str, Sequence[float] | None]
"""Prompt, response and the angles of their vectors in degrees; None without an embedding."""


def vector(angles: Sequence[float] | None) -> list[float] | None:
    if angles is None:
        return None
    size = math.sqrt(len(angles))
    return [f(math.radians(a)) / size for a in angles for f in (math.cos, math.sin)]


def shard(given: Sequence[Row], key: str) -> Shard:
    table = rows_table(rows([(prompt, response) for prompt, response, _ in given], file=key))
    vectors = [
        None if v is None else np.array(v, np.float16) for _, _, a in given for v in [vector(a)]
    ]
    field = COLUMNS.field("embedding")
    return Shard(key, table.append_column(field, pa.array(vectors, field.type)))


def found(
    *shards: Sequence[Row],
    progress: SilentProgress | None = None,
    text: str = "both",
    **given: object,
) -> list[str | None]:
    """`duplicate_of` of all rows."""
    stage = Dedup.model_validate({"method": "semantic", "threshold": 0.9, **given})
    record = StageRecord(kind="embed", version=1, settings={"text": text})
    ctx = Context(progress=progress or SilentProgress(), records={"embed": record})
    held = [(shard(each, f"{n}"), [True] * len(each)) for n, each in enumerate(shards)]
    states = surveyed(stage, held, ctx)
    return [
        said
        for (each, _), state in zip(held, states, strict=True)
        for said in columns(each.rows, state)["duplicate_of"].to_pylist()
    ]


def test_rows_are_one_if_both_vectors_are_near() -> None:
    """Cosines of 10 degrees are 0.985; where the responses are 60 degrees apart, nothing is one."""
    same: list[Row] = [
        ("ask", "say", (0, 40)),
        ("query", "tell", (10, 50)),
        ("what", "so", (0, 100)),
    ]
    assert found(same) == [None, "0:1", None]


def test_pairs_are_found_across_shards() -> None:
    """The first row in input order stays."""
    second: list[Row] = [("what", "so", (80, 0)), ("query", "tell", (5, 5))]
    assert found([("ask", "say", (0, 0))], second) == [None, None, "0:1"]


@pytest.mark.parametrize(
    ("prompt", "response"),
    [("Is 8 prime?", "Yes."), ("Is 7 not prime?", "Yes."), ("Is 7 prime?", "No."),
     ("Is 7 prime?", "7 and 8.")],
)  # fmt: skip
def test_another_number_or_negation_keeps_rows_apart(prompt: str, response: str) -> None:
    """Even with equal vectors; without such a difference the same vectors are one."""
    first: Row = ("Is 7 prime?", "Yes.", (0, 0))
    assert found([first, (prompt, response, (0, 0))]) == [None, None]
    assert found([first, ("Tell me if seven is prime.", "It is.", (0, 0))]) == [None, "0:1"]


@pytest.mark.parametrize(
    ("compare", "expected"),
    [("both", None), ("prompt", "0:1"), ("response", None)],
)
def test_one_side_is_compared_by_its_half(compare: str, expected: str | None) -> None:
    """Prompts 5 degrees apart, responses 60: alike by the prompts alone."""
    pair: list[Row] = [("ask", "say", (0, 0)), ("query", "tell", (5, 60))]
    assert found(pair, compare=compare) == [None, expected]


def test_vectors_of_one_side_are_compared_whole() -> None:
    """With `embed.text: prompt` there is no other half."""
    pair: list[Row] = [("ask", "say", (0,)), ("query", "tell", (5,))]
    assert found(pair, compare="prompt", text="prompt") == [None, "0:1"]


def test_rows_without_a_vector_are_compared_by_their_content() -> None:
    """And the run says how many they are."""
    progress = SilentProgress()
    given: list[Row] = [("a", "b", None), ("a", "b", None), ("c", "d", (0, 0)), ("e", "f", None)]
    assert found(given, progress=progress) == [None, "0:1", None, None]
    assert "dedup: 3 rows have no embedding" in progress.notes[0]
    assert found([("a", "b", None)]) == [None]


def test_vectors_of_two_models_stop_the_run() -> None:
    """In one shard or in two; the message says what to do."""
    pair: list[Row] = [("ask", "say", (0, 0)), ("query", "tell", (0, 0, 0, 0))]
    for shards in ([pair], [pair[:1], pair[1:]]):
        with pytest.raises(RunFailedError, match=r"of 4 and 8 numbers.*delete the folder embed"):
            found(*shards)


def test_semantic_needs_the_stage_embed_before_it() -> None:
    """A chain without it says what to add."""
    semantic = ["dedup.method=semantic"]
    with pytest.raises(ConfigError, match=r"needs column 'embedding'.*put `- \{kind: embed\}`"):
        build_config(stages=["dedup"], assignments=semantic)
    with pytest.raises(ConfigError, match="needs column 'embedding'"):
        build_config(stages=["dedup", "embed"], assignments=semantic)
    build_config(stages=["embed", "dedup"], assignments=semantic)


def test_what_is_compared_must_be_embedded() -> None:
    """Vectors of the prompts cannot tell responses apart."""
    with pytest.raises(
        ConfigError, match=r"--set embed\.text=both, or --set dedup\.compare=prompt"
    ):
        build_config(
            stages=["embed", "dedup"], assignments=["dedup.method=semantic", "embed.text=prompt"]
        )


def test_the_threshold_suits_the_method() -> None:
    """A cosine of 0.8 is not what a Jaccard similarity of 0.8 is; what is set counts."""
    assert Dedup().threshold == 0.8
    assert Dedup(method="semantic").threshold == 0.95
    assert Dedup(method="semantic", threshold=0.9).threshold == 0.9
