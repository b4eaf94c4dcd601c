"""General rows beside a training's own, so that what a model could do is not forgotten: settings.

A small part of general rows among those that are trained on keeps most of what fine-tuning would
undo (Scialom et al. 2022, arXiv 2205.12393). Whether it did is measured on general rows that are
never trained on, see `general`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field, field_validator

from clear_pipeline.settings import Settings


class Source(Settings):
    """Data that general rows are drawn from."""

    data: str
    """File or directory of any format, or an address elsewhere."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Its part of the drawn rows, beside the weights of the other sources."""


class Mix(Settings):
    """General rows that are trained on beside a training's own."""

    data: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Where they are drawn from: a path, or several, each with a weight or without."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Their part of all training rows."""
    seed: int = 0
    """Of the draw."""

    @field_validator("data", mode="before")
    @classmethod
    def _paths_are_sources(cls, given: Any) -> Any:  # noqa: ANN401 -- whatever YAML holds
        listed = given if isinstance(given, list | tuple) else [given]
        return [{"data": each} if isinstance(each, str) else each for each in listed]


class Balance(Settings):
    """What keeps a training from being about its own rows alone."""

    mix: Mix | None = None
    """General rows that are trained on; None = none."""
    general: str | None = None
    """General rows, of any format, that the model is measured on before and after; None = those
    that are held out of `mix`, if there is one."""

    def places(self) -> tuple[str, ...]:
        """Where its rows lie."""
        drawn = () if self.mix is None else tuple(source.data for source in self.mix.data)
        return drawn if self.general is None else (*drawn, self.general)


class Drawn(Settings):
    """What was drawn from one source."""

    digest: str
    """SHA-256 of what its usable rows say."""
    weight: float
    rows: int


class Replay(Settings):
    """The general rows of a training file: how they were drawn, and how many there are."""

    share: float
    """Their part of all rows that was asked for."""
    seed: int
    own: int
    """Rows of the training's own, which stand first."""
    first_line: int
    """Where in the file the first general row stands."""
    sources: tuple[Drawn, ...]

    @property
    def rows(self) -> int:
        """How many were drawn."""
        return sum(source.rows for source in self.sources)

    def shown(self) -> str:
        """For people, as in "4 of 20 rows (20.0 %)"."""
        whole = self.own + self.rows
        return f"{self.rows:,} of {whole:,} rows ({self.rows / whole:.1%})".replace("%", " %")


def replayed_rows(own: int, share: float) -> int:
    """How many rows make, as nearly as may be, such a share of all, beside `own` others.

    Returns:
        At least 1; a half is rounded up.
    """
    part = Fraction(str(share))
    return max(1, math.floor(own * part / (1 - part) + Fraction(1, 2)))


def apportioned(count: int, weights: Sequence[float]) -> list[int]:
    """`count` in whole parts by weight, the largest remainders rounded up; ties go to the first."""
    whole = sum(map(Fraction, weights))
    exact = [count * Fraction(weight) / whole for weight in weights]
    parts = [math.floor(each) for each in exact]
    by_rest = sorted(range(len(parts)), key=lambda at: parts[at] - exact[at])
    for at in by_rest[: count - sum(parts)]:
        parts[at] += 1
    return parts
