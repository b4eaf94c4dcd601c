"""The cascade stage: which rows are asked, and what their answers make of the confidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from clear_pipeline.errors import CallError, NoSurvivorsError, TooManyFailuresError
from clear_pipeline.llm.base import OMIT, ChatRequest, Choice
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.manifest import StageRecord
from clear_pipeline.report.cascade import CascadeUse
from clear_pipeline.schema import Example, Message, examples, rows_table
from clear_pipeline.stages.band import around, band_around
from clear_pipeline.stages.base import Context, DatasetStage, Shard, SilentProgress
from clear_pipeline.stages.cascade import COLUMNS, Cascade
from clear_pipeline.stages.held import surveyed
from clear_pipeline.stages.ranking import Ranking
from clear_pipeline.stages.usage import USAGE

FIVE = [0.1, 0.3, 0.5, 0.7, 0.9]
"""The median keeps three; a band of 0.4 holds 0.3 and 0.5."""
STAGE = Cascade(k=2, similarity="lexical")


def four_or_five(request: ChatRequest, sample: int) -> str:
    """Draw 0 equals the responses of the rows, draw 1 does not."""
    return f"FINAL RESPONSE: {4 + sample}"


def scored(confidences: Sequence[float]) -> Shard:
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
        for line in range(len(confidences))
    ]
    table = rows_table(rows).append_column("confidence", pa.array(confidences, pa.float64()))
    return Shard("s", table.append_column("score_status", pa.array(["scored"] * len(rows))))


def run(
    stage: Cascade,
    shard: Shard,
    model: ScriptedChat,
    *,
    alive: list[bool] | None = None,
    notes: SilentProgress | None = None,
) -> list[dict[str, Any]]:
    alive = alive or [True] * shard.rows
    ctx = Context({"scorer": model}, notes or SilentProgress(), rows_in_flight=1)
    (state,) = surveyed(stage, [(shard, alive)], ctx)
    table = asyncio.run(stage.annotate(shard, alive, state, ctx))
    assert table.schema.equals(COLUMNS)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def ranking(confidences: Sequence[float]) -> Ranking:
    """The id alone parts equal confidences."""
    return Ranking.of_keys((c, "", f"{n:02d}") for n, c in enumerate(confidences))


TEN = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]


def test_it_is_a_dataset_stage() -> None:
    """The whole ranking must be known before a row is asked."""
    assert isinstance(STAGE, DatasetStage)
    assert STAGE.roles() == ("scorer",)


def test_the_paper_is_the_default() -> None:
    """K = 5 at temperature 1, alpha = 0.8, beta = 0.7, entailment by the model."""
    stage = Cascade()
    assert (stage.k, stage.temperature, stage.alpha, stage.beta) == (5, 1.0, 0.8, 0.7)
    assert stage.similarity == "llm"


@pytest.mark.parametrize(
    ("kept", "ranks"), [(5, range(3, 7)), (1, range(4)), (0, range(4)), (10, range(6, 10))]
)
def test_a_band_lies_around_the_threshold_and_shifts_at_an_end(kept: int, ranks: range) -> None:
    """Four of ten rows: two above and two below, or the four at the end."""
    assert around(kept, total=10, size=4) == ranks


def test_the_room_of_a_band_ends_half_way_to_its_neighbours() -> None:
    """The rows 0.35 to 0.65 lie between 0.25 and 0.75."""
    band = band_around(ranking(TEN), kept=5, share=0.4)
    assert band is not None
    assert (band.first[0], band.last[0]) == (0.65, 0.35)
    assert [band.low, band.high] == pytest.approx([0.3, 0.7])


def test_a_band_of_all_rows_has_all_the_room() -> None:
    """With no row outside, the sampled confidence stands unchanged."""
    band = band_around(ranking(TEN), kept=5, share=1.0)
    assert band is not None
    assert (band.low, band.high, len(band.ranks)) == (0.0, 1.0, 10)


def test_equal_confidences_that_the_edge_would_part_are_left_out() -> None:
    """0.7 is in the band once and outside once: no number lies between the two."""
    band = band_around(ranking([0.1, 0.3, 0.5, 0.6, 0.7, 0.7]), kept=3, share=0.5)
    assert band is not None
    assert (band.first[0], band.last[0]) == (0.6, 0.5)
    assert [band.low, band.high] == pytest.approx([0.4, 0.65])


def test_the_band_is_asked_and_mapped_between_its_neighbours() -> None:
    """O = 0.5 for both; C = 0.7 * 0.5 + 0.3 * c lands in [0.2, 0.6]; the others keep c."""
    model = ScriptedChat(four_or_five)
    rows = run(STAGE, scored(FIVE), model)
    assert [row["cascade_step"] for row in rows] == ["cheap", "sampled", "sampled"] + ["cheap"] * 2
    expected = [0.1, 0.2 + 0.4 * 0.44, 0.2 + 0.4 * 0.5, 0.7, 0.9]
    assert [row["cascaded"] for row in rows] == pytest.approx(expected)
    assert len(model.requests) == 2


def test_the_parts_and_the_cost_of_a_sampled_row_are_columns() -> None:
    """Draws 4 and 5 against the response 4; one call, each draw three words."""
    row = run(STAGE, scored(FIVE), ScriptedChat(four_or_five))[2]
    assert row["cascade_draws"] == ["4", "5"]
    parts = [row[f"cascade_{part}"] for part in ("consistency", "entailment", "exact_match")]
    assert parts == pytest.approx([0.5, 0.5, 0.5])
    cost = row["cascade_cost"]
    assert (cost["calls"], cost["completion"], cost["cached"]) == (1, 6, 0)
    assert cost["prompt"] > 0
    assert row["cascade_error"] is None


def test_what_the_cheap_pass_drew_is_not_counted_again() -> None:
    """It took two of the six words; a row that it did not draw for costs all of them."""
    used = [{"calls": 1, "prompt": 0, "cached": 0, "completion": 2}, None] * 2
    shard = scored(FIVE)
    paid = pa.array([*used, None], USAGE)
    table = shard.table.append_column("consistency_usage", paid)
    rows = run(STAGE, Shard("s", table), ScriptedChat(four_or_five))
    assert [rows[n]["cascade_cost"]["completion"] for n in (1, 2)] == [6, 4]


def test_a_row_of_the_band_without_a_value_takes_nothing_and_stays_in_it() -> None:
    """Its answer is words; the note promises no more than the rows of the band."""
    progress = SilentProgress()
    shard = scored(FIVE)
    said = Message("assistant", "some words")
    words = [replace(example, target=said) for example in examples(shard.table)]
    table = rows_table(words)
    for name in ("confidence", "score_status"):
        table = table.append_column(name, shard.table[name])
    stage = Cascade(k=2, similarity="lexical", draw_for="values")
    model = ScriptedChat(four_or_five)
    rows = run(stage, Shard("s", table), model, notes=progress)
    assert [row["cascaded"] for row in rows] == FIVE
    assert [row["cascade_cost"] and row["cascade_cost"]["calls"] for row in rows] == [
        None, 0, 0, None, None,
    ]  # fmt: skip
    assert model.requests == []
    assert "asks at most 2 of 5 rows" in progress.notes[0]


def test_a_row_whose_draws_fail_keeps_its_cheap_confidence() -> None:
    """It has a score, so it is not unscored; the column says why it is the cheap one."""

    def script(request: ChatRequest, sample: int) -> str:
        if "Question 2" in request.messages[0].text:
            raise CallError("content_filter", "refused", transient=False)
        return four_or_five(request, sample)

    rows = run(STAGE, scored(FIVE), ScriptedChat(script))
    assert (rows[2]["cascaded"], rows[2]["cascade_step"]) == (0.5, "cheap")
    assert rows[2]["cascade_error"] == "content_filter: refused"
    assert rows[2]["cascade_cost"]["calls"] == 1
    assert rows[1]["cascade_step"] == "sampled"


def test_what_is_saved_goes_by_the_mean_of_the_band() -> None:
    """Of a band of 4 one row has a value: the 6 outside would have taken 1.5 calls, not 6."""
    cost = {"calls": 1, "prompt": 80, "cached": 0, "completion": 20}
    nothing = dict.fromkeys(cost, 0)
    costs = [cost, nothing, nothing, nothing, *[None] * 6]
    lines = [{"cascade_step": "cheap", "cascade_cost": c} for c in costs]
    use = CascadeUse.of(pa.Table.from_pylist(lines, schema=COLUMNS))
    assert (use.rows, use.band, use.asked, use.calls) == (10, 4, 1, 1)
    assert use.to_json()["saved_tokens"] == 150
    assert (use + use).calls == 2


def test_more_failures_than_allowed_stop_the_stage() -> None:
    """Only rows that are asked count: five of the band's eight are enough."""

    def script(request: ChatRequest, sample: int) -> str:
        raise CallError("bad_request", "no", transient=False)

    with pytest.raises(TooManyFailuresError, match="cascade: 5 of 5 rows failed"):
        run(STAGE, scored([n / 20 for n in range(20)]), ScriptedChat(script))


