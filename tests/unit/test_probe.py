"""The probe: what it draws, what it scores, what it says, and that a second one is free."""

from __future__ import annotations

import asyncio
import io
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow.compute as pc
import pytest
from rich.console import Console
from typer.testing import CliRunner

from clear_pipeline.cli import app
from clear_pipeline.config import build_config
from clear_pipeline.corruptions.refusal import REFUSALS
from clear_pipeline.errors import CallError, NothingReadableError, UsageError
from clear_pipeline.evaluate import Estimate
from clear_pipeline.evaluate.pairs import Sight
from clear_pipeline.llm.base import Capabilities, ChatRequest, Choice, Token, Usage
from clear_pipeline.llm.open import known_capabilities
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.llm.settings import ModelSettings, Prices
from clear_pipeline.load import LoadSettings
from clear_pipeline.probe import Plan, Probe, ProbeReport, ProbeSettings, make_plan, read_report
from clear_pipeline.probe.forecast import Forecast, forecasts
from clear_pipeline.probe.picture import picture
from clear_pipeline.probe.report import Cost, Finding, PresetReport
from clear_pipeline.probe.scored import read_scored
from clear_pipeline.probe.verdict import recommend, words
from clear_pipeline.probe.views import summary
from clear_pipeline.prompts.views import views
from clear_pipeline.schema import Message
from clear_pipeline.stages.score import Score
from stub_server import StubServer, llama, refuses, vllm

ROWS = [
    {"prompt": f"Tell me fact {n} about topic {chr(97 + n)}{chr(98 + n)}. Be brief.",
     "completion": f"Item {n * 7 + 11} is made of {chr(97 + n) * 3} and {chr(98 + n) * 4} parts."}
    for n in range(20)
]  # fmt: skip
SCORE = Score(preset="fast", reflection=("yes_no",))
SMALL = ProbeSettings(rows=14, per_corruption=12)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def sees_refusals(request: ChatRequest, sample: int) -> Choice:
    """Yes with a probability of 0.8, and of 0.1 where a refusal stands in the prompt."""
    refused = any(text in request.messages[-1].text for text in REFUSALS)
    yes = 0.1 if refused else 0.8
    top = (("Yes", math.log(yes)), ("No", math.log(1 - yes)))
    return Choice("Yes", "stop", (Token("Yes", math.log(yes), top),))


def probe_of(
    model: ScriptedChat, settings: ProbeSettings = SMALL, scores: tuple[Score, ...] = (SCORE,)
) -> Probe:
    return Probe(build_config(stages=["score"]), scores, settings, models={"scorer": model})


def finding(report: ProbeReport, corruption: str) -> Finding:
    return next(f for f in report.presets[0].findings if f.corruption == corruption)


def suggested(words: list[str]) -> list[str]:
    """The words of the command that a probe suggests."""
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return shlex.split(result.stdout.splitlines()[-1].removeprefix("next: clear-pipeline "))


def test_where_rows_are_too_few_the_larger_probe_is_larger_and_comes_once(
    data: Path, tmp_path: Path
) -> None:
    """It goes on in the same directory, with the same options; after all rows, another model."""
    own = ["--preset", "fast", "--noise-rate", "0.1", "--seed", "3", "--out", str(tmp_path / "a b")]
    with StubServer() as stub:
        words = ["probe", str(data), "--model", "stub", "--base-url", stub.url]
        larger = suggested([*words, *own, "--rows", "150", "--per-corruption", "4"])
        assert larger == [*words, "--rows", "300", "--per-corruption", "50", *own]
        assert suggested(larger) == [*words[:2], "--model", "NAME", "--base-url", "URL"]


def test_the_plan_depends_on_content_alone(data: Path, tmp_path: Path) -> None:
    """Other order, other file name, a row twice: the same rows are spoiled in the same way."""
    folder = tmp_path / "other"
    folder.mkdir()
    lines = data.read_text().splitlines()
    (folder / "b.jsonl").write_text("\n".join([*reversed(lines), lines[3], lines[3]]))
    first, second = (make_plan(d, LoadSettings(), SMALL) for d in (data, folder))
    assert [r.response for r in first.originals] == [r.response for r in second.originals]
    texts = [[(p.corruption, p.example.response) for p in plan.planted] for plan in (first, second)]
    assert texts[0] == texts[1]
    assert (first.rows_read, second.rows_read) == (20, 22)


