"""How well the scores of a run find the rows that people marked as bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa

from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.cascades import CascadeEffect, cascade_effect
from clear_pipeline.evaluate.labels import Labels
from clear_pipeline.evaluate.matching import Match, Matched, match
from clear_pipeline.evaluate.statistics import F64, Detection, Flags, detection
from clear_pipeline.ledger import LEDGER
from clear_pipeline.report.calibration import calibration_of
from clear_pipeline.run import Run
from clear_pipeline.schema import JSON
from clear_pipeline.scoring.parts import numbers, parts
from clear_pipeline.scoring.similarity import words
from clear_pipeline.stages.confidence import REFINED

HIGH_IS_BAD: Final = ("disagreement",)
"""Columns in [0, 1] in which a high value tells of a bad row: 1 - value is measured."""


@dataclass(frozen=True, slots=True)
class NamedDetection:
    """One score, or a trivial baseline, on the rows for which it has a value."""

    name: str
    detection: Detection

    @property
    def best_direction(self) -> float:
        """AUROC if one could know which end is bad, in [0.5, 1]. Fair to a baseline only."""
        auroc = self.detection.auroc.value
        return max(auroc, 1 - auroc)


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Detection of bad rows by a run's scores.

    Attributes:
        scores: The chosen score first, then the others and the parts that have a value on bad
            and on good rows.
        baselines: `response_length` (characters) and `prompt_overlap` (share of the response's
            distinct words that stand in the prompt) on the rows that have the chosen score.
        matched_by: Which column of the run the labels' ids belong to.
        unscored: Ids of labelled rows without a confidence: duplicates, unscored, quarantined.
        unmatched: Labels whose id is in no row of the run.
        ambiguous: Labels whose id several rows of the run have; left out.
        left_out: Rows of the labels file without a label, or excluded by the filter.
        unreadable: Rows of the labels file that could not be parsed.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        weighted: Whether the labels say how many rows each stands for.
        fitted_on: Labelled rows that the run's calibration was fitted on, so that the figures of
            `calibrated` and `p_good_low` may be too good; None where the file does not say of
            which rows its marks were.
        cascade: What the draws of the run's cascade did; None without one.
    """

    scores: tuple[NamedDetection, ...]
    baselines: tuple[NamedDetection, ...]
    matched_by: Matched
    unscored: tuple[str, ...]
    unmatched: int
    ambiguous: int
    left_out: int
    unreadable: int
    resamples: int
    seed: int
    weighted: bool
    fitted_on: int | None
    cascade: CascadeEffect | None

    def to_json(self) -> JSON:
        """All figures as plain values; each entry of scores and baselines has `best_direction`."""
        plain = asdict(self)
        for kind in ("scores", "baselines"):
            for entry, named in zip(plain[kind], getattr(self, kind), strict=True):
                entry["best_direction"] = named.best_direction
        return plain


def evaluate_scores(
    run: Run, labels: Labels, *, score: str | None = None, resamples: int = 1000, seed: int = 0
) -> ScoreReport:
    """Measure how well a score, and beside it every other, finds the rows marked as bad.

    The labels' ids are taken for source ids or for row ids, whichever matches more of them
    (source ids in a tie).

    Args:
        run: A finished run that scored its rows.
        labels: From `read_labels`.
        score: The score to put first: `confidence`, `calibrated`, a part such as
            `reflection.yes_no`; None = the most refined one that the run has.
        resamples: Bootstrap resamples per figure.
        seed: Of the bootstrap.

    Raises:
        UsageError: The run has no such score, no label matches a row, no matched row has the
            score, or all of these are good or all are bad.
    """
    ledger = run.ledger()
    found = match(ledger, labels)
    rows, bad, weight = _labelled(ledger, found)
    values = _scores(rows)
    chosen = score or next((name for name in REFINED if name in values), "confidence")
    if chosen not in values:
        raise UsageError(f"{run.path}: no score {chosen!r}; there are {', '.join(values)}")
    scored = np.isfinite(values[chosen])
    _check_classes(bad[scored], rows.num_rows)
    ids = np.array(rows["id"].to_pylist(), object)
    measure = partial(_measure, resamples=resamples, seed=seed)
    return ScoreReport(
        scores=measure({chosen: values[chosen]} | values, bad, weight),
        baselines=measure(_baselines(run, ids[scored].tolist()), bad[scored], weight[scored]),
        weighted=bool(labels.weights),
        fitted_on=_fitted_on(run, ids.tolist()),
        cascade=cascade_effect(run, dict(zip(ids, bad.tolist(), strict=True)), resamples=resamples),
        matched_by=found.column,
        unscored=tuple(ids[~scored].tolist()),
        unmatched=len(found.labels.bad) - rows.num_rows - len(found.ambiguous),
        ambiguous=len(found.ambiguous),
        left_out=len(labels.unlabelled) + labels.excluded,
        unreadable=len(labels.unreadable),
        resamples=resamples,
        seed=seed,
    )