def test_draws_that_come_to_nothing_stop_no_stage_that_can_do_without_them() -> None:
    """All of the band's eight draws are cut; the rows keep their cheap confidence and a reason."""
    confidences = [n / 20 for n in range(20)]
    stage = Cascade(k=2, similarity="lexical", draw_for="values")
    cut = Choice("a thought that the limit cut", "length")
    rows = run(stage, scored(confidences), ScriptedChat(lambda *_: cut))
    assert [row["cascaded"] for row in rows] == confidences
    assert sum("none of 2 draws" in (row["cascade_error"] or "") for row in rows) == 8


def test_verdicts_on_pairs_are_read_as_the_score_reads_them() -> None:
    """With a score that parses text, no log-probability is asked for."""
    model = ScriptedChat(lambda _, sample: f"FINAL RESPONSE: {5 + sample}")
    shard = scored(FIVE)
    settings = {"reflection_via": "text"}
    ctx = Context(
        {"scorer": model},
        records={"score": StageRecord(kind="score", version=1, settings=settings)},
    )
    stage = Cascade(k=2)
    (state,) = surveyed(stage, [(shard, [True] * 5)], ctx)
    asyncio.run(stage.annotate(shard, [True] * 5, state, ctx))
    pairs = [request for request in model.requests if len(request.samples) == 1]
    assert pairs
    assert all(request.top_logprobs is OMIT for request in pairs)


