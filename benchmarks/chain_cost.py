"""What load, dedup and export cost, without a model: seconds, peak memory, fates.

    python benchmarks/chain_cost.py DATA

Runs the command line in a process of its own and reads the kernel's account of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run once into a scratch directory and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    cli = [sys.executable, "-m", "clear_pipeline"]
    with tempfile.TemporaryDirectory() as scratch:
        out = f"{scratch}/run"
        began = time.monotonic()
        command = [*cli, "run", str(args.data), "--out", out, "--stages", "load,dedup,export"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        status = subprocess.run(
            [*cli, "status", out, "--json"], check=True, capture_output=True, text=True
        )
    fates = {fate: n for fate, n in json.loads(status.stdout)["fates"].items() if n}
    rows = sum(fates.values())
    print(f"{args.data.name}: {rows} rows in {seconds:.1f} s, peak memory {peak:.0f} MiB, {fates}")


if __name__ == "__main__":
    main()
