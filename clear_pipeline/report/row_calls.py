"""What the model calls about one row took: tokens by step, and their price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from clear_pipeline.config import Config
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.pricing import cost, prices
from clear_pipeline.llm.settings import Prices
from clear_pipeline.report.words import USAGE_COLUMNS
from clear_pipeline.run import Run
from clear_pipeline.store import CONFIG

_COLUMNS: Final = {**USAGE_COLUMNS, "cascade_cost": "cascade"}


@dataclass(frozen=True, slots=True)
class StepCalls:
    """The calls of one step about one row.

    Attributes:
        step: `reflection`, `consistency`, `likelihood` or `cascade`.
        calls: Questions asked; None where the step counts tokens alone.
        prompt: Tokens sent, those that the server had cached included.
        cached: Tokens among them that the server had cached.
        completion: Tokens generated.
        usd: Their price; None where no price is known.
    """

    step: str
    calls: int | None
    prompt: int
    cached: int
    completion: int
    usd: float | None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def row_calls(run: Run, row: Mapping[str, Any]) -> tuple[StepCalls, ...]:
    """The steps that asked about a row, from the ledger's columns of tokens.

    Args:
        run: A finished run.
        row: A line of its ledger.
    """
    known = scorer_prices(run)
    return tuple(
        _step(step, used, known)
        for column, step in _COLUMNS.items()
        if (used := row.get(column)) is not None
    )


def scorer_prices(run: Run) -> Prices | None:
    """Of the scorer that this run's config names; None where no price is known."""
    try:
        text = (run.path / CONFIG).read_text(encoding="utf-8")
        scorer = Config.model_validate(yaml.safe_load(text)).models.get("scorer")
    except (OSError, yaml.YAMLError, ValueError):
        return None  # an edited file takes the price away, and nothing else
    return None if scorer is None else prices(scorer)


def _step(step: str, used: Mapping[str, int], known: Prices | None) -> StepCalls:
    usage = Usage(prompt=used["prompt"], cached=used["cached"], completion=used["completion"])
    usd = None if known is None else cost(usage, known)
    return StepCalls(step, used.get("calls"), usage.prompt, usage.cached, usage.completion, usd)
