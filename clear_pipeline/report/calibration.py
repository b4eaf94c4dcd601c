"""What a calibration is worth, in lines for the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from clear_pipeline.calibration import Calibration
from clear_pipeline.calibration.file import CorruptionFit, MarksFit
from clear_pipeline.calibration.reliability import Interval, Reliability
from clear_pipeline.run import Run


class Figure(NamedTuple):
    """A figure by name, ready to print, and what it means."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class CalibrationShown:
    """A calibration as the report shows it.

    Attributes:
        kind: As in the file: `ranking-only` or `probability`.
        says: What its values mean and what it was fitted on, in a sentence.
        figures: How good it is.
        reliability: Predicted against found; None for a ranking.
    """

    kind: str
    says: str
    figures: tuple[Figure, ...]
    reliability: Reliability | None = None


def calibration_of(run: Run) -> Calibration | None:
    """The calibration that the run used, None without one."""
    record = run.manifest.stage("calibrate")
    if record is None or "calibrate" not in run.manifest.chain:
        return None
    return Calibration.model_validate(record.settings["file"])


def shown(file: Calibration) -> CalibrationShown:
    """A calibration in words and figures."""
    fitted_for = (*_turned(file.turned), *_scorer(file))
    if file.marks is not None:
        marks = file.marks
        says = (
            f"P(bad), fitted on marks that people made of {marks.good + marks.bad:,} rows. The "
            "figures are on marks that the fit did not see."
        )
        figures = (*marks_figures(marks), *fitted_for)
        return CalibrationShown(file.kind, says, figures, marks.reliability)
    corruptions = file.corruptions
    if corruptions is None:  # the file's own check forbids it
        raise ValueError("a calibration has marks or corruptions")
    says = (
        f"ranking-only: an order of rows, no probability. Fitted on {corruptions.originals:,} "
        f"original rows and {corruptions.corrupted:,} planted corruptions of them."
    )
    return CalibrationShown(file.kind, says, (*_ranking_figures(corruptions), *fitted_for))


def marks_figures(marks: MarksFit) -> tuple[Figure, ...]:
    """What probabilities from marks are worth."""
    found = marks.reliability
    return (
        Figure("marks", f"{marks.good} good, {marks.bad} bad", ""),
        Figure("model", marks.chosen, f"the best of {len(marks.candidates)} by log loss"),
        Figure("Brier score", f"{found.brier:.3f}", "mean squared error; 0 is best"),
        Figure("Brier skill", _interval(found.skill), "above 0: better than the base rate alone"),
        Figure("slope", f"{found.slope:.2f}", "1 is right; less is overconfident"),
        Figure("intercept", f"{found.intercept:+.2f}", "0 is right; more means more bad rows"),
        Figure("ECE", f"{found.ece:.3f}", "mean gap between predicted and found"),
        Figure(
            "noise rate", _interval(marks.noise_rate), f"share of bad among {marks.rows:,} rows"
        ),
    )


def _ranking_figures(fit: CorruptionFit) -> Iterator[Figure]:
    used = [c.corruption for c in fit.corruptions if c.used]
    left_out = [c.corruption for c in fit.corruptions if not c.used]
    yield Figure("corruptions", ", ".join(used), "planted, and told from their originals")
    if left_out:
        yield Figure("left out", ", ".join(left_out), "the fit has seen nothing of them")
    yield Figure("AUROC", f"{fit.auroc:.3f}", "on rows held out of the fit; 0.5 is chance")


def _turned(signals: tuple[str, ...]) -> Iterator[Figure]:
    yield Figure(
        "turned", ", ".join(signals) or "none", "signals that were upside down, and weigh negative"
    )


def _scorer(file: Calibration) -> Iterator[Figure]:
    if file.scored_by is not None:
        preset = f", preset {file.scored_by.preset}" if file.scored_by.preset else ""
        yield Figure("fitted for", f"{file.scored_by.model}{preset}", "it holds for no other model")


def _interval(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
