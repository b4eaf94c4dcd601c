"""When a loop ends: after a round that gained too little, or after the last one."""

from __future__ import annotations

from clear_pipeline.evaluate.models.metrics import LABELS
from clear_pipeline.evaluate.models.report import figure_of
from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.llm.budget import count_of
from clear_pipeline.loop.record import LoopRecord, RoundRecord
from clear_pipeline.loop.settings import LoopSettings

NO_DIFFERENCE = Estimate(0.0, 0.0, 0.0)
"""Of a model from itself."""


def gain_of(done: RoundRecord, metric: str) -> Estimate | None:
    """What a round gained over the one before; None where the metric says nothing of any row."""
    if not done.gains:
        return NO_DIFFERENCE
    figure = figure_of(done.gains, metric)
    return None if figure is None else figure.value


def ended(record: LoopRecord, settings: LoopSettings) -> str | None:
    """Why no further round is begun; None if one is.

    The interval is told and decides nothing: with few test rows it holds 0 for every gain that a
    round could bring, and the loop would never go on.
    """
    for done in record.rounds:
        gain = gain_of(done, settings.metric)
        if gain is not None and gain.value < settings.min_gain:
            shown = "nothing" if gain is NO_DIFFERENCE else gain.shown(signed=True)
            return (
                f"round {done.round} gained {shown} in {LABELS[settings.metric]} over "
                f"{done.compared_with}, less than {settings.min_gain:g}"
            )
    if len(record.rounds) >= settings.rounds:
        return f"{count_of(len(record.rounds), 'round')}, as asked for"
    return None
