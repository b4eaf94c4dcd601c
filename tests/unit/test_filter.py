"""Filter: which rows stay, and what is said about those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from clear_pipeline.errors import NoSurvivorsError
from clear_pipeline.stages.base import Context, DatasetStage, Shard, SilentProgress
from clear_pipeline.stages.filter import Confidence, Count, Filter, Precision, Quantile
from clear_pipeline.stages.held import surveyed

TEN = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]


def scored(
    confidences: Sequence[float | None],
    *,
    hashes: Sequence[str] | None = None,
    responses: Sequence[str] | None = None,
) -> Shard:
    ids = [f"x.jsonl:{i}" for i in range(len(confidences))]
    return Shard(
        "shard",
        pa.table(
            {
                "id": ids,
                "content_hash": hashes or [f"{i:04d}" for i in range(len(ids))],
                "response": responses or ["so"] * len(ids),
                "confidence": pa.array(confidences, pa.float64()),
                "score_status": ["unscored" if c is None else "scored" for c in confidences],
            }
        ),
    )


def run(stage: Filter, *shards: Shard, ctx: Context | None = None) -> list[dict[str, Any]]:
    """Survey and annotate, as the pipeline does; the rows of all shards."""
    ctx = ctx or Context()
    alive = [[v == "scored" for v in s.table["score_status"].to_pylist()] for s in shards]
    states = surveyed(stage, list(zip(shards, alive, strict=True)), ctx)
    rows: list[dict[str, Any]] = []
    for shard, live, state in zip(shards, alive, states, strict=True):
        rows += asyncio.run(stage.annotate(shard, live, state, ctx)).to_pylist()
    return rows


def kept(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [i for i, row in enumerate(rows) if row["keep"]]


def test_is_a_dataset_stage() -> None:
    """The engine recognises that the whole dataset must be seen first."""
    assert isinstance(Filter(), DatasetStage)


def test_median_keeps_the_upper_half_rounded_up() -> None:
    """Of five rows the best three stay, over the borders of shards."""
    rows = run(Filter(), scored([0.1, 0.9]), scored([0.3, 0.5, 0.2]))
    assert kept(rows) == [1, 2, 3]
    assert [row["threshold"] for row in rows] == [0.3] * 5


def test_median_of_equal_confidences_keeps_half_by_content_hash() -> None:
    """Where a strict ">" would keep nothing, the larger hashes stay, and a note says so."""
    progress = SilentProgress()
    shard = scored([0.5] * 4, hashes=["b", "d", "a", "c"])
    rows = run(Filter(), shard, ctx=Context(progress=progress))
    assert kept(rows) == [1, 3]
    assert any("2 rows that are not kept" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({"quantile": 0.7}, [7, 8, 9]),
        ({"quantile": 0.9}, [9]),
        ({"quantile": 0.0}, list(range(10))),
        ({"quantile": 0.33}, [3, 4, 5, 6, 7, 8, 9]),
        ({"confidence": 0.85}, [9]),
        ({"count": 3}, [7, 8, 9]),
        ({"count": 99}, list(range(10))),
        ({"above": "median"}, [5, 6, 7, 8, 9]),
    ],
)
def test_each_form_keeps_exactly_its_rows(keep: dict[str, Any], expected: list[int]) -> None:
    """(1 - 0.7) * 10 is 3 and not 4; a confidence equal to the threshold does not stay."""
    assert kept(run(Filter.model_validate({"keep": keep}), scored(TEN))) == expected


def test_dead_rows_get_null_and_do_not_count() -> None:
    """An unscored row is neither kept nor filtered, and does not move the median."""
    rows = run(Filter(), scored([None, 0.1, None, 0.9]))
    assert [row["keep"] for row in rows] == [None, False, None, True]
    assert rows[0] == {"keep": None, "threshold": None, "filter_reason": None}


@pytest.mark.parametrize(
    ("stage", "reasons"),
    [
        (Filter(), ["confidence 0.213 < 0.700 (median)", "confidence 0.700 >= 0.700 (median)"]),
        (
            Filter(keep=Confidence(confidence=0.213)),
            [
                "confidence 0.213 <= 0.213 (set threshold)",
                "confidence 0.700 > 0.213 (set threshold)",
            ],
        ),
        (
            Filter(keep=Count(count=1)),
            ["confidence 0.213 < 0.700 (best 1)", "confidence 0.700 >= 0.700 (best 1)"],
        ),
    ],
)
def test_reasons_state_the_comparison(stage: Filter, reasons: list[str]) -> None:
    """A reader sees both numbers, the sign that holds and which rule set the threshold."""
    assert [row["filter_reason"] for row in run(stage, scored([0.213, 0.7]))] == reasons


def bounded(bounds: Sequence[float]) -> Shard:
    """Rows with lower bounds of P(good), and a confidence that goes the other way."""
    shard = scored([1 - bound for bound in bounds])
    column = pa.array(bounds, pa.float64())
    return Shard(shard.key, shard.table.append_column("p_good_low", column))


def test_precision_keeps_the_largest_set_whose_mean_bound_reaches_it() -> None:
    """(0.99 + 0.97 + 0.89) / 3 = 0.95 stays; the mean with 0.8 would be 0.9125."""
    stage = Filter(keep=Precision(precision=0.95))
    rows = run(stage, bounded([0.8, 0.99]), bounded([0.97, 0.89, 0.1]))
    assert kept(rows) == [1, 2, 3]
    assert rows[0]["filter_reason"] == "P(good) at least 0.800 < 0.890 (precision 0.95)"


def test_precision_out_of_reach_is_an_error_with_the_best_bound() -> None:
    """Where not even the best row is sure enough, nothing is kept in silence."""
    with pytest.raises(NoSurvivorsError, match=r"highest lower bound is 0\.900"):
        run(Filter(keep=Precision(precision=0.95)), bounded([0.9, 0.5]))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"cascaded": [0.1, None], "calibrated": [0.9, 0.2]}, [0]),
        ({"cascaded": [0.1, None]}, [1]),
    ],
)
def test_the_most_refined_confidence_decides(
    columns: dict[str, list[float | None]], expected: list[int]
) -> None:
    """`calibrated` wins as a column; `cascaded` row by row over `confidence`."""
    shard = scored([0.9, 0.5])
    table = shard.table
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.float64()))
    assert kept(run(Filter(keep=Count(count=1)), Shard("shard", table))) == expected


def test_set_threshold_is_the_whole_state() -> None:
    """With an absolute threshold other files cannot move this shard's fingerprint."""
    stage = Filter(keep=Confidence(confidence=0.4))
    one = surveyed(stage, [(scored(TEN), [True] * 10)], Context())
    other = surveyed(stage, [(scored([0.5]), [True])], Context())
    assert one == other == [{"threshold": 0.4, "last": []}]


