"""What 100 marks are worth on a scored run: P(bad) and `keep: {precision: P}` on unused rows.

    clear-pipeline run DATA.jsonl --out RUN --base-url URL --model NAME --stages score,filter
    python -m benchmarks.marks RUN --labels DATA.jsonl --marks 100 --draws 50

Draws rows to mark as notebooks/02_mark.ipynb does, takes the marks from the labels, fits, and
judges the fit on all the other rows of the run; again and again with other draws, since one draw
says little. No call is made. Prints the first draw in full, then the mean over the draws with the
range of the middle 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.calibration import Calibration, Marks, fit_marks
from clear_pipeline.calibration.reliability import reliability, wilson
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate import read_labels
from clear_pipeline.evaluate.matching import match
from clear_pipeline.marking import sample_to_mark, scored_parts
from clear_pipeline.run import Run, open_run
from clear_pipeline.scoring.parts import F64
from clear_pipeline.stages.filter import Precision


@dataclass(frozen=True, slots=True)
class Scored:
    """A run and its truth.

    Attributes:
        run: To draw marks from.
        position: Of each row id in the arrays.
        parts: Signals by name.
        bad: The truth, per row.
    """

    run: Run
    position: Mapping[str, int]
    parts: Mapping[str, F64]
    bad: NDArray[np.bool_]


def read(run: Path, labels: Path) -> Scored:
    """The scored rows of a run; all of them must have a label."""
    opened, truth = open_run(run), read_labels(labels)
    column = match(opened.ledger(["id", "source_id"]), truth).column
    labelled, parts = scored_parts(opened, column=column)
    ids, _ = scored_parts(opened)
    if unknown := [row_id for row_id in labelled if row_id not in truth.bad]:
        raise SystemExit(f"{labels}: no label for {len(unknown)} scored rows, as {unknown[0]}")
    bad = np.array([truth.bad[row_id] for row_id in labelled])
    return Scored(opened, {row_id: n for n, row_id in enumerate(ids)}, parts, bad)


def one_draw(scored: Scored, marks: int, seed: int) -> Calibration:
    """Fit on the labels of one draw.

    Raises:
        UsageError: Fewer than 25 of either kind are among the marks.
    """
    sample = sample_to_mark(scored.run, n=marks, seed=seed)
    rows = np.array([scored.position[row_id] for row_id in sample["id"]])
    weight = sample["weight"].to_numpy(np.float64)
    chosen = Marks(rows, scored.bad[rows], weight)
    return fit_marks(scored.parts, chosen, score="confidence", seed=seed)[0]


def figures(scored: Scored, marks: int, seed: int, precision: float) -> dict[str, float]:
    """Of one draw, on the rows that were not marked; NaN where nothing was kept."""
    fitted = one_draw(scored, marks, seed)
    sample = {scored.position[i] for i in sample_to_mark(scored.run, n=marks, seed=seed)["id"]}
    rest = np.array([n for n in range(len(scored.bad)) if n not in sample])
    parts = {name: values[rest] for name, values in scored.parts.items()}
    bad, good = scored.bad[rest], fitted.calibrated(parts)
    found = reliability(1 - good, bad, np.ones(len(rest)), seed=seed)
    bounds = fitted.lower_bound(parts)
    kept = Precision(precision=precision).rows(bounds)
    best = np.argsort(-bounds, kind="stable")[:kept]
    right = int((~bad[best]).sum())
    low, high = wilson(right / kept, kept) if kept else (np.nan, np.nan)
    return {
        "unused rows": len(rest),
        "Brier skill": found.skill.value,
        "Brier skill, low": found.skill.low,
        "Brier skill, high": found.skill.high,
        "slope": found.slope,
        "rows kept": kept,
        "good among them": right / kept if kept else np.nan,
        "good, low": low,
        "good, high": high,
    }


def main() -> None:
    """Read the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--labels", type=Path, required=True, help="columns id and label")
    parser.add_argument("--marks", type=int, default=100)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--precision", type=float, default=0.95)
    args = parser.parse_args()
    scored = read(args.run, args.labels)
    found, refused = [], 0
    for seed in range(args.draws):
        try:
            found.append(figures(scored, args.marks, seed, args.precision))
        except UsageError as error:
            refused += 1
            print(f"draw {seed}: {error}")
    print(f"{len(scored.bad)} rows, {scored.bad.mean():.1%} bad; {args.marks} marks a draw,")
    print(f"{len(found)} draws, {refused} refused for too few marks of a kind")
    if not found:
        return
    print(f"| figure | first draw | mean of {len(found)} draws | middle 95 % |")
    print("|---|---|---|---|")
    for name, first in found[0].items():
        values = np.array([draw[name] for draw in found])
        low, high = np.nanpercentile(values, [2.5, 97.5])
        print(f"| {name} | {first:.3f} | {np.nanmean(values):.3f} | {low:.3f} to {high:.3f} |")
    kept = [draw["good among them"] for draw in found if draw["rows kept"]]
    met = np.mean([share >= args.precision for share in kept]) if kept else np.nan
    print(
        f"promise of {args.precision:g} kept in {met:.0%} of the {len(kept)} draws that kept rows"
    )


if __name__ == "__main__":
    main()
