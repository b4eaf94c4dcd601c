"""An estimate beside what a real server on loopback is then asked."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import BudgetExceededError
from clear_pipeline.estimate import Effort, Estimate, Need, words
from clear_pipeline.llm.meter import Totals
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.llm.settings import BudgetSettings
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report.views import status_json
from clear_pipeline.run import Run, open_run
from clear_pipeline.stages.base import SilentProgress
from stub_server import Body, StubServer, completion, llama, text_choice, uniform, vllm

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
PRICED = {"input": 1.0, "output": 2.0}
ALL = Effort(rows=1000, seconds=1000)
"""Every row is rehearsed, and tried where that is free."""
PAGE = 4096
"""Bytes of a page of SQLite."""


def config(url: str, *, priced: bool, limit: int | None = None, **score: Any) -> Config:  # noqa: ANN401
    scorer: dict[str, Any] = {"model": "stub", "base_url": url}
    if priced:
        scorer["price_per_mtok"] = PRICED
    return build_config(
        flags={"models": {"scorer": scorer}, "load": {"limit": limit}},
        stages=["dedup", "score", "filter"],
        assignments=[f"score.{name}={value}" for name, value in score.items()],
    )


def used(run: Run) -> Totals:
    return sum((Totals.from_json(total) for total in run.manifest.usage.values()), Totals())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixty rows; every other response has three sentences."""
    rows = [
        {
            "prompt": f"What is {n} + {n % 7}? " + "Think of a number first. " * (n % 11),
            "completion": f"{n + n % 7}. It is a sum. " * (1 + n % 2) + f"Nothing more, {n}.",
        }
        for n in range(60)
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("slots", [None, 2])
def test_a_server_that_counts_makes_the_estimate_exact(
    data: Path, tmp_path: Path, slots: int | None
) -> None:
    """Calls and tokens of prompts and answers before the first call, which none is: it has a price.

    The dollars are those tokens: a million of prompts for 1, of answers for 2.
    """
    with StubServer(vllm, llama_slots=slots, counts=True) as server:
        asked = config(server.url, priced=True, reflection="[yes_no, abc]")
        told = Pipeline(asked).estimate(data, effort=ALL)
        assert server.bodies == []
        spent = used(Pipeline(asked).run(data, out=tmp_path / "run"))
    need, usd = told.need, told.usd
    assert told.models[0].counted == "by the server"
    assert need.calls.low == spent.requests == len(server.bodies) > 120
    assert need.prompt.low == spent.usage.prompt
    assert need.completion.low == spent.usage.completion
    assert need.calls.high > need.calls.low  # as if no verdict were clear
    assert usd is not None
    assert usd.high > (need.prompt.low + 2 * need.completion.low) / 1e6
    assert told.minutes is None


async def unclear(body: Body) -> web.StreamResponse:
    """Never the word that was asked for, unless nothing else is allowed."""
    text = '{"answer": "Yes"}' if "response_format" in body else "Well"
    logprob = {"token": text, "logprob": -0.01, "top_logprobs": [{"token": "Yes", "logprob": -9.0}]}
    choice = text_choice(text, logprobs={"content": [logprob]})
    return web.json_response(completion(body, [choice]))


def test_where_it_is_free_the_model_is_tried(data: Path, tmp_path: Path) -> None:
    """Verdicts that must be asked for twice are seen, and so is the time that they take."""
    with StubServer(unclear) as server:
        asked = config(server.url, priced=False, reflection="[yes_no]", in_parts=False)
        told = Pipeline(asked).estimate(data, effort=Effort(rows=20, seconds=1000))
        tried = len(server.bodies)
        spent = used(Pipeline(asked).run(data, out=tmp_path / "run"))
    assert tried == 2 * 20
    assert told.need.calls.high == spent.requests == 2 * 60
    assert 100 < told.need.calls.low < 120  # twenty rows leave a doubt
    assert told.usd is not None
    assert told.usd.high == 0
    assert told.minutes is not None


def test_after_fifty_calls_the_rest_is_known(data: Path, tmp_path: Path) -> None:
    """Without a count and with a price, the answers teach: within ten percent of what is left."""
    with StubServer(vllm) as server:
        begun = config(server.url, priced=True, limit=20)
        whole = config(server.url, priced=True)
        blind = Pipeline(whole).estimate(data, effort=ALL)
        before = used(Pipeline(begun).run(data, out=tmp_path / "run"))
        assert before.requests >= 50
        told = Pipeline(whole).estimate(data, out=tmp_path / "run", effort=ALL)
        after = used(Pipeline(whole).run(data, out=tmp_path / "run"))
    left = after.usage.prompt - before.usage.prompt
    assert told.models[0].learnt_from >= 50
    assert told.need.prompt.low == told.need.prompt.high == pytest.approx(left, rel=0.1)
    assert told.need.calls.low == pytest.approx(after.requests - before.requests, rel=0.1)
    wrong = blind.need.prompt.low * left / after.usage.prompt
    assert abs(wrong - left) > 0.1 * left  # what it took to learn


def test_of_a_finished_run_nothing_is_left(data: Path, tmp_path: Path) -> None:
    """Another cap changes nothing about it; another preset does, and what was spent is known."""
    out = tmp_path / "run"
    with StubServer(vllm) as server:
        asked = config(server.url, priced=True, limit=6)
        spent = used(Pipeline(asked).run(data, out=out))
        capped = asked.model_copy(update={"budget": BudgetSettings(max_calls=1)})
        done = Pipeline(capped).estimate(data, out=out)
        other = config(server.url, priced=True, limit=6, reflection="[yes_no, abc]")
        more = Pipeline(other).estimate(data, out=out)
        judge = {"scorer": ScriptedChat(lambda _, __: "Yes")}
        judged = Pipeline(capped, models=judge).estimate(data, out=out)
        (out / "config.yaml").unlink()
        assert Pipeline(capped).estimate(data, out=out).need == Need()
        (out / "llm-cache.sqlite").unlink()
        for part in (out / "score").iterdir():
            part.unlink()
        lost = Pipeline(capped).estimate(data, out=out)
    assert (done.need, done.stages) == (Need(), ())
    assert words.caps(done, capped.budget) == []
    for left in (more, judged, lost):
        assert left.need.calls.low >= 6
    assert done.spent == more.spent == spent.spent


def test_a_run_tells_before_its_first_call_and_may_be_stopped_there(
    data: Path, tmp_path: Path
) -> None:
    """Once; what is told on resume is what is left; nothing is told where nothing is left."""
    told: list[Estimate] = []

    def refuse(estimate: Estimate) -> None:
        told.append(estimate)
        raise KeyboardInterrupt

    with StubServer(vllm, counts=True) as server:
        asked = config(server.url, priced=True, reflection="[yes_no]")
        out = tmp_path / "run"
        with pytest.raises(KeyboardInterrupt):
            Pipeline(asked, before_calls=refuse).run(data, out=out)
        assert server.bodies == []
        Pipeline(asked, before_calls=told.append).run(data, out=out)
        Pipeline(asked, before_calls=told.append).run(data, out=out)
        more = config(server.url, priced=True, reflection="[yes_no, abc]")
        Pipeline(more, before_calls=told.append).run(data, out=out)
    first, same, rest = told
    assert first.to_json() == same.to_json()
    calls = same.need.calls.low
    assert rest.need.calls.low == pytest.approx(calls)  # of two questions one was answered


def test_a_damaged_cache_is_mended_before_the_estimate_opens_the_model(
    data: Path, tmp_path: Path
) -> None:
    """The estimate asks a free server what it can while it reads the answers: all of the new file.

    The first run asks no likelihood, so that the second has to find out.
    """
    out = tmp_path / "run"
    progress = SilentProgress()
    with StubServer(vllm) as server:
        Pipeline(
            config(server.url, priced=False, weights="{yes_no: 1}", reflection="[yes_no]")
        ).run(data, out=out)
        cache = bytearray((out / "llm-cache.sqlite").read_bytes())
        cache[-PAGE:] = bytes(PAGE)  # answers, but not the one that tells what the server can
        (out / "llm-cache.sqlite").write_bytes(cache)
        asked = config(server.url, priced=False)
        Pipeline(asked, progress=progress, before_calls=lambda _: None).run(data, out=out)
    (told,) = (note for note in progress.notes if "set aside" in note)
    taken = re.search(r"as llm-cache\.sqlite\.damaged, (\d+) answers taken over", told)
    assert taken is not None
    assert int(taken[1]) > 0
    assert open_run(out).manifest.finished
    assert {path.name for path in out.glob("llm-cache.sqlite*")} == {
        "llm-cache.sqlite",
        "llm-cache.sqlite.damaged",
    }


class Told(SilentProgress):
    """Keeps the lines that revise the estimate, and knows when there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.is_told = threading.Event()

    def note(self, text: str) -> None:
        if text.startswith("estimate after "):
            self.lines.append(text)
            self.is_told.set()


def revising(config: Config, data: Path, out: Path, progress: Told | None = None) -> list[str]:
    """Run with one call at a time, and what is said after so many calls."""
    scorer = config.models["scorer"].model_copy(update={"max_in_flight": 1})
    config = config.model_copy(update={"models": {"scorer": scorer}})
    told = progress or Told()
    Pipeline(config, progress=told, before_calls=lambda _: None).run(data, out=out)
    return told.lines


def test_after_fifty_calls_a_run_tells_what_all_of_it_takes(data: Path, tmp_path: Path) -> None:
    """Once, for it and for whoever asks its status; spent and to come are what it then took."""
    out = tmp_path / "run"
    with StubServer(vllm, counts=True) as server:
        (line,) = revising(config(server.url, priced=True), data, out)
    told, spent = status_json(open_run(out))["revised_estimate"], used(open_run(out))
    assert told["line"] == line
    assert told["after_calls"] >= 50
    assert told["total"]["calls"] == [spent.requests] * 2
    assert told["total"]["tokens"] == [spent.usage.prompt + spent.usage.completion] * 2
    assert told["total"]["usd"] == pytest.approx([spent.usd] * 2)
    for name, (total, _) in told["total"].items():
        assert told["spent"][name][0] + told["left"][name][0] == pytest.approx(total)
        assert told["left"][name][0] > 0
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert events.count("revised_estimate") == 1


def test_fewer_than_fifty_fresh_calls_tell_nothing(data: Path, tmp_path: Path) -> None:
    """Three a row: neither 45 at the start, nor 45 more on a resume with 135 answers, nor none."""
    out = tmp_path / "run"
    with StubServer(vllm) as server:
        lines = []
        for limit in (15, 45, 60, 60):
            asked = config(server.url, priced=True, limit=limit, reflection="[yes_no]")
            lines.append(len(revising(asked, data, out)))
    assert lines == [0, 1, 0, 0]
    assert len(server.bodies) == 3 * 60
    assert status_json(open_run(out))["revised_estimate"] is None


@pytest.mark.parametrize("priced", [True, False])
def test_with_a_cap_nothing_is_asked_before_it_is_told(
    data: Path, tmp_path: Path, *, priced: bool
) -> None:
    """Not even of a free model what it can: each call counts, and the first may be one too many."""
    asked: list[int] = []
    with StubServer(vllm) as server:
        capped = config(server.url, priced=priced).model_copy(
            update={"budget": BudgetSettings(max_calls=2)}
        )
        pipeline = Pipeline(capped, before_calls=lambda _: asked.append(len(server.bodies)))
        with pytest.raises(BudgetExceededError):
            pipeline.run(data, out=tmp_path / "run")
        assert len(server.bodies) == 2
    assert asked == [0]


def test_a_run_that_its_cap_will_stop_names_one_that_does(data: Path, tmp_path: Path) -> None:
    """Long before it stops, and in its status; with that cap the same run comes to its end."""
    out, progress = tmp_path / "run", Told()

    async def waits(body: Body) -> web.StreamResponse:
        if len(server.bodies) > 100:
            await asyncio.to_thread(progress.is_told.wait, 60)
        return await vllm(body)

    with StubServer(waits) as server:
        asked = config(server.url, priced=True, reflection="[yes_no]")
        capped = asked.model_copy(update={"budget": BudgetSettings(max_calls=150)})
        with pytest.raises(BudgetExceededError):
            revising(capped, data, out, progress)
        (line,) = progress.lines
        told = cli("status", out).stdout
        short = re.search(r"; --max-calls 150 will not suffice, --max-calls (\d+) would$", line)
        assert short, line
        enough = asked.model_copy(update={"budget": BudgetSettings(max_calls=int(short[1]))})
        revising(enough, data, out)
    assert len(server.bodies) == 3 * 60
    assert line in " ".join(told.split())


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clear_pipeline", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "COLUMNS": "120", "OPENAI_API_KEY": ""},
    )


def test_openai_is_estimated_without_a_key_or_a_network() -> None:
    """Tokens by its vocabulary, dollars by the list; the next command is the run."""
    options = ["--model", "gpt-4.1-mini", "--stages", "dedup,score"]
    shown = cli("estimate", DEMO, *options)
    assert shown.returncode == 0, shown.stderr
    assert "54 rows, rehearsed on 54" in shown.stdout
    assert "o200k_base" in shown.stdout
    assert "genai-prices" in shown.stdout
    last = shown.stdout.splitlines()[-1]
    assert last == f"next: clear-pipeline run {DEMO} {' '.join(options)} --out RUN"
    told = json.loads(cli("estimate", DEMO, *options, "--json").stdout)
    (stage,) = told["stages"]
    low, high = told["total"]["prompt_tokens"]
    assert (stage["stage"], stage["rows"]) == ("score", 54)
    assert stage["usd"][0] == pytest.approx((low * 0.4 + stage["completion_tokens"][0] * 1.6) / 1e6)
    assert high > low


def test_a_run_begins_with_its_estimate(tmp_path: Path) -> None:
    """On standard error, before any row is scored."""
    with StubServer(counts=True) as server:
        options = ["--model", "stub", "--base-url", server.url, "--stages", "dedup,score"]
        done = cli("run", DEMO, "--out", tmp_path / "run", *options)
    assert done.returncode == 0, done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("estimate: ")]
    assert line.startswith("estimate: 54 rows, ")
    assert "free of charge" in line


async def half_unclear(body: Body) -> web.StreamResponse:
    """A llama.cpp whose model is clear in about every other verdict."""
    if body.get("logprobs") and "grammar" not in body and uniform(body, "clear") < 0.5:
        return await unclear(body)
    return await llama(body)


def test_the_benchmark_of_pilots_draws_them_from_a_run(data: Path, tmp_path: Path) -> None:
    """It finds the unclear verdicts; a pilot of all rows teaches how many calls they took."""
    out = tmp_path / "run"
    with StubServer(half_unclear, llama_slots=4) as server:
        Pipeline(config(server.url, priced=True, reflection="[yes_no]")).run(data, out=out)
        questions = [b for b in server.bodies if b.get("logprobs") and "grammar" not in b]
        share = sum(uniform(body, "clear") < 0.5 for body in questions) / len(questions)
    command = [sys.executable, "-m", "benchmarks.pilots", str(out), "--rows", "60", "--draws", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    _, _, verdicts, _, _, _, drawn = done.stdout.splitlines()
    assert verdicts.startswith(f"| sums.jsonl | {len(questions)} | {share:.0%} |")
    _, rows, calls_off, _, held = [cell.strip() for cell in drawn.strip("|").split("|")][:5]
    assert (rows, held) == ("60", "100%")
    assert float(calls_off.rstrip("%")) < 2


def test_the_benchmark_compares_estimates_with_runs(data: Path, tmp_path: Path) -> None:
    """Both ways, each with what it was off; the same command again asks nothing."""
    with StubServer(vllm, counts=True) as server:
        command = [
            sys.executable, "-m", "benchmarks.estimate", str(data), "--rows", "40",
            "--base-url", server.url, "--model", "stub", "--out", str(tmp_path / "out"),
        ]  # fmt: skip
        runs = []
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
            assert done.returncode == 0, done.stderr
            runs.append((done.stdout, len(server.bodies)))
    assert runs[0] == runs[1]
    _, _, counts, learns = runs[0][0].splitlines()
    assert counts.startswith("| sums | counts | 40 |")
    assert learns.startswith("| sums | learns | 40 |")
    assert "| 200 to 204 / 202 (+0.0%) |" in counts  # two calls ask what the server can do
