"""What the command line shows of a run: true, complete, and harmless to the terminal."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from clear_pipeline.cli import app
from clear_pipeline.cli.console import Warnings, fail, next_command
from clear_pipeline.config import build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import views, write_report
from clear_pipeline.report.explain import explanation, explanation_json
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from report_data import HOSTILE
from report_runs import ROLES, demo_run, run_with
from scripted_run import reply

STAGES = ["dedup", "score", "filter", "rectify"]


def shown(view: RenderableType, *, width: int = 240) -> str:
    """What a view writes to a file, without colours."""
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(view)
    return stream.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return demo_run(tmp_path_factory.mktemp("demo") / "run", stages=STAGES)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a dataset whose every text, its name included, tries to be something else."""
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "[bold]data[ [red]"
    data.mkdir()
    lines = [
        json.dumps({"prompt": f"{i} {text}", "completion": text})
        for i, text in enumerate([*HOSTILE, *HOSTILE])
    ]
    (data / "[link=x] rows\x1b[31m.jsonl").write_text("\n".join(lines), encoding="utf-8")
    model = ScriptedChat(reply)
    pipeline = Pipeline(
        build_config(preset="fast", stages=STAGES), models=dict.fromkeys(ROLES, model)
    )
    return pipeline.run(data, out=folder / "run")


def first(run: Run, fate: Fate) -> str:
    return str(run.ledger(["id"], fate=fate)["id"][0].as_py())


