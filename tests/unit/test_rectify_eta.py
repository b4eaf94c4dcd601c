"""Rectify: which eta is in force, and where it may not hold."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest

from clear_pipeline.calibration import EtaCalibration, LabelledRepair, fit_eta
from clear_pipeline.errors import UsageError
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import rows_table
from clear_pipeline.scoring.preference import FormName
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.rectify import DEFAULT_ETA, Rectify
from rectify_rows import letters, row, run


def fitted_eta(*, form: str = "one-token", eta: float = 0.9) -> EtaCalibration:
    """On 59 good rows, none of them damaged, by the scripted models."""
    model = ScriptedChat(lambda *_: "").identity
    fitted = fit_eta([LabelledRepair(False, None, damages=True)] * 59, max_damage=0.05)
    found = EtaCalibration.of(
        fitted,
        max_damage=0.05,
        damage="replaced",
        models={"judge": model, "candidate": model},
        settings=Rectify(form=form).model_dump(mode="json"),  # type: ignore[arg-type]
    )
    return found.model_copy(update={"eta": eta})


def test_a_calibrated_eta_is_in_force(tmp_path: Path) -> None:
    """Read from a file: 0.95 is above 0.9 and not above 0.96."""
    for eta, replaced in ((0.9, True), (0.96, False)):
        fitted_eta(eta=eta).save(tmp_path / "eta.json")
        stage = Rectify.model_validate(
            {"form": "one-token", "calibration": str(tmp_path / "eta.json")}
        )
        assert stage.eta_in_force == eta
        assert Rectify.model_validate_json(stage.model_dump_json()) == stage
        [got], _, _ = run(stage, [row(1)])
        assert got["rectified"] is replaced


def test_a_calibration_holds_for_one_form_and_beside_no_eta() -> None:
    """Both are mistakes that would pass unseen."""
    with pytest.raises(ValueError, match="holds for form one-token, not yes-no"):
        Rectify(calibration=fitted_eta())
    with pytest.raises(ValueError, match="leave one of them out"):
        letters(calibration=fitted_eta(), eta=0.7)


def test_a_calibration_holds_for_one_judge() -> None:
    """Another judge is refused, naming both."""
    stage = letters(calibration=fitted_eta())
    stage.refuse_other_judge("scripted:scripted")
    with pytest.raises(UsageError, match="verdicts of scripted:scripted, but other would judge"):
        stage.refuse_other_judge("other")


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (Rectify(), []),
        (letters(eta=0.7), []),
        (letters(), ["rectify: eta 0.8 was never measured for form one-token; calibrate it"]),
        (letters(calibration=fitted_eta()), []),
        (
            letters(calibration=fitted_eta(), scope="all"),
            ["rectify: calibrated with scope low, not all; the calibrated eta may not hold here"],
        ),
    ],
)
def test_where_an_eta_may_not_hold_is_said_once(stage: Rectify, told: list[str]) -> None:
    """However many shards there are."""
    progress = SilentProgress()
    model = ScriptedChat(lambda *_: "five")
    ctx = Context(models={"candidate": model, "judge": model}, progress=progress)
    table = rows_table([row(1)]).append_column("keep", pa.array([True]))
    for _ in range(2):
        asyncio.run(stage.annotate(Shard("s", table), [True], None, ctx))
    assert [note[: len(start)] for note, start in zip(progress.notes, told, strict=True)] == told


def test_every_form_has_an_eta_of_its_own() -> None:
    """And the paper's stays the paper's."""
    assert set(DEFAULT_ETA) == set(get_args(FormName))
    assert Rectify(form="sampled").eta_in_force == 0.8
