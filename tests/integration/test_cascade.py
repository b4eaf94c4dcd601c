"""Runs with a cascade and a second model: what is asked, what is said, what is asked again."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from clear_pipeline.calibration import fit_ranking
from clear_pipeline.cli import app
from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import CallError, ConfigError, UsageError
from clear_pipeline.evaluate import Labels, evaluate_scores
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import views
from clear_pipeline.report.cascade import RANKED, threshold_warning
from clear_pipeline.report.notebook import move_threshold
from clear_pipeline.run import Run, open_run
from clear_pipeline.stages.base import SilentProgress
from stub_server import StubServer

ROWS = 20
"""Row n has the cheap confidence (n + 1) / 21; the median keeps rows 10 to 19."""


def reply(request: ChatRequest, sample: int) -> Choice:
    """Yes with the row's own probability; as a draw, another response."""
    text = request.messages[-1].text
    if "FINAL RESPONSE" in text:
        return Choice("FINAL RESPONSE: something else", "stop")
    number = int(text.split("number ")[1].split("?")[0])
    p = (number + 1) / (ROWS + 1)
    top = tuple((word, math.log(q)) for word, q in (("Yes", p), ("No", 1 - p)))
    return Choice("Yes", "stop", (Token("Yes", top[0][1], top),))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = ({"prompt": f"number {n}?", "completion": f"It is {n}."} for n in range(ROWS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(*assignments: str, stages: tuple[str, ...] = ("score", "cascade", "filter")) -> Config:
    fixed = ["cascade.similarity=lexical", "cascade.k=2"] if "cascade" in stages else []
    return build_config(preset="fast", stages=stages, assignments=[*fixed, *assignments])


def run(
    data: Path, out: Path, settings: Config, *, progress: SilentProgress | None = None
) -> tuple[Run, list[ChatRequest]]:
    model = ScriptedChat(reply)
    done = Pipeline(settings, models={"scorer": model}, progress=progress).run(data, out=out)
    return done, model.requests


def text_of(renderable: Any) -> str:  # noqa: ANN401
    from rich.console import Console

    console = Console(width=400)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_only_the_band_is_asked_and_the_saving_is_reported(data: Path, tmp_path: Path) -> None:
    """Eight of twenty rows; the others would have taken twelve calls more."""
    done, requests = run(data, tmp_path / "run", config())
    draws = [r for r in requests if len(r.samples) == 2]
    assert (len(requests), len(draws)) == (28, 8)
    told = views.status_json(done)["cascade"]
    assert (told["rows"], told["asked"], told["calls"]) == (20, 8, 8)
    assert told["saved_calls"] == 12
    assert told["saved_tokens"] == round(
        12 / 8 * (told["usage"]["prompt"] + told["usage"]["completion"])
    )
    for shown in (text_of(views.summary(done)), text_of(views.status(done))):
        assert "about 12 calls" in shown
        assert "warning" not in shown
    assert "about 12 calls" in (tmp_path / "run" / "report.html").read_text()


def test_draws_that_disagree_take_a_row_down_but_not_out_of_the_band(
    data: Path, tmp_path: Path
) -> None:
    """The order within the band is kept here, so the same ten rows stay, with lower confidence."""
    done, _ = run(data, tmp_path / "run", config())
    plain, _ = run(data, tmp_path / "plain", config(stages=("score", "filter")))
    columns = ["id", "fate"]
    assert done.ledger(columns).equals(plain.ledger(columns))
    line = done.row("rows.jsonl:11")
    assert line["cascade_step"] == "sampled"
    assert line["confidence"] == line["cascaded"] < line["reflection"]


def test_a_moved_filter_asks_nothing_and_warns_with_the_cost(data: Path, tmp_path: Path) -> None:
    """Two rows stay: of the eight most confident rows, the band held two."""
    out = tmp_path / "run"
    run(data, out, config())
    moved = config("filter.keep.count=2", "cascade.keep.above=median")
    done, requests = run(data, out, moved)
    assert requests == []
    warning = "6 rows near the threshold were scored by reflection only"
    for shown in (text_of(views.summary(done)), (out / "report.html").read_text()):
        assert warning in shown
        assert "rescoring them costs about 6 calls" in shown
        assert "--set stages.cascade.keep.count=2" in shown


def test_a_precision_is_named_as_the_share_that_it_drops(data: Path, tmp_path: Path) -> None:
    """Two of twenty rows stay; a cascade knows no precision, and asks around the quantile 0.9."""
    done, _ = run(data, tmp_path / "run", config())
    ledger = done.ledger([name for name in RANKED.names if name != "keep"])
    stays = pc.is_in(ledger["id"], pa.array(["rows.jsonl:19", "rows.jsonl:20"]))
    warning = threshold_warning(done, ledger.append_column("keep", stays), {"precision": 0.95})
    assert warning is not None
    assert warning.endswith("--set stages.cascade.keep.quantile=0.9")


def test_a_preview_of_another_threshold_gives_the_same_warning(data: Path, tmp_path: Path) -> None:
    """In dollars where the run has prices; none where the threshold stays in the band."""
    scorer = (
        "{model: scripted, base_url: 'http://scripted', price_per_mtok: {input: 1e6, output: 0}}"
    )
    done, _ = run(data, tmp_path / "run", config(f"models.scorer={scorer}"))
    warning = move_threshold(done, {"count": 2}).warning
    told = views.status_json(done)["cascade"]
    assert warning is not None
    assert warning.startswith("6 rows near the threshold were scored by reflection only")
    assert f"${told['usage']['prompt'] * 6 / 8:,.4f}" in warning
    assert move_threshold(done, {"quantile": 0.45}).warning is None
    plain, _ = run(data, tmp_path / "plain", config(stages=("score", "filter")))
    assert move_threshold(plain, {"count": 2}).warning is None


def test_a_moved_band_asks_only_rows_that_were_not_asked(data: Path, tmp_path: Path) -> None:
    """The six rows of the warning, and it is gone."""
    out = tmp_path / "run"
    run(data, out, config())
    moved = config("filter.keep.count=2", "cascade.keep.count=2")
    done, requests = run(data, out, moved)
    assert len(requests) == 6
    assert "warning" not in text_of(views.summary(done))


def test_rows_that_fail_for_want_of_an_answer_are_asked_again(data: Path, tmp_path: Path) -> None:
    """An outage during the cascade leaves cheap scores, which the same command mends."""

    def down(request: ChatRequest, sample: int) -> Choice:
        if "number 9?" in request.messages[-1].text and "FINAL" in request.messages[-1].text:
            raise CallError("outage", "down", transient=True)
        return reply(request, sample)

    out = tmp_path / "run"
    first = Pipeline(config(), models={"scorer": ScriptedChat(down)}).run(data, out=out)
    assert first.row("rows.jsonl:10")["cascade_error"] == "outage: down"
    assert first.row("rows.jsonl:10")["score_status"] == "scored"
    assert views.status_json(first)["cascade"]["failed"] == 1
    done, requests = run(data, out, config())
    assert len(requests) == 1
    assert done.row("rows.jsonl:10")["cascade_step"] == "sampled"
    whole, _ = run(data, tmp_path / "whole", config())
    assert done.ledger().equals(whole.ledger())


OPINION = ("score", "second_opinion", "filter")


def test_a_cascade_asks_only_for_the_draws_that_the_score_did_not_take(
    data: Path, tmp_path: Path
) -> None:
    """One draw of each of twenty rows; two of three are left for the band, in one request."""
    with StubServer() as server:
        flags = {"models": {"scorer": {"model": "m", "base_url": server.url}}}
        settings = build_config(
            preset="fast",
            flags=flags,
            stages=["score", "cascade", "filter"],
            assignments=[
                *("score.k=1", "score.similarity=lexical"),
                *("cascade.k=3", "cascade.similarity=lexical", "cascade.band=0.2"),
            ],
        )
        done = Pipeline(settings).run(data, out=tmp_path / "run")
        asked = sum(row["cascade_step"] == "sampled" for row in done.ledger().to_pylist())
        draws = Counter(body.get("n", 1) for body in server.bodies if body["max_tokens"] > 1)
    assert 0 < asked <= 4
    assert draws == {1: ROWS, 2: asked}


def test_another_server_gives_the_second_opinion(data: Path, tmp_path: Path) -> None:
    """It is asked about the surest fifth, by its own name; the scorer is not asked again."""
    out = tmp_path / "run"
    with StubServer() as server:
        assigned = ["models.second.model=other", f"models.second.base_url={server.url}"]
        done, requests = run(data, out, config(*assigned, stages=OPINION))
        assert {body["model"] for body in server.bodies} == {"other"}
        assert (len(requests), len(server.bodies)) == (20, 4)
        again, repeated = run(data, out, config(*assigned, stages=OPINION))
        assert (repeated, len(server.bodies)) == ([], 4)
    assert again.ledger().equals(done.ledger())
    asked = [row for row in done.ledger().to_pylist() if row["disagreement"] is not None]
    assert [row["line"] for row in asked] == [17, 18, 19, 20]
    for row in asked:
        distance = abs(row["confidence"] - row["second_confidence"])
        assert row["disagreement"] == pytest.approx(distance)
        assert row["fate"] == "kept"
    large = sum(row["disagreement"] > 0.5 for row in asked)
    expected = f"of 4 rows that the scorer is sure of, {large} are doubted"
    assert expected in text_of(views.summary(done))


def test_the_second_model_is_asked_in_the_way_of_the_scorer(data: Path, tmp_path: Path) -> None:
    """Each of the four surest rows in both orders of the words, as the scorer was."""
    models = {"scorer": ScriptedChat(reply), "second": ScriptedChat(reply, name="other")}
    settings = config("score.orders=2", stages=OPINION)
    Pipeline(settings, models=models).run(data, out=tmp_path / "run")
    assert (len(models["scorer"].requests), len(models["second"].requests)) == (40, 8)


def test_a_calibration_that_is_gone_from_the_chain_turns_nothing(
    data: Path, tmp_path: Path
) -> None:
    """The run is calibrated, then resumed without: the second opinion is that of a fresh run."""
    upside_down = np.arange(120) / 240 + 0.25
    fitted, _ = fit_ranking(
        {"reflection": np.where(np.arange(120) % 2, upside_down, 1 - upside_down / 4)},
        [None if i % 2 else "swap" for i in range(120)],
        [f"row{i // 2}" for i in range(120)],
    )
    assert fitted.turned == ("reflection",)
    fitted.save(tmp_path / "ranking.json")
    models = {"scorer": ScriptedChat(reply), "second": ScriptedChat(reply, name="other")}
    turned = build_config(preset="fast", stages=OPINION, calibration=tmp_path / "ranking.json")
    plain = build_config(preset="fast", stages=OPINION)
    first = Pipeline(turned, models=models).run(data, out=tmp_path / "run")
    asked = first.ledger().filter(pc.is_valid(first.ledger()["disagreement"])).to_pylist()
    for row in asked:
        distance = abs(row["calibrated"] - row["second_confidence"])
        assert row["disagreement"] == pytest.approx(distance)
    again = Pipeline(plain, models=models).run(data, out=tmp_path / "run")
    fresh = Pipeline(plain, models=models).run(data, out=tmp_path / "fresh")
    assert again.ledger().equals(fresh.ledger())
    said, expected = (r.manifest.stage("second_opinion") for r in (again, fresh))
    assert said is not None
    assert expected is not None
    assert said.notes == expected.notes


def test_rows_are_listed_by_disagreement(data: Path, tmp_path: Path) -> None:
    """The largest first; rows without a second opinion are left out."""
    models = {"scorer": ScriptedChat(reply), "second": ScriptedChat(reply, name="other")}
    out = tmp_path / "run"
    Pipeline(config(stages=OPINION), models=models).run(data, out=out)
    found = views.rows_json(open_run(out), sort="disagreement")
    assert len(found) == 4
    result = CliRunner().invoke(app, ["rows", str(out), "--sort", "disagreement", "--limit", "2"])
    assert result.exit_code == 0
    assert "disagreement" in result.output
    assert views.rows_json(open_run(out), sort="confidence")[0]["id"] == "rows.jsonl:20"
    with pytest.raises(UsageError, match="reason is no column of numbers"):
        views.rows_json(open_run(out), sort="reason")


def test_a_disagreement_is_measured_as_what_tells_of_bad_rows(data: Path, tmp_path: Path) -> None:
    """The second model never knows, so the surest of four rows has the largest; it is bad."""
    top = tuple((word, math.log(0.5)) for word in ("Yes", "No"))
    unsure = Choice("Yes", "stop", (Token("Yes", math.log(0.5), top),))
    models = {"scorer": ScriptedChat(reply), "second": ScriptedChat(lambda r, i: unsure, name="o")}
    done = Pipeline(config(stages=OPINION), models=models).run(data, out=tmp_path / "run")
    labels = Labels({row["id"]: row["line"] == ROWS for row in done.ledger().to_pylist()})
    report = evaluate_scores(done, labels, resamples=5)
    measured = {found.name: found.detection for found in report.scores}
    assert "disagreement" not in measured
    assert measured["1 - disagreement"].n == 4
    assert measured["1 - disagreement"].auroc.value == 1.0


@pytest.mark.parametrize(("band", "gained", "lost"), [(0.4, 4 / 51, None), (1, 28 / 51, -24 / 51)])
def test_labels_tell_what_the_draws_gained_and_what_a_band_loses(
    data: Path, tmp_path: Path, band: float, gained: float, lost: float | None
) -> None:
    """Bad are numbers 2, 10 and 19: 23 of 51 pairs; with all draws 51, with those of 8 rows 27."""
    bad = (2, 10, 19)

    def draws_tell(request: ChatRequest, sample: int) -> Choice:
        text = request.messages[-1].text
        number = int(text.split("number ")[1].split("?")[0])
        if "FINAL RESPONSE" in text and number not in bad:
            return Choice(f"FINAL RESPONSE: It is {number}.", "stop")
        return reply(request, sample)

    settings = config(f"stages.cascade.band={band}")
    out = tmp_path / "run"
    done = Pipeline(settings, models={"scorer": ScriptedChat(draws_tell)}).run(data, out=out)
    labels = Labels({row["id"]: row["line"] - 1 in bad for row in done.ledger().to_pylist()})
    effect = evaluate_scores(done, labels, resamples=5).cascade
    assert effect is not None
    assert (effect.rows, effect.band) == (20, 0.4)
    assert effect.gained.value == pytest.approx(gained)
    assert (effect.lost and effect.lost.value) == (lost and pytest.approx(lost))
    marks = tmp_path / "labels.jsonl"
    marks.write_text(
        "".join(json.dumps({"id": i, "label": not b}) + "\n" for i, b in labels.bad.items())
    )
    told = CliRunner().invoke(app, ["evaluate", "scores", str(out), "--labels", str(marks)]).output
    assert "against the cheap pass alone" in told
    assert ("60% of the draws" in told) == (lost is not None)


@pytest.mark.parametrize("assigned", [[], ["models.second.model=smollm2-135m"]])
def test_a_second_opinion_of_the_scorer_is_refused(
    data: Path, tmp_path: Path, assigned: list[str]
) -> None:
    """Whether by default or by name, and before a row is scored."""
    settings = build_config(stages=OPINION, assignments=assigned)
    with pytest.raises(ConfigError, match="second opinion"):
        Pipeline(settings).run(data, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("assigned", "message"),
    [
        (["score.k=5"], "the score takes 5 draws of every row and the cascade 5"),
        (["cascade.k=2", "cascade.temperature=0"], "2 draws at temperature 0 are one"),
    ],
)
def test_draws_that_would_tell_nothing_new_are_refused(assigned: list[str], message: str) -> None:
    """Before anything is paid for."""
    with pytest.raises(ConfigError, match=message):
        build_config(
            flags={"models": {"scorer": {"model": "m"}}},
            stages=("score", "cascade", "filter"),
            assignments=assigned,
        )


def test_two_servers_that_differ_by_their_port_must_be_told_apart(
    data: Path, tmp_path: Path
) -> None:
    """One of them would be asked for both roles; with a revision each is asked for its own."""
    with StubServer() as scorer, StubServer() as candidate:
        flags = {
            "models": {
                "scorer": {"model": "m", "base_url": scorer.url},
                "candidate": {"model": "m", "base_url": candidate.url},
            }
        }
        alike = build_config(flags=flags)
        with pytest.raises(ConfigError, match="both serve m on one host"):
            Pipeline(alike).run(data, out=tmp_path / "run")
        assert (scorer.bodies, candidate.bodies) == ([], [])
        told = build_config(flags=flags, assignments=["models.candidate.revision=tuned"])
        Pipeline(told).run(data, out=tmp_path / "run")
        assert scorer.bodies
        assert candidate.bodies