def test_hostile_texts_reach_no_terminal(hostile: Run) -> None:
    """No view of any row writes a control character, and markup stands as it is written."""
    ids = hostile.ledger(["id"])["id"].to_pylist()
    written = [shown(view(hostile)) for view in (views.summary, views.status, views.rows)]
    written += [shown(explanation(hostile, row_id)) for row_id in ids]
    text = "".join(written)
    assert not {c for c in text if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n"}
    assert "[bold red]markup[/bold red]" in text
    assert "[bold]data[ [red]" in text


def test_what_a_server_said_reaches_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An error may repeat it, a suggested command the id of a row."""
    fail(UsageError("it said \x1b[31mred"))
    next_command("explain \x1b[31mred")
    shown = capsys.readouterr()
    assert (shown.err, shown.out) == (
        "error: it said \\x1b[31mred\n",
        "next: explain \\x1b[31mred\n",
    )


def test_hostile_texts_are_valid_json(hostile: Run) -> None:
    """The forms for scripts can be encoded, whatever the texts hold."""
    ids = hostile.ledger(["id"])["id"].to_pylist()
    told = [views.status_json(hostile), views.rows_json(hostile, limit=100)]
    told += [explanation_json(hostile, row_id) for row_id in ids]
    assert json.loads(json.dumps(told, ensure_ascii=False).encode()) == told


def test_hostile_run_has_a_report(hostile: Run) -> None:
    """The page of such a run has one script and one style: its own."""
    html = write_report(hostile).read_text(encoding="utf-8")
    assert html.count("<script") == html.count("<style") == 1


def test_summary_counts_every_fate(demo: Run) -> None:
    """Each fate that occurs stands there with its rows; spend and files follow."""
    text = shown(views.summary(demo))
    for fate, rows in demo.manifest.fates.items():
        lines = [line.split() for line in text.splitlines() if f" {fate} " in line]
        assert any(str(rows) in line for line in lines) == (rows > 0)
    assert "report.html" in text
    assert "requests" in text
    assert "tokens of the score" in text


def test_rows_tell_how_many_there_are(demo: Run) -> None:
    """A cut list names the true number."""
    total = demo.manifest.fates["filtered"]
    assert f"filtered: 2 of {total} rows" in shown(views.rows(demo, fate="filtered", limit=2))
    assert len(views.rows_json(demo, fate="filtered", limit=2)) == 2


def test_unknown_fate_and_row_are_usage_errors(demo: Run) -> None:
    """The message names what there is."""
    with pytest.raises(UsageError, match="there are quarantined"):
        views.rows(demo, fate="lost")
    with pytest.raises(UsageError, match="no row 'x:1'"):
        explanation(demo, "x:1")


def test_explained_duplicate_shows_its_keeper(demo: Run) -> None:
    """Both texts are there to compare, and the setting that decides: none parts equal sets."""
    found = [r for r in demo.ledger().to_pylist() if r["duplicate_kind"] == "near"]
    equal = next(r for r in found if r["similarity"] == 1)
    assert len(explanation_json(demo, equal["id"])["what_would_change_it"]) == 1
    near = next(r for r in found if r["similarity"] < 1)
    text = shown(explanation(demo, near["id"]))
    keeper = demo.texts([near["duplicate_of"]])[near["duplicate_of"]]
    assert f"the row that stays, {keeper.id}" in text
    assert keeper.response in text
    assert "--set stages.dedup.threshold" in text


def test_explained_rectification_shows_both_orders(demo: Run) -> None:
    """Before, after and the judge's confidence in each order."""
    row = demo.row(first(demo, Fate.RECTIFIED))
    text = shown(explanation(demo, row["id"]))
    assert row["candidate"] in text
    for part in ("preference", "preference_first", "preference_second"):
        assert f"{row[part]:.3f}" in text


def test_explained_quarantine_shows_the_raw_line(demo: Run) -> None:
    """The reason and the line as it stands in the file."""
    row_id = first(demo, Fate.QUARANTINED)
    (entry,) = [e for e in demo.quarantine() if e["id"] == row_id]
    told = explanation_json(demo, row_id)
    assert told["raw"] == entry["text"]
    assert entry["reason"] in shown(explanation(demo, row_id))


def test_names_in_the_data_give_the_terminal_no_command(tmp_path: Path) -> None:
    """Of files, of columns and of faults: notes and tables write escapes out, and no markup."""
    evil = "\x1b]0;x\x07[/red]"
    data = tmp_path / "data"
    data.mkdir()
    (data / f"a{evil[:4]}.csv").write_text(f"q{evil},z\n1,2\n")
    (data / "b.jsonl").write_text('{"prompt": "p", "completion": "c", "id": "x"}\n')
    (tmp_path / "data.key.csv").write_text(f"id,fault\nb.jsonl:1,{evil}\n")
    words = ["run", str(data), "--out", str(tmp_path / "run"), "--stages", "dedup"]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    assert "skipped a\\x1b]0;.csv: no known format (found q\\x1b]0;x\\x07[/red], z;" in told.stderr
    assert "\\x1b]0;x\\x07[/red]" in told.stdout
    assert "\x1b" not in told.output


def test_a_warning_gives_the_terminal_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It may repeat what a server says."""
    record = logging.LogRecord("x", logging.WARNING, "", 0, "served by %s", ("\x1b[2J",), None)
    Warnings().emit(record)
    assert capsys.readouterr().err == "warning: served by \\x1b[2J\n"


def test_explained_filtered_row_counts_its_company(tmp_path: Path) -> None:
    """0.2 goes with 0.3 and 0.4: a threshold below it would keep those two as well."""
    run, _ = run_with(
        tmp_path, {"alpha": 0.2, "bravo": 0.3, "charlie": 0.4, "delta": 0.8}, keep="count=1"
    )
    (advice,) = explanation_json(run, "rows.jsonl:1")["what_would_change_it"]
    assert advice.startswith("a threshold below 0.200: 2 other filtered rows")


def test_a_bound_that_explain_names_keeps_its_word(tmp_path: Path) -> None:
    """Three digits are below what is filtered and above what is kept, not nearest to it."""
    run, _ = run_with(tmp_path, {"alpha": 0.5006, "bravo": 0.8004}, keep="count=1")
    (below,), (above,) = (
        explanation_json(run, f"rows.jsonl:{line}")["what_would_change_it"] for line in (1, 2)
    )
    assert below.startswith("a threshold below 0.500: ")
    assert above == "a threshold above 0.801"


def test_a_row_that_no_model_is_asked_about_is_told_so(tmp_path: Path) -> None:
    """The same command again would not score an image."""
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    answer = {"role": "assistant", "content": "A cat."}
    asked = ([image], "What says meow?")
    turns = ([{"role": "user", "content": content}, answer] for content in asked)
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns))
    config = build_config(preset="fast", stages=["score"])
    run = Pipeline(config, models={"scorer": ScriptedChat(reply)}).run(data, out=tmp_path / "run")
    assert explanation_json(run, "rows.jsonl:1")["what_would_change_it"] == [
        "a row that holds image gets no score: no model is asked about it",
        "to export it without a score: --set export.on_unscored=keep",
    ]


def test_explained_filtered_row_says_what_the_judge_lacked(demo: Run) -> None:
    """A lower eta is advice only where the judge preferred the candidate at all."""
    for row in demo.ledger(fate=Fate.FILTERED).to_pylist():
        advice = explanation_json(demo, row["id"])["what_would_change_it"]
        assert any("stages.rectify.eta" in a for a in advice) == (row["verdict"] == "candidate")
        refused = row["candidate"] is not None and row["verdict"] != "candidate"
        assert ("a candidate that the judge prefers" in advice) == refused
