"""The attacks on the judge in front of a real server: nothing is asked for twice."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from pathlib import Path

from benchmarks.attacks import ATTACKS
from benchmarks.injection import attack, chosen, measure
from clear_pipeline.prompts.views import views
from stub_server import StubServer


def test_a_second_run_reads_the_same_table_from_the_cache(tmp_path: Path) -> None:
    """Two bad rows and two good ones, as they are and attacked, once for each of two judges."""
    data = tmp_path / "set.jsonl"
    rows = (
        {
            "prompt": f"question {n}",
            "completion": f"answer {n}",
            "label": "bad" if n % 2 else "good",
            "clean_completion": "x",
            "split": "tune",
        }
        for n in range(8)
    )
    data.write_text("\n".join(map(json.dumps, rows)) + "\n")
    with StubServer() as server:
        args = Namespace(
            data=[data],
            split="tune",
            bad=[2],
            attacks_per_row=None,
            preset="fast",
            base_url=server.url,
            model="stub",
            cache=tmp_path / "answers.sqlite",
            in_flight=3,
            author="first",
            preset_alone=False,
            no_control=False,
        )
        first = asyncio.run(measure(args))
        second = asyncio.run(measure(args))
        counts = server.counts()
    assert set(counts.values()) == {1}
    cases = chosen(data, split="tune", bad=2)
    bad = [case.example for case in cases if case.bad]
    attacked = [
        attack(row, k, plant, n) for k, plant in ATTACKS.items() for n, row in enumerate(bad)
    ]
    seen = [*(case.example for case in cases), *attacked]
    judged = {(row.messages, view.response) for row in seen for view in views(row).values()}
    assert len(counts) == len(judged) + len(seen)
    assert second[3:] == first[3:]
