"""Parts that some rows lack: draws are taken of answers that are values, likelihoods of text.

Such a part is kept. Where it is missing it counts as its mean, and where enough rows have it and
enough have not, that it is missing is a signal of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from clear_pipeline.calibration.features import Feature, standard
from clear_pipeline.scoring.parts import F64

ENOUGH: Final = 10
"""Rows that must have a part, and rows that must lack it before its absence is weighed."""


def known(parts: Mapping[str, F64]) -> list[str]:
    """Names of the parts that enough rows have, in order: `ENOUGH`, or all if there are fewer."""
    return [
        name
        for name, values in sorted(parts.items())
        if len(values) and np.isfinite(values).sum() >= min(ENOUGH, len(values))
    ]


def gaps(names: Iterable[str], parts: Mapping[str, F64]) -> list[str]:
    """Those of the named parts whose absence can be weighed; of parts with the same gaps, one."""
    found: dict[bytes, str] = {}
    for name in names:
        missing = np.isnan(parts[name])
        if min(missing.sum(), (~missing).sum()) >= ENOUGH:
            found.setdefault(missing.tobytes(), name)
    return list(found.values())


def features_of(
    names: Sequence[str], parts: Mapping[str, F64], *, gaps: Iterable[str]
) -> tuple[Feature, ...]:
    """The features of these parts, then one for the absence of each of `gaps`; all of weight 1."""
    values = (standard(name, parts[name]) for name in names)
    absences = (standard(name, parts[name], transform="missing") for name in gaps)
    return (*values, *absences)


def remarks_on_missing(features: Sequence[Feature], parts: Mapping[str, F64]) -> Iterator[str]:
    """What became of the parts that some of these rows lack, but not all, in words."""
    weighed = {f.name for f in features if f.transform != "missing"}
    absences = {np.isnan(parts[f.name]).tobytes() for f in features if f.transform == "missing"}
    for name, values in sorted(parts.items()):
        missing = np.isnan(values)
        lack, rows = int(missing.sum()), len(values)
        if name in weighed and lack:
            too = ", and that it is missing is weighed too" if missing.tobytes() in absences else ""
            yield f"{name} is missing in {lack} of {rows} rows: there it counts as its mean{too}"
        elif 0 < rows - lack < min(ENOUGH, rows):
            yield f"{name} is left out: only {rows - lack} of {rows} rows have it"
