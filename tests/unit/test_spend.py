"""The record of what was spent: bounds and bills that add up, over kills and resumes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clear_pipeline.errors import DamagedRunError
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.meter import Amount, Meter, Totals, nanodollars
from clear_pipeline.llm.settings import BudgetSettings, Prices
from clear_pipeline.llm.spend import Reservation, Spend, most_nanodollars
from clear_pipeline.llm.spend_file import SpendFile, read_spend

PRICES = Prices(input=2.0, cached=0.5, cache_write=2.5, output=8.0)
TEN = Usage(prompt=8, completion=2)
"""Ten tokens: 8 x 2.5 (the dearest kind of prompt) + 2 x 8 dollars per million at most."""


def test_a_prompt_may_be_of_the_dearest_kind() -> None:
    """8 x 2,500 + 2 x 8,000 billionths; without a price for writing, fresh tokens are dearest."""
    assert most_nanodollars(TEN, PRICES) == 8 * 2_500 + 2 * 8_000
    assert most_nanodollars(TEN, Prices(input=2.0, cached=0.5, output=8.0)) == 32_000
    assert most_nanodollars(TEN, Prices(input=1.0, cached=3.0, output=8.0)) == 40_000


def test_billionths_are_rounded_up() -> None:
    """Never below the price, and not above it for the sake of a float."""
    assert nanodollars(0.1 + 0.2) == 300_000_000
    assert nanodollars(1.2e-9) == 2
    assert nanodollars(0.0) == 0


def test_totals_of_older_manifests_have_nothing_unaccounted() -> None:
    """The count is new; with it, totals survive JSON."""
    totals = Totals(requests=3, unaccounted=Amount(1, 20, 30))
    stored = totals.to_json()
    assert stored["unaccounted"] == {"calls": 1, "tokens": 20, "usd": 3e-8}
    assert Totals.from_json(stored) == totals
    del stored["unaccounted"]
    assert Totals.from_json(stored) == Totals(requests=3)


def spend_of(path: Path, *work: Callable[[Spend, Reservation], object]) -> None:
    """One entered request per step, left as a killed process leaves it."""
    spend = SpendFile(path, earlier={})
    for step in work:
        reservation = Reservation("m", TEN, PRICES)
        spend.enter([reservation])
        step(spend, reservation)
    killed = path.with_name("killed")
    killed.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, killed)
    spend.close()


def test_what_a_killed_process_left_open_counts_at_its_bound(tmp_path: Path) -> None:
    """Settled as billed, given up and open at most, withdrawn not at all; also for a reader."""
    spend_of(
        tmp_path / "s",
        lambda spend, it: spend.settle(it, Usage(prompt=4, cached=1, completion=1)),
        lambda spend, it: spend.give_up(it),
        lambda spend, it: spend.withdraw(it),
        lambda spend, it: None,
    )
    expected = Totals(
        requests=3,
        usage=Usage(prompt=4, cached=1, completion=1),
        usd=14_500 / 1e9,  # 3 x 2 + 0.5 + 8 millionths
        unaccounted=Amount(2, 20, 72_000),
    )
    killed = tmp_path / "killed" / "s"
    assert read_spend(killed) == {"m": expected}
    for _ in range(2):
        again = SpendFile(killed, earlier={"m": Totals(requests=99)})
        assert again.totals() == {"m": expected}
        assert again.committed == again.spent == Amount(3, 25, 14_500 + 72_000)
        again.close()
    assert not list(killed.parent.glob("s-*"))  # one file, readable on any disk


@pytest.mark.parametrize(("prices", "usd"), [(PRICES, 0.0), (None, None)])
def test_a_known_price_is_known_before_the_first_bill(
    tmp_path: Path, prices: Prices | None, usd: float | None
) -> None:
    """Where every request is open or given up nothing was billed; without a price, who knows."""
    spend = SpendFile(tmp_path / "s", earlier={})
    given_up, in_flight = (Reservation("m", TEN, prices) for _ in range(2))
    spend.enter([given_up, in_flight])
    spend.give_up(given_up)
    assert spend.totals()["m"].usd == usd
    told = read_spend(tmp_path / "s")
    assert told is not None
    assert (told["m"].requests, told["m"].usd) == (2, usd)
    spend.close()
    again = SpendFile(tmp_path / "new", earlier=told)
    assert again.totals() == told
    again.close()


def test_a_run_from_before_the_record_keeps_its_sums(tmp_path: Path) -> None:
    """What its manifest knows is entered once, unaccounted requests as such."""
    earlier = {"m": Totals(requests=7, usage=Usage(prompt=50, completion=5), usd=0.25,
                           unaccounted=Amount(2, 30, 1_000))}  # fmt: skip
    for _ in range(2):
        spend = SpendFile(tmp_path / "s", earlier=earlier)
        assert spend.totals() == earlier
        assert spend.spent == Amount(7, 85, 250_001_000)
        spend.close()


def test_a_price_that_becomes_known_holds_for_earlier_calls(tmp_path: Path) -> None:
    """A cap in dollars that comes later counts what was spent before it."""
    spend = SpendFile(tmp_path / "s", earlier={"old": Totals(requests=1, usage=TEN)})
    for step in (lambda it: spend.settle(it, TEN), spend.give_up):
        reservation = Reservation("m", TEN, None)
        spend.enter([reservation])
        step(reservation)
    assert spend.totals()["m"].usd is None
    Budget(BudgetSettings(max_usd=1.0), spend).account("m", PRICES, Meter())
    assert spend.totals()["m"].usd == pytest.approx(32e-6)
    assert spend.totals()["m"].unaccounted == Amount(1, 10, 36_000)
    assert spend.totals()["old"].usd is None
    spend.close()


@pytest.mark.parametrize(("output", "usd"), [(4.0, 4.0), (0.0, 1.0)])
def test_lost_tokens_of_an_older_manifest_count_as_the_dearer_kind(
    tmp_path: Path, output: float, usd: float
) -> None:
    """A million of them, prompt at 1 dollar or completion at 4: at most 4; embeddings: 1."""
    lost = Amount(1, 1_000_000, 0)
    spend = SpendFile(tmp_path / "s", earlier={"m": Totals(requests=1, unaccounted=lost)})
    assert spend.totals()["m"].unaccounted == lost
    prices = Prices(input=1.0, output=output)
    Budget(BudgetSettings(max_usd=9.0), spend).account("m", prices, Meter())
    assert spend.totals()["m"].unaccounted == Amount(1, 1_000_000, nanodollars(usd))
    spend.close()


def test_a_file_that_is_no_record_is_told(tmp_path: Path) -> None:
    """With its path and a way on, which leaves no log behind that SQLite would read as its own."""
    (tmp_path / "s").write_text("no database, but long enough to be read as one" * 9)
    for use in (lambda: SpendFile(tmp_path / "s", earlier={}), lambda: read_spend(tmp_path / "s")):
        with pytest.raises(DamagedRunError, match=r"move its -wal and -shm away.*manifest\.json"):
            use()


def test_a_bill_that_was_not_written_down_leaves_its_request_at_its_bound(tmp_path: Path) -> None:
    """A kill before the flush counts 8 + 2 tokens as unaccounted; one after it the 4 + 1 billed."""
    spend = SpendFile(tmp_path / "spend.sqlite", earlier={})
    request = Reservation("m", Usage(prompt=8, completion=2), None)
    spend.enter([request])
    spend.settle(request, Usage(prompt=4, completion=1))
    assert spend.spent.tokens == 5
    for moment, tokens, lost in (("before", 10, 1), ("after", 5, 0)):
        killed = tmp_path / moment
        killed.mkdir()
        for file in tmp_path.glob("spend.sqlite*"):
            shutil.copy(file, killed)
        again = SpendFile(killed / "spend.sqlite", earlier={})
        assert (again.spent.tokens, again.unaccounted.calls) == (tokens, lost)
        again.close()
        spend.flush()
    spend.close()
