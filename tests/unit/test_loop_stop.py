"""When a loop ends, and what is shown of it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from clear_pipeline.errors import DamagedRunError
from clear_pipeline.evaluate.models.report import Figure
from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.loop import LoopRecord, LoopSettings, Reference, RoundRecord, read_loop
from clear_pipeline.loop.picture import picture
from clear_pipeline.loop.record import Spent
from clear_pipeline.loop.stop import ended
from clear_pipeline.loop.views import remarks, summary

BELOW = "in token F1 over round-1, less than 0.005"


def figure(value: float, *, metric: str = "token_f1") -> Figure:
    estimate = Estimate(value, value - 0.1, value + 0.1)
    return Figure(metric=metric, rows=50, value=estimate, answered_rows=50, answered=estimate)


def model(name: str) -> ModelSettings:
    return ModelSettings(model=name, base_url="http://127.0.0.1:1/v1")


def round_(number: int, mean: float, gain: float | None, **changed: object) -> RoundRecord:
    """A round of 10 rows; a gain of None = its model is that of the round before."""
    made = RoundRecord(
        round=number,
        rows={"kept": 5, "rectified": 2, "filtered": 2, "duplicate": 1},
        train_rows=7,
        writer=model("w"),
        model=model(f"m{number}"),
        training={"ended": "all epochs were trained"},
        figures=(figure(mean),),
        compared_with="base" if number == 1 else f"round-{number - 1}",
        gains=() if gain is None else (figure(gain),),
        spent=Spent(calls=10, tokens=100, usd=0.25),
    )
    return made.model_copy(update=changed)


def record(*rounds: RoundRecord) -> LoopRecord:
    base = Reference(name="base", model=model("base"), figures=(figure(0.3),))
    return LoopRecord(
        package_version="1", metric="token_f1", asked={"data": "a"}, test_rows=50,
        references=(base,), rounds=rounds,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gains", "why"),
    [
        ([], None),
        ([0.2], None),
        ([0.2, 0.005], None),
        ([0.2, 0.004], f"round 2 gained +0.004 [-0.096, +0.104] {BELOW}"),
        ([-0.1], "round 1 gained -0.100 [-0.200, +0.000] in token F1 over base, less than 0.005"),
        ([0.2, None], f"round 2 gained nothing {BELOW}"),
        ([0.2, 0.2, 0.2], "3 rounds, as asked for"),
    ],
)  # fmt: skip
def test_when_a_loop_ends(gains: list[float | None], why: str | None) -> None:
    """After the first gain below the bound, by its value and not by its interval, or the last."""
    rounds = [round_(n, 0.5, gain) for n, gain in enumerate(gains, 1)]
    assert ended(record(*rounds), LoopSettings(rounds=3)) == why


def test_a_metric_that_says_nothing_does_not_stop() -> None:
    """Where no row has a value there is no gain to hold against the bound."""
    silent = round_(1, 0.5, 0.0, gains=(figure(0.0, metric="json_valid"),))
    assert ended(record(silent), LoopSettings(rounds=2)) is None


def test_the_bound_may_change_later() -> None:
    """What has ended goes on where more rounds or a smaller gain are asked for."""
    loop = record(round_(1, 0.5, 0.01))
    assert ended(loop, LoopSettings(rounds=2, min_gain=0.02)) is not None
    assert ended(loop, LoopSettings(rounds=2, min_gain=0.01)) is None


def test_the_best_round_need_not_be_the_last() -> None:
    """By the mean over the test rows; of equals the first. Its choice is part luck."""
    loop = record(round_(1, 0.6, 0.3), round_(2, 0.4, -0.2), round_(3, 0.6, 0.2))
    assert loop.best is not None
    assert loop.best.round == 1
    assert record().best is None
    (told,) = [line for line in remarks(loop) if line.startswith("best of the rounds: 1")]
    assert told.endswith("in part luck")
    (only,) = [line for line in remarks(record(round_(1, 0.6, 0.3))) if "best" in line]
    assert "luck" not in only  # nothing was chosen


def test_what_is_shown() -> None:
    """Rows by fate, means, gains and spend, whole in a narrow terminal.

    2 filtered rows and a duplicate are 3 dropped.
    """
    console = Console(width=80, record=True, file=StringIO())
    loop = record(round_(1, 0.5, 0.2)).model_copy(update={"ended": "1 round, as asked for"})
    console.print(summary(loop))
    shown = console.export_text()
    lines = shown.splitlines()
    (first,) = [number for number, line in enumerate(lines) if "round-1" in line]
    cells = [[cell.strip() for cell in line[1:-1].split("│")] for line in lines[first:][:4]]
    assert cells[0] == ["round-1", "5 kept", "0.500", "+0.200", "10 calls"]
    assert [cell[1] for cell in cells[1:]] == ["2 rectified", "3 dropped", "7 trained on"]
    assert "round 1 is better beside base" in shown
    assert "50 test rows: an interval so wide" in shown
    assert "spent: 10 calls, 100 tokens, $0.2500" in shown
    assert "ended: 1 round, as asked for" in shown


def test_picture() -> None:
    """A mean of 0.5 is in the middle of its axis; of 10 rows 5 take half the bar."""
    drawn = picture(record(round_(1, 0.5, 0.2)))
    # the axis is from x 110 to 460, the bar from 836 over 200
    assert 'cx="285.0"' in drawn
    assert '<rect x="836.0" y="136.0" width="100.0"' in drawn
    assert "+0.200 [+0.100, +0.300]" in drawn
    assert ">rectified</tspan>" in drawn
    assert ">unscored</tspan>" not in drawn


def test_the_record_is_read_back(tmp_path: Path) -> None:
    """As it was written; one that was edited is named, and none is None."""
    assert read_loop(tmp_path) is None
    loop = record(round_(1, 0.5, 0.2))
    loop.write(tmp_path)
    assert read_loop(tmp_path) == loop
    assert loop.changed({"data": "b", "test": None}) == ["data"]
    (tmp_path / "loop.json").write_text("{}")
    with pytest.raises(DamagedRunError, match=r"loop\.json: is not as it was written"):
        read_loop(tmp_path)
