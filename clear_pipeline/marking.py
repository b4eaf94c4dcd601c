"""Human marks of a run's rows: which rows to read, and a calibration from what was said of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clear_pipeline.calibration import (
    Calibration,
    EtaCalibration,
    LabelledRepair,
    Marks,
    ScoredBy,
    fit_eta,
    fit_marks,
)
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.labels import Labels, listed
from clear_pipeline.evaluate.matching import Match, match
from clear_pipeline.manifest import StageRecord
from clear_pipeline.run import Run
from clear_pipeline.scoring.parts import F64
from clear_pipeline.stages.base import alive_rows
from clear_pipeline.stages.calibrate import signals
from clear_pipeline.stages.confidence import REFINED

if TYPE_CHECKING:
    import pandas as pd

STRATA: Final = 5
"""Fifths of the scored rows by confidence."""
FROM_LOWEST: Final = 0.5
"""Share of the sample that comes from the least confident fifth, where bad rows are likeliest."""


def sample_to_mark(run: Run, n: int = 100, *, seed: int = 0) -> pd.DataFrame:
    """Draw scored rows for people to mark, in random order.

    Half of them come from the least confident fifth (or all of it, if it has no more), the rest
    evenly from the other fifths, so that enough bad ones are among them. `weight` says how many
    rows each stands for; keep it with the marks, and the estimated noise rate is that of the
    whole run.

    Args:
        run: A finished run with scores.
        n: How many rows, >= 10; all of them where the run has no more.
        seed: Of the draw.

    Returns:
        `id`, `weight`, `confidence`, `prompt`, `response`. The texts are raw: escape them
        before a browser sees them.

    Raises:
        UsageError: The run has no scores, or n is below 10.
    """
    import pandas as pd

    if n < 2 * STRATA:
        raise UsageError(f"{n} rows to mark; at least {2 * STRATA} are needed")
    ids, found = scored_parts(run)
    score = found[_own_score(found)]
    rng = np.random.default_rng(seed)
    order = np.lexsort((np.array(ids), score))
    strata = np.array_split(order, STRATA)
    wanted = np.full(STRATA, round(n * (1 - FROM_LOWEST) / (STRATA - 1)))
    wanted[0] = n - wanted[1:].sum()
    wanted = _within(wanted, np.array([len(rows) for rows in strata]))
    drawn = [
        (rng.choice(rows, size=size, replace=False), len(rows) / size)
        for rows, size in zip(strata, wanted.tolist(), strict=True)
        if size
    ]
    frame = pd.DataFrame(
        {
            "id": [ids[i] for rows, _ in drawn for i in rows],
            "weight": [weight for rows, weight in drawn for _ in rows],
            "confidence": [float(score[i]) for rows, _ in drawn for i in rows],
        }
    )
    frame = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    texts = run.texts(frame["id"].tolist())
    for name in ("prompt", "response"):
        frame[name] = [getattr(texts[row_id], name) for row_id in frame["id"]]
    return frame


def _within(wanted: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes of which none is above what is there; what one lacks the others give, in turn."""
    sizes = np.minimum(wanted, there)
    for _ in range(min(int(wanted.sum()), int(there.sum())) - int(sizes.sum())):
        room = np.flatnonzero(sizes < there)
        sizes[room[np.argmin(sizes[room])]] += 1
    return sizes


def write_marks(path: str | Path, sample: pd.DataFrame, marks: Mapping[str, str]) -> Path:
    """Write marks of a sample as CSV: id, label, weight. Rows without a mark are left out.

    Args:
        path: Where.
        sample: From `sample_to_mark`.
        marks: `good` or `bad` by id.

    Raises:
        UsageError: An id is not in the sample, or a mark is neither.
    """
    weights = dict(zip(sample["id"], sample["weight"], strict=True))
    if unknown := [i for i in marks if i not in weights]:
        raise UsageError(f"not in the sample:\n{listed(unknown)}")
    if wrong := [f"{i}: {label!r}" for i, label in marks.items() if label not in ("good", "bad")]:
        raise UsageError(f"expected good or bad:\n{listed(wrong)}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label", "weight"])
    writer.writerows([i, label, f"{weights[i]:.6g}"] for i, label in marks.items())
    write_text_atomically(Path(path), text.getvalue())
    return Path(path)


def calibrate_run(
    run: Run, labels: Labels, *, ranking: Calibration | None = None, seed: int = 0
) -> tuple[Calibration, list[str]]:
    """Fit P(good) for a run on marks of some of its rows.

    Args:
        run: A finished run with scores.
        labels: From `evaluate.read_labels`; without weights the marked rows count as drawn
            at random.
        ranking: A `ranking-only` calibration, one more candidate.
        seed: Of folds and resamples.

    Returns:
        The calibration, and remarks for people.

    Raises:
        UsageError: An id is unknown or ambiguous, marks are too few, or the ranking was fitted
            for another model. Nothing is fitted then.
    """
    record = run.manifest.stage("score")
    if record is None:
        raise UsageError(f"{run.path}: no scores; run it with the score stage")
    scored_by = scored_by_of(record)
    if ranking is not None:
        _check_ranking(ranking, scored_by)
    matched = _matched(run, labels)
    column, labels = matched.column, matched.labels
    ids, found = scored_parts(run, column=column)
    positions = {row_id: i for i, row_id in enumerate(ids)}
    marked = [row_id for row_id in labels.bad if row_id in positions]
    weight = np.array([labels.weights[i] for i in marked]) if labels.weights else None
    hashes = run.content_hashes(column)
    marks = Marks(
        rows=np.array([positions[i] for i in marked], np.int64),
        bad=np.array([labels.bad[i] for i in marked], bool),
        weight=weight,
        content=tuple(hashes[i] for i in marked),
    )
    calibration, remarks = fit_marks(
        found, marks, score=_own_score(found), ranking=ranking, scored_by=scored_by, seed=seed
    )
    remarks += labels.remarks()
    if unused := len(labels.bad) - len(marked):
        remarks.append(
            f"{unused} marked rows have no score (duplicates, unscored) and are left out"
        )
    if weight is None:
        remarks.append(
            "the marks have no weights: the noise rate holds if their rows were drawn at random"
        )
    return calibration, remarks


