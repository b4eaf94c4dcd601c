"""The eta of rectify from labelled rows: few good rows damaged, by a bound that holds.

The share of good rows that are damaged never grows with eta. So the smallest eta at which its
upper bound is allowed keeps the promise of that bound, though it was looked for on the same rows
(Bates et al. 2021, risk-controlling prediction sets, arXiv 2101.02703).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from clear_pipeline.calibration.file import read_settings
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.preference import EVEN, FormName
from clear_pipeline.settings import Settings

CERTAINTY: Final = 0.95
"""How surely the true share lies below its upper bound."""
_DIGITS: Final = 1e6
SHOWN_ETAS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

_UNRELATED: Final = frozenset({"eta", "calibration", "max_failed_fraction"})
"""Settings of rectify that change no preference."""

Damage: TypeAlias = Literal["replaced", "wrong"]
"""What counts as damage of a good row: that it is replaced at all, or by a wrong answer."""
Share = Annotated[float, Field(ge=0, le=1)]


class EtaPoint(Settings):
    """What one eta does to the labelled rows.

    Attributes:
        eta: Rows with a preference above it get the candidate.
        damaged: Good rows that would be damaged.
        at_most: Upper 95 % bound of their share among the good rows.
        replaced: Bad rows that would get another response, a right one or not.
    """

    eta: float
    damaged: int
    at_most: float
    replaced: int


@dataclass(frozen=True, slots=True)
class LabelledRepair:
    """A labelled row for which rectify asked.

    Attributes:
        bad: Whether the row is bad.
        preference: Of the candidate, where both orders prefer it; None where nothing would ever
            be replaced.
        damages: Whether the replacement would damage a good row.
    """

    bad: bool
    preference: float | None
    damages: bool


@dataclass(frozen=True, slots=True)
class Fitted:
    """A chosen eta: the point itself and those beside it."""

    chosen: EtaPoint
    others: tuple[EtaPoint, ...]
    good: int
    bad: int


class EtaCalibration(Settings):
    """An eta with what it was chosen on. It holds no text and no id of the dataset."""

    format: Literal[1] = 1
    kind: Literal["eta"] = "eta"
    form: FormName
    eta: Share
    max_damage: float
    """The share of good rows that may be damaged, by its upper 95 % bound."""
    good: int
    bad: int
    damage: Damage
    chosen: EtaPoint
    others: tuple[EtaPoint, ...]
    judge: str
    """Identity of the model that judged."""
    candidate: str
    """Identity of the model that wrote."""
    settings: dict[str, Any]
    """Those of rectify that a preference depends on."""

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        *,
        max_damage: float,
        damage: Damage,
        models: Mapping[str, str],
        settings: Mapping[str, Any],
    ) -> EtaCalibration:
        """What was fitted, with where its verdicts came from.

        Args:
            fitted: By `fit_eta`.
            max_damage: As it was given there.
            damage: What was counted as such.
            models: Identities of those that judged and wrote, by role.
            settings: Of rectify, as JSON.
        """
        return cls(
            form=settings["form"],
            eta=fitted.chosen.eta,
            max_damage=max_damage,
            good=fitted.good,
            bad=fitted.bad,
            damage=damage,
            chosen=fitted.chosen,
            others=fitted.others,
            judge=models.get("judge", ""),
            candidate=models.get("candidate", ""),
            settings={k: value for k, value in settings.items() if k not in _UNRELATED},
        )

    def departures(self, candidate: str, settings: Mapping[str, Any]) -> list[str]:
        """What a run has otherwise than the one that this was fitted on, in words.

        Args:
            candidate: Identity of the model that writes there.
            settings: Of rectify there.
        """
        told = [
            f"calibrated with {name} {self.settings[name]}, not {settings[name]}"
            for name in sorted(self.settings.keys() & settings.keys())
            if self.settings[name] != settings[name]
        ]
        if candidate != self.candidate:
            told.append(f"calibrated on candidates of {self.candidate}, not {candidate}")
        return told

    def save(self, path: Path) -> None:
        """Write it as JSON, durably."""
        write_text_atomically(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> EtaCalibration:
        """Read it back.

        Raises:
            UsageError: There is no such file, or it is none of this version.
        """
        return read_settings(cls, path, command="calibrate RUN --marks FILE --max-damage 0.05")


def fit_eta(rows: Sequence[LabelledRepair], *, max_damage: float) -> Fitted:
    """The smallest eta, from 0.5 on, whose damage is at most `max_damage` by its upper bound.

    Args:
        rows: Good ones and bad ones, drawn as those that it shall hold for.
        max_damage: In (0, 1).

    Raises:
        UsageError: Too few good rows for such a promise even if none were damaged; says how many
            are needed.
    """
    good = [row for row in rows if not row.bad]
    needed = fewest_good(max_damage)
    if len(good) < needed:
        raise UsageError(
            f"{len(good)} good rows with a verdict of rectify: to promise that at most "
            f"{max_damage:g} of the good rows are damaged takes {needed}, none of them damaged; "
            f"label {needed - len(good)} more, or allow more damage"
        )
    allowed = 0
    while at_most(allowed + 1, len(good)) <= max_damage:
        allowed += 1
    harmful = sorted((p for row in good if row.damages and (p := row.preference)), reverse=True)
    eta = EVEN if len(harmful) <= allowed else max(EVEN, _up(harmful[allowed]))
    others = tuple(_point(rows, other) for other in SHOWN_ETAS)
    return Fitted(_point(rows, eta), others, len(good), len(rows) - len(good))


def at_most(found: int, trials: int) -> float:
    """Upper 95 % bound, one-sided, of a share of which `found` of `trials` >= 1 were seen.

    Clopper & Pearson (1934).
    """
    from scipy.stats import beta  # slow to import

    return 1.0 if found >= trials else float(beta.ppf(CERTAINTY, found + 1, trials - found))


def fewest_good(max_damage: float) -> int:
    """How many good rows a promise takes if none of them is damaged."""
    return math.ceil(math.log(1 - CERTAINTY) / math.log(1 - max_damage) - 1e-9)


def _up(value: float) -> float:
    """Six decimals, never below the value: what is not above it must not be above the eta."""
    return min(1.0, math.ceil(value * _DIGITS) / _DIGITS)


def _point(rows: Sequence[LabelledRepair], eta: float) -> EtaPoint:
    taken = [row for row in rows if row.preference is not None and row.preference > eta]
    damaged = sum(not row.bad and row.damages for row in taken)
    good = sum(not row.bad for row in rows)
    replaced = sum(row.bad for row in taken)
    return EtaPoint(eta=eta, damaged=damaged, at_most=at_most(damaged, good), replaced=replaced)
