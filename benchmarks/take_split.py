"""Write the first rows of one split of a labelled file, for a run that is then evaluated.

    python benchmarks/take_split.py DATA.jsonl --split report --rows 150 --out part.jsonl
    clear-pipeline run part.jsonl --out RUN ...
    clear-pipeline evaluate scores RUN --labels part.jsonl

Tune on split `tune`, report on split `report`.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path


def main() -> None:
    """Copy the rows as they are, in file order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with args.data.open(encoding="utf-8") as lines:
        wanted = (line for line in lines if json.loads(line).get("split") == args.split)
        taken = list(islice(wanted, args.rows))
    args.out.write_text("".join(taken), encoding="utf-8")
    print(f"{args.out}: {len(taken)} rows of split {args.split}")


if __name__ == "__main__":
    main()
