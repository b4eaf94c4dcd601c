"""Faults and kills together, on a small scale; `python -m benchmarks.chaos` is the large one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.faulty_server import Served, serving

ROOT = Path(__file__).parents[2]


def test_among_faults_and_kills_no_row_is_lost() -> None:
    """Every row has a fate, the ledger is the calm run's, and no kill loses more than was open.

    Its exit status says so: a fifth of the requests fail, and four processes are killed, at a
    request or while they write.
    """
    command = [sys.executable, "-m", "benchmarks.chaos", "--rows", "80", "--kills", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| rows read, rows with a fate | 80, 80 |" in done.stdout
    assert "equal to the calm run's, byte for byte" in done.stdout


def ask(server: Served, text: str) -> int | str:
    """The status of an answer, or its text."""
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0.0}
    request = urllib.request.Request(f"{server.url}/chat/completions", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            said: str = json.load(reply)["choices"][0]["message"]["content"]
            return said
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, LookupError) as error:
        return type(error).__name__


def test_which_request_fails_depends_on_the_seed_alone(tmp_path: Path) -> None:
    """Two servers of one seed fail alike; what is asked again may be answered."""
    seen = []
    for _ in range(2):
        with serving(tmp_path, "--refuse", "0.5", "--latency", "0", "--seed", "3") as server:
            seen.append([ask(server, str(n // 3)) for n in range(30)])
            stats = server.stats()
    assert seen[0] == seen[1]
    assert {429, "Yes"} <= set(seen[0])
    assert (stats["requests"], stats["questions"]) == (30, 10)
    assert stats["outcomes"] == {"429": seen[0].count(429), "answered": 30 - seen[0].count(429)}
    assert stats["answered_again"] == stats["answered"] - len(
        {n // 3 for n in range(30) if seen[0][n] != 429}
    )