def _labelled(ledger: pa.Table, found: Match) -> tuple[pa.Table, Flags, F64]:
    """The rows that have one label, whether each is bad, and how many rows it stands for."""
    labels, left_out = found.labels, {*found.unknown, *found.ambiguous}
    names = ledger[found.column].to_pylist()
    rows = ledger.filter(pa.array([i in labels.bad and i not in left_out for i in names]))
    names = rows[found.column].to_pylist()
    bad = np.array([labels.bad[i] for i in names], bool)
    return rows, bad, np.array([labels.weights.get(i, 1.0) for i in names])


def _baselines(run: Run, ids: Sequence[str]) -> dict[str, F64]:
    """What a score must beat, from the texts of these rows alone."""
    texts = run.texts(ids)
    pairs = [(texts[i].prompt, texts[i].response) for i in ids]
    return {
        "response_length": np.array([len(response) for _, response in pairs], np.float64),
        "prompt_overlap": np.array([prompt_overlap(*pair) for pair in pairs], np.float64),
    }


def _fitted_on(run: Run, ids: Sequence[str]) -> int | None:
    """How many of these rows, by what they teach, were marks of the run's calibration."""
    calibration = calibration_of(run)
    if calibration is None or calibration.marks is None:
        return 0
    if not calibration.marks.content:
        return None
    marked, hashes = set(calibration.marks.content), run.content_hashes()
    return sum(hashes.get(row_id) in marked for row_id in ids)


def _measure(
    values: Mapping[str, F64], bad: Flags, weight: F64, *, resamples: int, seed: int
) -> tuple[NamedDetection, ...]:
    """Each score on the rows where it is finite, if these are of both kinds."""
    measured = []
    for name, column in values.items():
        there = np.isfinite(column)
        if len(set(bad[there].tolist())) > 1:
            found = detection(
                column[there], bad[there], weight=weight[there], resamples=resamples, seed=seed
            )
            measured.append(NamedDetection(name, found))
    return tuple(measured)


def prompt_overlap(prompt: str, response: str) -> float:
    """Share of the response's distinct words that stand in the prompt, in [0, 1]; 0.0 for none."""
    distinct = set(words(response))
    return len(distinct & set(words(prompt))) / len(distinct) if distinct else 0.0


def _check_classes(bad: Flags, matched: int) -> None:
    if len(bad) == 0:
        raise UsageError(
            f"none of the {matched} labelled rows has a confidence; "
            "run the score stage first, or see why: clear-pipeline rows RUN --fate unscored"
        )
    if bad.all() or not bad.any():
        kind = "bad" if bad.all() else "good"
        raise UsageError(
            f"all {len(bad)} labelled rows with a confidence are {kind}; both kinds are needed. "
            "If the labels are read the wrong way, name the label of bad rows: --bad"
        )


def _scores(ledger: pa.Table) -> dict[str, F64]:
    """Every score of a ledger: the confidences, what other stages computed, and the parts.

    All are turned so that high means good; `p_bad` is `calibrated` once more.
    """
    named = [name for name in REFINED if name in ledger.column_names]
    others = [
        field.name
        for field in ledger.schema
        if field.name not in {*LEDGER.names, *named, *HIGH_IS_BAD, "p_bad"}
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]
    found = {name: numbers(ledger[name]) for name in (*named, *others)}
    turned = {
        f"1 - {name}": 1 - numbers(ledger[name])
        for name in HIGH_IS_BAD
        if name in ledger.column_names
    }
    return found | turned | parts(ledger)