def test_dead_rows_are_neither_ranked_nor_asked() -> None:
    """Without row 0.5 the median of the four others keeps two, and 0.3 and 0.7 are asked."""
    model = ScriptedChat(four_or_five)
    rows = run(STAGE, scored(FIVE), model, alive=[True, True, False, True, True])
    assert set(rows[2].values()) == {None}
    assert [n for n, row in enumerate(rows) if row["cascade_step"] == "sampled"] == [1, 3]


@pytest.mark.parametrize(
    ("keep", "asked"),
    [
        ({"above": "median"}, [1, 2]),
        ({"quantile": 0.2}, [0, 1]),
        ({"count": 1}, [3, 4]),
        ({"confidence": 0.6}, [2, 3]),
        ({"confidence": 0.05}, [0, 1]),
    ],
)
def test_the_band_follows_the_rule_of_the_threshold(keep: dict[str, Any], asked: list[int]) -> None:
    """In every form of the filter's keep; a fixed threshold below all rows may still drop some."""
    stage = Cascade.model_validate({"keep": keep, "k": 2, "similarity": "lexical"})
    rows = run(stage, scored(FIVE), ScriptedChat(four_or_five))
    assert [n for n, row in enumerate(rows) if row["cascade_step"] == "sampled"] == asked


@pytest.mark.parametrize(
    ("stage", "confidences", "reason"),
    [
        (STAGE, [0.0, 1.0, 1.0, 1.0, 1.0], "4 of 5 rows have a confidence of 1.000"),
        (STAGE, [0.1, 0.1, 0.5, 0.7, 0.9], "2 of 5 rows have a confidence of 0.100"),
        (Cascade(band=0.2), FIVE, "the band is too narrow to hold a row on either side"),
        (Cascade.model_validate({"keep": {"count": 9}}), FIVE, "the filter keeps them all"),
    ],
)
def test_where_asking_decides_nothing_no_row_is_asked(
    stage: Cascade, confidences: list[float], reason: str
) -> None:
    """A note says why, and every row has its cheap confidence."""
    model, progress = ScriptedChat(four_or_five), SilentProgress()
    rows = run(stage, scored(confidences), model, notes=progress)
    assert [row["cascaded"] for row in rows] == confidences
    assert model.requests == []
    assert any(f"cascade asks no row: {reason}" in note for note in progress.notes)


def test_a_threshold_that_keeps_nothing_stops_before_the_first_call() -> None:
    """What the filter would refuse is not paid for."""
    model = ScriptedChat(four_or_five)
    with pytest.raises(NoSurvivorsError, match="filter keeps no row"):
        run(Cascade.model_validate({"keep": {"confidence": 0.9}}), scored(FIVE), model)
    assert model.requests == []


def test_a_precision_is_no_threshold_before_calibration() -> None:
    """P(good) comes after the cascade, so that no band can lie around it."""
    with pytest.raises(ValidationError, match="after calibration"):
        Cascade.model_validate({"keep": {"precision": 0.95}})
