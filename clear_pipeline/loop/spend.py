"""What a loop has spent: the sums of the records of its runs and evaluations, and its trainings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import DamagedRunError
from clear_pipeline.finetune import read_trained
from clear_pipeline.llm.batch.record import read_totals
from clear_pipeline.llm.meter import Totals
from clear_pipeline.llm.spend_file import read_spend
from clear_pipeline.loop.record import Spent
from clear_pipeline.store import BATCHES, SPEND

PRICE: Final = "usd"
"""Under which name a training that was paid for tells its price in its figures."""


AGREED: Final = "trainings.json"
"""The prices that trainings were begun at: a list of folders and dollars, in order."""
_ENTRIES: Final = TypeAdapter(list[tuple[str, float]])


def agreed_to(folder: Path, usd: float, *, lost: bool) -> None:
    """Enter the price of a training before it is begun; on return it survives a power cut.

    Args:
        folder: Of the training, in the folder of a round.
        usd: Its price.
        lost: Whether the last one there came to nothing and may have been billed: this one is
            another. Else it is the same, and its price stands for the last one's.
    """
    path = folder.parent.parent / AGREED
    name, entries = _named(folder), _agreed(path)
    own = [at for at, entry in enumerate(entries) if entry[0] == name]
    if own and not lost:
        del entries[own[-1]]
    write_text_atomically(path, json.dumps([*entries, (name, usd)], indent=1) + "\n")


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


def spent_before(loop: Path, folder: Path, *, lost: bool) -> Totals:
    """In all of a loop before a training is begun, or begun again.

    Args:
        loop: Its directory.
        folder: Of the training.
        lost: As of `agreed_to`: else the price at which it was begun last is that of this one.
    """
    rounds = [path for path in loop.glob("round-*") if path.is_dir()]
    others = [path for round_ in rounds for path in _folders(round_) if path != folder]
    prices = _prices(folder)
    earlier = sum(prices if lost else prices[:-1])
    return sum((*map(_asked, others), *map(_trained, others)), Totals(usd=earlier))


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
    """The price of the trainings in a folder.

    The last one counts as it was billed, if that is known. Any other, such as one that failed,
    counts at the price at which it was begun, since nobody knows what was billed.
    """
    done = read_trained(folder)
    billed = None if done is None else done.summary.get(PRICE)
    *before, last = _prices(folder) or [0.0]
    usd = sum(before) + (last if billed is None else float(billed))
    return Totals(usd=usd) if usd else Totals()


def _prices(folder: Path) -> list[float]:
    """At which trainings in a folder were begun, in order."""
    entries = _agreed(folder.parent.parent / AGREED)
    return [usd for name, usd in entries if name == _named(folder)]


def _agreed(path: Path) -> list[tuple[str, float]]:
    """The entries of a file, which need not be there.

    Raises:
        DamagedRunError: It is not as it was written.
    """
    try:
        return _ENTRIES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise DamagedRunError(
            f"{path}: is not as it was written ({error.error_count()} faults); restore it: a list "
            'of ["round-N/FOLDER", DOLLARS] for every training that was begun at a price'
        ) from error


def _named(folder: Path) -> str:
    """A training in the folder of its loop."""
    return f"{folder.parent.name}/{folder.name}"
