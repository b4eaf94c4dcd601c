"""How often `keep: {precision: P}` keeps its word, and how well the noise rate is covered.

Simulated runs: one signal of the confidence, one that is upside down, marks drawn at random; the
rows that were not marked tell the truth. `python benchmarks/calibration.py`
"""

from __future__ import annotations

import argparse

import numpy as np

from clear_pipeline.calibration import Marks, fit_marks
from clear_pipeline.calibration.features import sigmoid
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, Flags


def simulated(rng: np.random.Generator, rows: int, noise: float) -> tuple[dict[str, F64], Flags]:
    """Signals sigmoid(k * (+-1) + s * normal), and which rows are bad."""
    bad = rng.random(rows) < noise
    side = np.where(bad, -1.0, 1.0)
    confidence = sigmoid(1.5 * side + 1.5 * rng.normal(size=rows))
    upside_down = sigmoid(-0.7 * side + rng.normal(size=rows))
    return {
        "confidence": confidence, "reflection": confidence, "likelihood": upside_down,
    }, bad  # fmt: skip


def kept(score: F64, bad: Flags, precision: float) -> tuple[float, float]:
    """Share of rows kept by the mean of `score`, and the share of good ones among them."""
    order = np.argsort(-score)
    means = np.cumsum(score[order]) / np.arange(1, len(order) + 1)
    count = int(np.max(np.flatnonzero(means >= precision) + 1, initial=0))
    return count / len(order), float((~bad[order[:count]]).mean()) if count else float("nan")


def main() -> None:
    """Print one line per rule, and the coverage of the noise rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--marks", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.35)
    parser.add_argument("--precision", type=float, default=0.95)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"mean of P(good)": [], "lower bound": []}
    covered, skills = [], []
    for seed in range(given.runs):
        rng = np.random.default_rng(seed)
        parts, bad = simulated(rng, given.rows, given.noise)
        rows = rng.choice(given.rows, given.marks, replace=False)
        try:
            fitted, _ = fit_marks(parts, Marks(rows, bad[rows]), score="confidence", seed=seed)
        except UsageError:  # fewer than 25 bad ones among the marks
            continue
        rest = np.setdiff1d(np.arange(given.rows), rows)
        scores = (fitted.calibrated(parts), fitted.lower_bound(parts))
        for name, score in zip(found, scores, strict=True):
            found[name].append(kept(score[rest], bad[rest], given.precision))
        if fitted.marks is not None:
            rate = fitted.marks.noise_rate
            covered.append(rate.low <= bad.mean() <= rate.high)
            skills.append(fitted.marks.reliability.skill.low > 0)
    for name, pairs in found.items():
        share, good = np.array(pairs).T
        met = good[np.isfinite(good)] >= given.precision
        print(
            f"{name}: {share.mean():.0%} of rows kept, {np.nanmean(good):.3f} good, "
            f"worst {np.nanmin(good):.3f}, promise kept in {met.mean():.0%} of {len(met)} runs"
        )
    print(f"noise rate inside its interval: {np.mean(covered):.0%}")
    print(f"Brier skill with its interval above 0: {np.mean(skills):.0%}")


if __name__ == "__main__":
    main()
