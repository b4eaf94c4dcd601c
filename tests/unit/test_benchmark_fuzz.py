"""The targets of the fuzzer hold on bytes drawn at random."""

from __future__ import annotations

import random

import pytest

from benchmarks import fuzz_targets
from clear_pipeline.formats import FORMATS


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_target_holds(target: str) -> None:
    """Sixty inputs, the empty one too: no crash, no row lost."""
    draw = random.Random(7)
    for length in [0, *(draw.randrange(1, 300) for _ in range(60))]:
        fuzz_targets.TARGETS[target](draw.randbytes(length))


def test_half_of_the_drawn_rows_are_usable() -> None:
    """Else the targets of rows would look at refusals alone."""
    draw = random.Random(3)
    rows = [fuzz_targets._record(draw.randbytes(120)) for _ in range(100)]
    used = [row and any(fuzz_targets._example(row, name) for name in FORMATS) for row in rows]
    assert sum(map(bool, used)) > 50