def test_no_survivor_is_an_error_with_the_histogram() -> None:
    """The message shows where the confidences lie."""
    stage = Filter(keep=Confidence(confidence=0.9))
    with pytest.raises(NoSurvivorsError) as error:
        run(stage, scored([0.15, 0.12, 0.9]))
    assert f"0.1-0.2 {'#' * 40} 2" in str(error.value)
    assert f"0.9-1.0 {'#' * 20} 1" in str(error.value)


def test_no_alive_row_is_an_error_that_says_so() -> None:
    """Without any confidence there is no histogram to print."""
    with pytest.raises(NoSurvivorsError, match="none has a confidence"):
        run(Filter(), scored([None, None]))


@pytest.mark.parametrize(
    "keep",
    [
        {"purity": 0.95},
        {"precision": 1.0},
        {"above": "median", "count": 3},
        "median",
        {},
        {"above": "mean"},
        {"quantile": 1.0},
        {"confidence": -0.1},
        {"count": 0},
    ],
)
def test_unknown_forms_are_refused(keep: object) -> None:
    """What is not one of the forms, or out of range, is an error of the config."""
    with pytest.raises(ValidationError):
        Filter.model_validate({"keep": keep})


def test_the_error_names_the_accepted_forms() -> None:
    """A user who guesses a form reads the ones that exist."""
    with pytest.raises(ValidationError, match=r"\{above: median\}, \{quantile: 0.3\}"):
        Filter.model_validate({"keep": {"purity": 0.95}})


def test_settings_survive_a_round_trip_through_config() -> None:
    """The dumped settings, which enter the fingerprint, read back as the same stage."""
    stage = Filter(keep=Quantile(quantile=0.3))
    assert Filter.model_validate(stage.model_dump(mode="json")) == stage


@pytest.mark.parametrize(
    ("responses", "told"),
    [
        (["x" * n for n in range(100, 0, -1)], "falls with the length of the response"),
        (["x" * n for n in range(100, 0, -1)], "kept have up to 26 characters, of the others"),
        (["x" * n for n in range(1, 101)], "grows with the length of the response"),
        (["x" * (n % 7) for n in range(100)], None),
        (["x"] * 100, None),
    ],
)  # fmt: skip
def test_a_confidence_that_goes_by_the_length_is_told(
    responses: list[str], told: str | None
) -> None:
    """A hundred rows, the surest last; nothing is said where length and confidence are apart."""
    progress = SilentProgress()
    shard = scored([n / 100 for n in range(100)], responses=responses)
    assert len(kept(run(Filter(), shard, ctx=Context(progress=progress)))) == 50
    notes = [note for note in progress.notes if "length" in note]
    assert len(notes) == (told is not None)
    assert (told or "") in "".join(notes)


def test_few_rows_say_nothing_of_the_length() -> None:
    """Of 49 rows a correlation is chance."""
    progress = SilentProgress()
    shard = scored([n / 49 for n in range(49)], responses=["x" * n for n in range(49)])
    run(Filter(), shard, ctx=Context(progress=progress))
    assert not [note for note in progress.notes if "length" in note]
