"""Texts that stand twice are found in the order in which they came."""

from __future__ import annotations

import pyarrow as pa

from clear_pipeline.repeats import Repeats


def test_repeats_are_numbered_in_order_and_found_again() -> None:
    """Each later copy counts; its number leads to the part that it came with."""
    repeats = Repeats()
    for texts in (["b", "a"], [], ["c", "a", "b", "a"]):
        repeats.add(pa.array(texts, pa.string()))

    assert repeats.found().tolist() == [3, 4, 5]
    assert [repeats.place(number) for number in (0, 1, 2, 3, 5)] == [
        (0, 0),
        (0, 1),
        (2, 0),
        (2, 1),
        (2, 3),
    ]


def test_nothing_repeats_in_nothing() -> None:
    """Without texts there is none that stands twice."""
    assert Repeats().found().size == 0