def test_the_plan_keeps_to_its_limits(data: Path) -> None:
    """No more rows, and no corruption more often, than asked for; other seeds, other rows."""
    plan = make_plan(data, LoadSettings(), ProbeSettings(rows=5, per_corruption=3))
    assert len(plan.originals) == 5
    planted = [row.corruption for row in plan.planted]
    assert max(planted.count(name) for name in planted) == 3
    assert {row.original_id for row in plan.planted} <= {row.id for row in plan.originals}
    other = make_plan(data, LoadSettings(), ProbeSettings(rows=5, per_corruption=3, seed=1))
    assert {r.id for r in other.originals} != {r.id for r in plan.originals}


def test_rows_that_cannot_be_spoiled_are_no_sample(tmp_path: Path) -> None:
    """A dataset of tool calls alone is refused with the reason."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [{"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": [call]}]
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n")
    with pytest.raises(NothingReadableError, match="none of its 1 rows has a response of plain"):
        make_plan(path, LoadSettings(), SMALL)


def test_the_probe_finds_what_the_model_sees(data: Path, tmp_path: Path) -> None:
    """A model that sees nothing but refusals is said to see these, and to be blind elsewhere."""
    probe = probe_of(ScriptedChat(sees_refusals))
    report = probe.run(probe.plan(data), out=tmp_path / "out")
    assert finding(report, "refusal").win_rate == Estimate(1.0, 1.0, 1.0)
    assert finding(report, "refusal").sight == "sees it"
    assert {f.sight for f in report.presets[0].findings if f.plural != "refusals"} == {
        "blind", "too few rows to say",
    }  # fmt: skip
    assert finding(report, "malformed_json").planted == 0
    assert report.recommended == "fast"
    assert report.verdict[0].endswith("sees refusals.")
    assert report == read_report(tmp_path / "out")


def test_each_original_is_asked_about_once(data: Path, tmp_path: Path) -> None:
    """One question is one call per view of a row; a second probe asks nothing, tells the same."""
    model, again = ScriptedChat(sees_refusals), ScriptedChat(sees_refusals)
    plan = probe_of(model).plan(data)
    first = probe_of(model).run(plan, out=tmp_path / "out")
    second = probe_of(again).run(plan, out=tmp_path / "out")
    rows = [*plan.originals, *(planted.example for planted in plan.planted)]
    seen = {(row.messages, view.response) for row in rows for view in views(row).values()}
    assert len(model.requests) == len(seen)
    assert again.requests == []
    assert second == first
    assert first.presets[0].cost.prompt_tokens > 0


def test_the_scored_rows_are_kept(data: Path, tmp_path: Path) -> None:
    """probe.parquet has every row with its scores, and originals under their own ids."""
    probe = probe_of(ScriptedChat(sees_refusals))
    plan = probe.plan(data)
    probe.run(plan, out=tmp_path / "out")
    table = read_scored(tmp_path / "out")
    assert table.column_names == ["preset", "id", "original_id", "corruption", *SCORE.adds().names]
    originals = table.filter(pc.is_null(table["corruption"]))
    assert originals["id"].to_pylist() == [row.id for row in plan.originals]
    assert originals["id"] == originals["original_id"]
    spoiled = table.filter(pc.is_valid(table["corruption"]))
    assert spoiled["original_id"].to_pylist() == [row.original_id for row in plan.planted]
    assert spoiled["corruption"].to_pylist() == [row.corruption for row in plan.planted]
    assert set(table["score_status"].to_pylist()) == {"scored"}


def test_unscored_rows_are_counted_with_their_reason(data: Path, tmp_path: Path) -> None:
    """A failed original leaves its pairs out, and the report says why."""

    def script(request: ChatRequest, sample: int) -> Choice:
        if "Item 11 is made of aaa and bbbb parts." in request.messages[-1].text:
            raise CallError("content_filter", "no", transient=False)
        return sees_refusals(request, sample)

    probe = probe_of(ScriptedChat(script), ProbeSettings(rows=20, per_corruption=20))
    report = probe.run(probe.plan(data), out=tmp_path / "out")
    preset = report.presets[0]
    assert (preset.originals, preset.scored_originals) == (20, 19)
    assert preset.unscored["content_filter: no"] >= 1
    refused = finding(report, "refusal")
    assert (refused.planted, refused.n) == (20, 19)


def test_a_noise_rate_corrects_the_auroc(data: Path, tmp_path: Path) -> None:
    """With p = 0.2 a seen AUROC of 0.5 stays, one of 1 is cut at 1; without p nothing is said."""
    plan = probe_of(ScriptedChat(sees_refusals)).plan(data)
    reports = [
        probe_of(ScriptedChat(sees_refusals), SMALL.model_copy(update={"noise_rate": rate})).run(
            plan, out=tmp_path / "out"
        )
        for rate in (None, 0.2)
    ]
    assert finding(reports[0], "other_row").auroc_corrected is None
    seen, corrected = finding(reports[1], "other_row").auroc, finding(reports[1], "other_row")
    assert seen is not None
    assert corrected.auroc_corrected is not None
    assert corrected.auroc_corrected.value == pytest.approx((seen.value - 0.1) / 0.8)


def test_two_presets_are_compared_side_by_side(data: Path, tmp_path: Path) -> None:
    """Each has its figures, its column in the table and its colour in the picture."""
    both = (SCORE, Score(preset="best", reflection=("yes_no", "expert"), weights={"expert": 1.0}))
    probe = probe_of(ScriptedChat(sees_refusals), scores=both)
    report = probe.run(probe.plan(data), out=tmp_path / "out")
    assert [p.preset for p in report.presets] == ["fast", "best"]
    assert report.recommended == "fast"  # equal sight, fewer tokens
    assert set(read_scored(tmp_path / "out")["preset"].to_pylist()) == {"fast", "best"}
    drawn = (tmp_path / "out" / "probe.svg").read_text()
    assert "preset fast" in drawn
    assert "preset best" in drawn


def test_no_probe_no_report(tmp_path: Path) -> None:
    """An empty directory is named, with the command that fills it."""
    for read in (read_report, read_scored):
        with pytest.raises(UsageError, match="clear-pipeline probe DATA"):
            read(tmp_path)


def preset(name: str, tokens: float = 100.0, **sights: Sight) -> PresetReport:
    rates = {"sees it": 0.95, "sees it weakly": 0.7, "blind": 0.5, "inverted": 0.1}
    findings = [
        Finding(
            corruption=corruption,
            plural=corruption.replace("_", " "),
            explanation="",
            ability=f"do {corruption}",
            planted=30,
            n=30,
            win_rate=Estimate(rates.get(sight, 0.6), 0.4, 0.9),
            auroc=None,
            auroc_corrected=None,
            sight=sight,
        )
        for corruption, sight in sights.items()
    ]
    cost = Cost(prompt_tokens=tokens, cached_tokens=0, completion_tokens=0, usd=None, minutes=None)
    return PresetReport(
        preset=name,
        settings={},
        originals=30,
        scored_originals=30,
        unscored={},
        findings=tuple(findings),
        cost=cost,
        noise_at_most=None,
    )


def test_the_verdict_says_what_the_model_cannot_do() -> None:
    """Seen, blind, inverted, weak and unknown faults each have their sentence."""
    told = words(
        "m",
        [preset("fast", swaps="sees it", numbers="blind", names="blind", copies="inverted",
                loops="sees it weakly", cuts="too few rows to say")],
    )  # fmt: skip
    assert told == (
        "Use --preset fast: with it m sees swaps.",
        (
            "m cannot do numbers or do names: it cannot see numbers (0.50) and names (0.50). "
            "Where that matters, use a stronger model."
        ),
        (
            "m prefers copies (0.10) to the responses that were there: preset fast would keep "
            "such rows and drop good ones."
        ),
        "It sees loops (0.70) only weakly.",
        "Too few rows to say about cuts (30 rows).",
        (
            "clear-pipeline calibrate PROBE/probe.parquet --out ranking.json "
            "(PROBE: its directory) fits the parts of the score to these rows, turns those that "
            "are upside down, and shows what it brings."
        ),
    )


def test_the_verdict_of_a_blind_model() -> None:
    """A model that sees nothing is to be replaced; too few rows are no verdict on it."""
    assert recommend([preset("fast", swaps="blind")]) is None
    assert "sees none of the planted faults" in words("m", [preset("fast", swaps="blind")])[0]
    assert "probe more rows" in words("m", [preset("fast", swaps="too few rows to say")])[0]
    mixed = words("m", [preset("fast", swaps="blind", loops="too few rows to say")])[0]
    assert "none" not in mixed
    assert "probe more rows, or use a stronger model" in mixed


def test_a_preset_that_is_upside_down_is_not_recommended() -> None:
    """One fault seen, one inverted: none is recommended, and the command that fits is told."""
    told = words("m", [preset("fast", swaps="sees it", copies="inverted")])
    assert told == (
        (
            "No preset is recommended: with preset fast m prefers as many kinds of fault as it "
            "sees, or more."
        ),
        "It sees swaps (0.95).",
        (
            "m prefers copies (0.10) to the responses that were there: preset fast would keep "
            "such rows and drop good ones."
        ),
        (
            "clear-pipeline calibrate PROBE/probe.parquet --out ranking.json "
            "(PROBE: its directory) fits the parts of the score to these rows, turns those that "
            "are upside down, and shows what it brings."
        ),
    )


def test_inverted_faults_count_against_a_preset() -> None:
    """Three seen and two inverted is less than two seen."""
    torn = preset(
        "fast", a="sees it", b="sees it", c="sees it", d="inverted", e="inverted"
    )  # fmt: skip
    steady = preset("best", tokens=900, a="sees it", b="sees it", c="blind", d="blind", e="blind")
    assert recommend([torn]) is torn
    assert recommend([torn, steady]) is steady


def test_without_a_winner_the_closest_preset_is_named() -> None:
    """The limits told are those of the second preset here, with its name in the command."""
    worse = preset("fast", swaps="inverted", loops="inverted")
    better = preset("best", swaps="inverted", loops="blind")
    told = words("m", [worse, better])
    assert told[1] == "Preset best comes closest."
    assert "preset best would keep such rows" in told[3]
    assert told[-1].startswith(
        "clear-pipeline calibrate PROBE/probe.parquet --out ranking.json --preset best "
    )


def test_one_preset_twice_is_refused_unless_equal() -> None:
    """Two scores of one name would be told as one; the same score again is the same score."""
    other = Score(preset="fast", reflection=("expert",))
    with pytest.raises(UsageError, match="preset fast comes twice, with different settings"):
        probe_of(ScriptedChat(sees_refusals), scores=(SCORE, other))
    assert probe_of(ScriptedChat(sees_refusals), scores=(SCORE, SCORE)).scores == (SCORE,)


def test_the_better_and_then_the_cheaper_preset_is_recommended() -> None:
    """More faults seen beats fewer tokens; at equal sight fewer tokens win."""
    narrow = preset("fast", swaps="sees it", loops="blind")
    wide = preset("best", tokens=900, swaps="sees it", loops="sees it")
    dear = preset("paper", tokens=5000, swaps="sees it", loops="sees it")
    assert recommend([narrow, dear, wide]) is wide
    assert words("m", [narrow, wide])[0] == "Use --preset best: with it m sees swaps and loops."


DIALECTS = {
    "llama.cpp": (llama, 4),
    "vLLM": (vllm, None),
    "scores no text": (refuses("prompt_logprobs"), None),
}


FAST, LIKELIHOOD = Score(preset="fast"), Score(preset="likelihood")


@pytest.mark.parametrize(
    ("dialect", "scores"),
    [
        ("llama.cpp", (FAST,)),
        ("llama.cpp", (FAST, LIKELIHOOD)),
        ("vLLM", (FAST,)),
        ("vLLM", (LIKELIHOOD,)),
        ("vLLM", (FAST, LIKELIHOOD)),
        ("scores no text", (FAST,)),
    ],
)
def test_the_forecast_counts_the_calls(
    data: Path, tmp_path: Path, dialect: str, scores: tuple[Score, ...]
) -> None:
    """As many as a server of each dialect gets; where only asking tells, that is one of two."""
    reply, slots = DIALECTS[dialect]
    with StubServer(reply, llama_slots=slots) as server:
        flags = {"models": {"scorer": {"model": "stub", "base_url": server.url}}}
        probe = Probe(build_config(flags=flags, stages=["score"]), scores, SMALL)
        plan = probe.plan(data)
        told = probe.forecasts(plan)
        assert server.bodies == []
        probe.run(plan, out=tmp_path / "out")
        asked = len(server.bodies)
    assert len(told) == (1 if dialect == "llama.cpp" else 2)
    assert told[1 if dialect == "scores no text" else 0].calls == asked


def test_an_endpoint_known_to_score_no_text_is_asked_and_priced_for_none(
    data: Path, tmp_path: Path
) -> None:
    """At OpenAI that is known without a key: the questions alone, one token for each."""
    known = asyncio.run(known_capabilities(ModelSettings(model="gpt-4.1-mini")))
    plan = make_plan(data, LoadSettings(), SMALL)
    (told,) = forecasts(plan, [FAST], known)
    model = ScriptedChat(sees_refusals, capabilities=known)
    probe_of(model, scores=(FAST,)).run(plan, out=tmp_path / "out")
    assert told.calls == told.completion_tokens == len(model.requests)


def test_the_embedded_model_is_forecast_before_it_is_fetched(data: Path) -> None:
    """Preset likelihood: per row one call after the request, and one alone per response."""
    probe = Probe(build_config(stages=["score"]), [LIKELIHOOD], SMALL)
    plan = probe.plan(data)
    rows = [*plan.originals, *(planted.example for planted in plan.planted)]
    (told,) = probe.forecasts(plan)
    given = {(row.messages, row.response) for row in rows}
    assert told.calls == len(given) + len({row.response for row in rows})
    assert told.completion_tokens <= 16 * told.calls


def test_a_likelihood_takes_no_more_tokens_than_the_response_has(data: Path) -> None:
    """A response of "Yes", 1 token by 3.5 bytes each, out of 256; on vLLM one for each call.

    A prompt of 35 bytes has 10 tokens, 8 around the turn and 32 of the template.
    """
    (row,) = make_plan(data, LoadSettings(), ProbeSettings(rows=1)).originals
    prompt = (Message("user", "x" * 35),)
    short = replace(row, messages=prompt, target=replace(row.target, content="Yes"))
    plan = Plan("d", 1, 1, (short,), ())
    score = Score(preset="likelihood", likelihood="given", likelihood_tokens=256)
    (llama_cpp,) = forecasts(plan, [score], Capabilities(grammar=True))
    assert llama_cpp == Forecast(calls=1, prompt_tokens=50, completion_tokens=1)
    (scored,) = forecasts(plan, [score], Capabilities(prompt_logprobs=True))
    assert scored == Forecast(calls=2, prompt_tokens=50 + 50 + 9, completion_tokens=2)


def test_draws_are_forecast_once_per_request(data: Path) -> None:
    """Two questions a row; a row and its spoiled versions share five draws of 512 tokens each."""
    plan = make_plan(data, LoadSettings(), SMALL)
    rows = [*plan.originals, *(planted.example for planted in plan.planted)]
    (told,) = forecasts(plan, [Score(preset="paper", similarity="lexical")], Capabilities())
    seen = {(row.messages, row.response) for row in rows}
    assert told.calls == 2 * len(seen) + len(plan.originals)
    assert told.completion_tokens == 16 * 2 * len(seen) + 5 * 512 * len(plan.originals)
    (compared,) = forecasts(plan, [Score(preset="paper")], Capabilities())
    assert compared.calls >= told.calls + 10 * len(rows)
    (two_slots,) = forecasts(
        plan, [Score(preset="paper", similarity="lexical")], Capabilities(slots=2)
    )
    assert two_slots.calls == told.calls + 2 * len(plan.originals)


def test_a_forecast_in_words() -> None:
    """The price follows from the tokens; without prices it is not known."""
    prices = Prices(input=1.0, output=10.0)
    assert Forecast(1, 2_000_000, 100_000).usd(prices) == pytest.approx(3.0)
    assert "about $3.00" in Forecast(1, 2_000_000, 100_000).words(prices)
    assert "not known" in Forecast(1, 2, 3).words(None)


def report_of(noise_rate: float | None = None, **fields: object) -> ProbeReport:
    """A report of one preset that sees swaps, with an AUROC of 0.84 [0.70, 0.95] or 0.93."""
    (found,) = preset("fast", swaps="sees it").findings
    corrected = None if noise_rate is None else Estimate(0.93, 0.75, 1.0)
    shown = found.model_copy(
        update={"auroc": Estimate(0.84, 0.7, 0.95), "auroc_corrected": corrected}
    )
    wordy = shown.model_copy(
        update={"plural": "sentences copied from the prompt", "sight": "too few rows to say"}
    )
    nothing = {"planted": 0, "win_rate": None, "auroc": None, "auroc_corrected": None}
    absent = wordy.model_copy(update=nothing)
    one = preset("fast").model_copy(
        update={"findings": (shown, wordy, absent), "noise_at_most": 0.4}
    )
    known: dict[str, object] = {
        "package_version": "0", "dataset": "d", "rows_read": 1, "usable": 1, "model": "m",
        "endpoint": "", "identity": "", "settings": {}, "recommended": "fast", "verdict": (),
    }  # fmt: skip
    return ProbeReport.model_validate(
        {**known, "noise_rate": noise_rate, "presets": (one,), **fields}
    )


@pytest.mark.parametrize(
    ("noise_rate", "interval", "remark"),
    [
        (None, "[0.70, 0.95]", "AUROC is uncorrected: bad originals pull it"),
        (0.125, "[0.75, 1.00]", "AUROC corrected for 12.5% bad originals"),
    ],
)
def test_the_auroc_is_shown_with_its_interval(
    noise_rate: float | None, interval: str, remark: str
) -> None:
    """On 80 columns, and in the picture; a line says whether and by what it is corrected."""
    report = report_of(noise_rate)
    screen = Console(width=80, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(summary(report))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(interval in line for line in lines) == 2
    assert any("│ could not be planted │" in line for line in lines)
    assert remark in " ".join(captured.get().split())
    assert interval in picture(report)


def test_names_cannot_break_the_picture() -> None:
    """Markup in the name of a dataset or model stays text."""
    report = report_of(dataset='<script>alert("x")</script>&\x1b[31m', model="</title><b>")
    drawn = picture(report)
    assert {element.tag.rpartition("}")[2] for element in ET.fromstring(drawn).iter()} <= {
        "svg", "title", "style", "rect", "text", "circle", "line", "g",
    }  # fmt: skip
    assert "\x1b" not in drawn
    assert picture(report) == drawn


def test_unknown_prices_are_no_zero(data: Path, tmp_path: Path) -> None:
    """Without prices the cost is null; with prices it is that of the originals' tokens."""
    from clear_pipeline.probe.figures import preset_report
    from clear_pipeline.probe.scored import Spent

    probe = probe_of(ScriptedChat(sees_refusals))
    assert probe.run(probe.plan(data), out=tmp_path / "out").presets[0].cost.usd is None
    priced = preset_report(
        read_scored(tmp_path / "out"),
        Spent(Usage(prompt=1400, cached=0, completion=14), seconds=0.6),
        stage=SCORE,
        settings=SMALL,
        prices=Prices(input=1.0, output=10.0),
    ).cost
    assert priced.usd == pytest.approx((1400 + 140) / 1e6 / 14 * 1000)
    assert priced.minutes == pytest.approx(10.0)
    assert priced.prompt_tokens == pytest.approx(100_000)
