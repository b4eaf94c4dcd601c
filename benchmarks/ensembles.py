"""Which parts, at which weights? Reads what `benchmarks.parts` wrote; makes no call.

    python -m benchmarks.ensembles parts.jsonl [more.jsonl] --title "Model, tune"

Prints three tables of AUROC by set and appends them to benchmarks/results/ensembles.md: every part
alone; ensembles of equal weights, plus or minus, grown greedily by their mean over the sets; and
what the choice is worth on a set that took no part in it: grown, and fitted by logistic regression,
on the other sets. Parts are averaged in log-odds, as `Score.weights` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clear_pipeline.evaluate.statistics import Estimate, detection
from clear_pipeline.scoring.bsdetector import CLOSEST, share_of_draws

RESULTS = Path(__file__).parent / "results" / "ensembles.md"
LARGEST = 6
_NO_PARTS = {"set", "id", "bad", "length"}

F64: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = Sequence[Mapping[str, Any]]
Weights: TypeAlias = Mapping[str, int]


def log_odds(rows: Rows, part: str) -> F64:
    """Of one part; 0, "cannot say", where it is missing. Shares of draws are drawn in first."""
    form = part.rsplit("_", 1)[0]
    found = []
    for row in rows:
        value = row.get(part)
        if value is not None and f"{form}_draws" in row:
            value = share_of_draws(value, row[f"{form}_draws"])
        found.append(0.5 if value is None else min(max(value, CLOSEST), 1 - CLOSEST))
    values = np.array(found)
    return np.asarray(np.log(values) - np.log1p(-values))


def auroc(rows: Rows, score: F64) -> Estimate:
    """That a bad row scores below a good one."""
    return detection(score, np.array([row["bad"] for row in rows])).auroc


def combined(rows: Rows, weights: Weights) -> F64:
    """The weighted sum of log-odds."""
    return np.asarray(sum(w * log_odds(rows, part) for part, w in weights.items()))


def mean_auroc(sets: Sequence[Rows], weights: Weights) -> float:
    """Over the sets."""
    found = [roc_auc_score([not r["bad"] for r in rows], combined(rows, weights)) for rows in sets]
    return float(np.mean(found))


def grown(sets: Sequence[Rows], parts: Sequence[str]) -> list[Weights]:
    """The best of each size, each the one before with one part more, plus or minus."""
    best: Weights = {}
    steps: list[Weights] = []
    while len(best) < min(LARGEST, len(parts)):
        options = [{**best, p: sign} for p in parts if p not in best for sign in (1, -1)]
        best = max(options, key=lambda weights: mean_auroc(sets, weights))
        steps.append(best)
    return steps


def fitted(train: Sequence[Rows], test: Rows, parts: Sequence[str]) -> F64:
    """Logistic regression on the other sets, each set weighing the same; the score on `test`."""
    rows = [row for group in train for row in group]
    weight = np.concatenate([np.full(len(group), 1 / len(group)) for group in train])
    good = np.array([not row["bad"] for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    features = np.column_stack([log_odds(rows, part) for part in parts])
    model.fit(features, good, logisticregression__sample_weight=weight * len(rows) / len(train))
    return np.asarray(
        model.decision_function(np.column_stack([log_odds(test, part) for part in parts]))
    )


def line(name: str, found: Sequence[Estimate]) -> str:
    """One line of Markdown."""
    cells = [f"{e.value:.3f} [{e.low:.2f}, {e.high:.2f}]" for e in found]
    return f"| {name} | {' | '.join(cells)} | {np.mean([e.value for e in found]):.3f} |"


def named(weights: Weights) -> str:
    """As in yes_no - error."""
    return " ".join(f"{'+' if w > 0 else '-'} {part}" for part, w in weights.items()).lstrip("+ ")


def report(sets: Mapping[str, Rows], parts: Sequence[str]) -> list[str]:
    """The three tables."""
    groups = list(sets.values())
    head = [f"| | {' | '.join(sets)} | mean |", "|---" * (len(sets) + 2) + "|"]
    lengths = [auroc(rows, np.array([float(r["length"]) for r in rows])) for rows in groups]
    alone = [(part, [auroc(rows, log_odds(rows, part)) for rows in groups]) for part in parts]
    alone.sort(key=lambda pair: -sum(e.value for e in pair[1]))
    lines = ["Each part alone:", "", *head, line("length of the response", lengths)]
    lines += [line(part, found) for part, found in alone]
    lines += ["", "Grown:", "", *head]
    for weights in grown(groups, parts):
        lines.append(line(named(weights), [auroc(r, combined(r, weights)) for r in groups]))
    if len(sets) == 1:
        return [*lines, ""]
    lines += ["", "Chosen on the other sets:", "", *head]
    others = {name: [r for n, r in sets.items() if n != name] for name in sets}
    for size in range(1, min(LARGEST, len(parts)) + 1):
        chosen = {name: grown(other, parts)[size - 1] for name, other in others.items()}
        row = [auroc(sets[name], combined(sets[name], chosen[name])) for name in sets]
        lines.append(line(f"grown to {size}", row))
    row = [auroc(sets[name], fitted(others[name], sets[name], parts)) for name in sets]
    return [*lines, line("logistic regression on all parts", row), ""]


def read(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The rows by set; parts of one row from several files become one row."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in paths:
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            found.setdefault(row["set"], {}).setdefault(row["id"], {}).update(row)
    return {name: list(rows.values()) for name, rows in found.items()}


def main() -> None:
    """Read, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path, nargs="+")
    parser.add_argument("--title", required=True)
    parser.add_argument("--results", type=Path, default=RESULTS, help="appended to")
    parser.add_argument("--without", nargs="*", default=[], help="parts left out")
    args = parser.parse_args()
    sets = read(args.parts)
    names = dict.fromkeys(name for rows in sets.values() for row in rows for name in row)
    left_out = _NO_PARTS | {name for name in names if name.endswith("_draws")} | {*args.without}
    parts = [name for name in names if name not in left_out]
    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in sets.items())
    lines = [f"## {args.title}", "", f"Rows: {sizes}.", "", *report(sets, parts)]
    print("\n".join(lines))
    args.results.parent.mkdir(exist_ok=True)
    with args.results.open("a", encoding="utf-8") as log:
        log.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
