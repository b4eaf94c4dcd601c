"""What a loop has spent: the sums of the records of its runs and evaluations, and its trainings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clear_pipeline.finetune import read_trained
from clear_pipeline.llm.batch.record import read_totals
from clear_pipeline.llm.meter import Totals
from clear_pipeline.llm.spend_file import read_spend
from clear_pipeline.loop.record import Spent
from clear_pipeline.store import BATCHES, SPEND

PRICE: Final = "usd"
"""Under which name a training that was paid for tells its price in its figures."""


def spent_in(round_: Path) -> Totals:
    """In one round, whatever of it has been done."""
    asked = sum(map(_asked, _folders(round_)), Totals())
    return sum(map(_trained, _folders(round_)), asked)


def spent_beside(loop: Path, directory: Path) -> Totals:
    """In all of a loop but one directory of it, which has a record of its own.

    Args:
        loop: Its directory.
        directory: Of a run or an evaluation.
    """
    rounds = [path for path in loop.glob("round-*") if path.is_dir()]
    folders = [folder for path in rounds for folder in _folders(path)]
    others = [folder for folder in folders if folder != directory]
    return sum((*map(_asked, others), *map(_trained, folders)), Totals())


def as_spent(totals: Totals) -> Spent:
    """For a record."""
    amount = totals.spent
    return Spent(calls=amount.calls, tokens=amount.tokens, usd=amount.usd)


def _folders(round_: Path) -> Iterator[Path]:
    yield from sorted(path for path in round_.iterdir() if path.is_dir())


def _asked(folder: Path) -> Totals:
    """What models were asked for in a folder, batches included."""
    live, batches = read_spend(folder / SPEND), read_totals(folder / BATCHES)
    return sum((*(live or {}).values(), *(batches or {}).values()), Totals())


def _trained(folder: Path) -> Totals:
    """The price of the training in a folder, if it is over."""
    done = read_trained(folder)
    price = None if done is None else done.summary.get(PRICE)
    return Totals() if price is None else Totals(usd=float(price))