def calibrate_eta(
    run: Run, labels: Labels, *, max_damage: float
) -> tuple[EtaCalibration, list[str]]:
    """Choose the eta of rectify on labelled rows of a run, see `calibration.eta.fit_eta`.

    A good row counts as damaged if it would get another response at all: nobody has read it.

    Args:
        run: A finished run with rectify.
        labels: From `evaluate.read_labels`. Their weights are not used: the bound is that of the
            labelled rows, and holds for all if they were drawn at random.
        max_damage: Share of the good rows, in (0, 1).

    Returns:
        The calibration, and remarks for people.

    Raises:
        UsageError: The run has no rectify, an id is unknown or ambiguous, or good rows are too
            few.
    """
    record = run.manifest.stage("rectify")
    if record is None or "rectify" not in run.manifest.chain:
        raise UsageError(f"{run.path}: no verdicts; run it with the stage rectify")
    matched = _matched(run, labels)
    column, labels = matched.column, matched.labels
    table = pa.concat_tables(
        shard.table.select([column, "rectify_outcome", "verdict", "preference"])
        for shard in run.shards()
    )
    marked = [line for line in table.to_pylist() if line[column] in labels.bad]
    asked = [line for line in marked if line["rectify_outcome"] not in (None, "failed")]
    rows = [
        LabelledRepair(
            bad=labels.bad[line[column]],
            preference=line["preference"] if line["verdict"] == "candidate" else None,
            damages=not labels.bad[line[column]],
        )
        for line in asked
    ]
    remarks = labels.remarks()
    if unused := len(marked) - len(asked):
        remarks.append(
            f"{unused} labelled rows have no verdict of rectify (out of its scope, or a call "
            "failed) and are left out"
        )
    if labels.weights:
        remarks.append("the weights are not used: the bound is that of the labelled rows")
    fitted = fit_eta(rows, max_damage=max_damage)
    calibration = EtaCalibration.of(
        fitted,
        max_damage=max_damage,
        damage="replaced",
        models=record.models,
        settings=record.settings,
    )
    return calibration, remarks


def scored_by_of(record: StageRecord) -> ScoredBy:
    """What computed a run's scores."""
    return ScoredBy(
        model=record.models.get("scorer", ""),
        preset=str(record.settings.get("preset", "")),
        settings=record.settings,
    )


def _check_ranking(ranking: Calibration, scored_by: ScoredBy) -> None:
    if ranking.kind != "ranking-only":
        raise UsageError("the ranking is a calibration from marks; expected one from corruptions")
    if ranking.scored_by is not None and ranking.scored_by.model != scored_by.model:
        raise UsageError(
            f"the ranking was fitted for {ranking.scored_by.model}, the run was scored by "
            f"{scored_by.model}"
        )


def _matched(run: Run, labels: Labels) -> Match:
    """Which column the marks' ids are of; every one of them stands in it once."""
    if not run.manifest.finished:
        raise UsageError(f"{run.path}: not finished; run the same command again first")
    found = match(run.ledger(["id", "source_id"]), labels)
    if found.unknown:
        raise UsageError(
            f"{len(found.unknown):,} marked ids are not in {run.path}, so nothing is applied:\n"
            f"{listed(found.unknown)}"
        )
    if found.ambiguous:
        raise UsageError(
            f"{len(found.ambiguous):,} marked ids are those of several rows, so nothing is "
            f"applied; mark by row id (file:line):\n{listed(found.ambiguous)}"
        )
    return found


def scored_parts(run: Run, column: str = "id") -> tuple[list[str], dict[str, F64]]:
    """Ids and signals of the rows that have a score, in input order."""
    ids: list[str] = []
    found: list[dict[str, F64]] = []
    for shard in run.shards():
        if "confidence" not in shard.table.column_names:
            break
        table = shard.table.filter(pa.array(alive_rows(shard.table)))
        ids += table[column].to_pylist()
        found.append(signals(table))
    if not ids:
        raise UsageError(f"{run.path}: no row has a confidence; run it with the score stage")
    names = dict.fromkeys(name for part in found for name in part)
    rows = [len(next(iter(part.values()))) for part in found]
    return ids, {
        name: np.concatenate(
            [p.get(name, np.full(n, np.nan)) for p, n in zip(found, rows, strict=True)]
        )
        for name in names
    }


def _own_score(found: Mapping[str, F64]) -> str:
    """The most refined score that every row has, calibration apart."""
    return next(name for name in REFINED if name in found and bool(np.isfinite(found[name]).all()))
