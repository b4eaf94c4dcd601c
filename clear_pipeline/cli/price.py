"""What a training may cost: options, and the question before it begins."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from clear_pipeline.cli.options import MaxUsd, Yes
from clear_pipeline.errors import UsageError
from clear_pipeline.finetune import Price
from clear_pipeline.finetune.price import hold, told


@dataclass(frozen=True, kw_only=True)
class PriceOptions:
    """Whether a training that costs something may begin."""

    yes: Yes = False
    max_usd: MaxUsd = None

    def agree(self, price: Price) -> None:
        """Hold a price against the cap, then ask.

        Raises:
            BudgetExceededError: It is above the cap.
            UsageError: It is not known and there is a cap, or there is nobody to ask.
        """
        if price.usd == 0:
            return
        hold(price, cap=self.max_usd)
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{told(price)} Add --yes to start it without a terminal")
        typer.confirm(f"{told(price)} Start it?", abort=True)
