"""What a training may cost: options, and the question before it begins."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from clear_pipeline.cli.options import MaxUsd, Yes
from clear_pipeline.errors import BudgetExceededError, UsageError
from clear_pipeline.finetune import Price
from clear_pipeline.llm.caps import cap_shown


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
        dollars = "an unknown sum" if price.usd is None else f"about ${price.usd:,.2f}"
        tokens = "" if price.tokens is None else f" for {price.tokens:,} tokens"
        told = f"This training costs {dollars}{tokens}, by {price.basis}."
        if self.max_usd is not None:
            self._hold(price.usd, told, cap=self.max_usd)
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{told} Add --yes to start it without a terminal")
        typer.confirm(f"{told} Start it?", abort=True)

    def _hold(self, usd: float | None, told: str, *, cap: float) -> None:
        if usd is None:
            raise UsageError(f"{told} --max-usd needs a price that is known")
        if usd > cap:
            error = BudgetExceededError(
                f"{told} That is more than {cap_shown('max_usd', cap)}, the cap",
                cap="max_usd",
                limit=cap,
                needed=usd,
            )
            error.estimated = usd
            raise error
