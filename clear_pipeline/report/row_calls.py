"""What the model calls about one row took: tokens by step, and their price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from clear_pipeline.config import EMBEDDER, Config
from clear_pipeline.errors import ConfigError
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.pricing import cost, prices
from clear_pipeline.llm.settings import Prices
from clear_pipeline.report.words import USAGE_COLUMNS
from clear_pipeline.run import Run
from clear_pipeline.stages.usage import TOKENS
from clear_pipeline.store import CONFIG

_ASKED: Final[Mapping[str, tuple[str, str]]] = {
    "embed_usage": ("embedding", EMBEDDER),
    **{column: (part, "scorer") for column, part in USAGE_COLUMNS.items()},
    "cascade_cost": ("cascade", "scorer"),
    "second_usage": ("second opinion", "second"),
    "candidate_usage": ("candidate", "candidate"),
    "judge_usage": ("verdicts", "judge"),
}
"""Ledger columns of `stages.usage.USAGE`: what was asked, and the role of the model that was."""


@dataclass(frozen=True, slots=True)
class StepCalls:
    """The calls of one step about one row.

    Attributes:
        step: `embedding`, `reflection`, `consistency`, `likelihood`, `cascade`, `second opinion`,
            `candidate` or `verdicts`.
        calls: Questions asked; None in a ledger from before they were counted.
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
    """The steps that asked about a row, each at the prices of the model that it asked.

    Args:
        run: A finished run.
        row: A line of its ledger.
    """
    config = config_of(run)
    by_batch = config is not None and config.mode == "batch"
    return tuple(
        _step(step, used, role_prices(run, config, role), by_batch=by_batch)
        for column, (step, role) in _ASKED.items()
        if (used := row.get(column)) is not None
    )


def config_of(run: Run) -> Config | None:
    """The config of a run; None where it was edited and cannot be read any more."""
    try:
        text = (run.path / CONFIG).read_text(encoding="utf-8")
        return Config.model_validate(yaml.safe_load(text))
    except (OSError, yaml.YAMLError, ValueError):
        return None  # that takes the prices away, and nothing else


def role_prices(run: Run, config: Config | None, role: str) -> Prices | None:
    """Of the model that served a role; None where no price is known.

    Args:
        run: Its manifest tells which model that was.
        config: What `config_of` reads of it. It has no price of a ready model that was given in
            Python, whatever model it names for the role.
        role: `embedder`, `scorer`, `second`, `candidate` or `judge`.
    """
    used = run.manifest.models.get(role)
    if config is None or used is None:
        return None
    try:
        settings = config.model_for(role)
    except ConfigError:  # none is named
        return None
    identity = model_identity(settings, embeds=role == EMBEDDER)
    return prices(settings) if used.identity == identity else None


def _step(step: str, used: Mapping[str, int], known: Prices | None, *, by_batch: bool) -> StepCalls:
    tokens = {name: used[name] for name in TOKENS}
    usd = None if known is None else cost(Usage(**tokens), known, batch=by_batch)
    return StepCalls(step, used.get("calls"), **tokens, usd=usd)
