"""`clear-pipeline probe`: can this model tell bad rows from good ones in this data?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from clear_pipeline.cli.caps import MaxCalls, MaxTokens, MaxUsd, caps_of
from clear_pipeline.cli.consent import introduce
from clear_pipeline.cli.console import Json, errors, next_command, output, print_json
from clear_pipeline.cli.options import (
    Assignments,
    BaseUrl,
    Columns,
    ConfigFile,
    Data,
    Limit,
    ModelName,
    Yes,
    flags_of,
)
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.stages.score import Score

if TYPE_CHECKING:
    from clear_pipeline.probe import Probe, ProbeReport
    from clear_pipeline.probe.plan import Plan


def probe(  # noqa: PLR0913  # one parameter per option that users rely on
    data: Data,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the probe; default runs/probe-NAME.")
    ] = None,
    config: ConfigFile = None,
    model: ModelName = None,
    base_url: BaseUrl = None,
    preset: Annotated[list[str] | None, typer.Option(help="Repeat it to compare several.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 50,
    per_corruption: Annotated[
        int, typer.Option(min=1, help="Rows that each corruption is planted in, at most.")
    ] = 20,
    noise_rate: Annotated[
        str | None,
        typer.Option(
            metavar="P|FILE",
            help="Share of the rows that are bad, or a file of `clear-pipeline calibrate --marks`.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the corruptions.")] = 0,
    mapping: Columns = None,
    limit: Limit = None,
    assign: Assignments = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    max_calls: MaxCalls = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Spoil rows of DATA in known ways and measure whether the model notices."""
    from clear_pipeline.probe import Probe, ProbeSettings  # scikit-learn: seconds
    from clear_pipeline.probe.views import summary

    flags = {
        **flags_of(model, base_url, mapping, limit, has_config=config is not None),
        **caps_of(max_usd, max_tokens, max_calls),
    }
    configs = [
        build_config(config, flags=flags, stages=["score"], preset=name, assignments=assign or ())
        for name in preset or (None,)
    ]
    settings = ProbeSettings(
        rows=rows,
        per_corruption=per_corruption,
        noise_rate=None if noise_rate is None else _noise_rate(noise_rate),
        seed=seed,
    )
    scores = [stage for each in configs for stage in each.stages if isinstance(stage, Score)]
    asked = Probe(configs[0], scores, settings, progress=TerminalProgress(errors))
    plan = asked.plan(data)
    _announce(plan, asked)
    introduce(configs[0], yes=yes, work="probe")
    place = out or Path("runs", f"probe-{plan.dataset}")
    with resumable():
        report = asked.run(plan, out=place)
    if as_json:
        print_json(report.to_json())
        return
    output.print(summary(report))
    output.print(Text(f"{place}: probe.json, probe.svg, probe.parquet"), soft_wrap=True)
    given = _given({"--map": mapping, "--limit": limit}, assign or ())
    next_command(_fit(report, place) or _next(data, configs[0], report, config, given))


def _noise_rate(given: str) -> float:
    """A share in [0, 1), as it is typed or as a calibration from marks estimates it."""
    from clear_pipeline.calibration import Calibration

    try:
        rate = float(given)
    except ValueError:
        fitted = Calibration.read(Path(given))
        if fitted.marks is None:
            raise UsageError(
                f"--noise-rate {given}: a ranking from corruptions knows no noise rate; fit one on "
                "marks: clear-pipeline calibrate RUN --marks FILE --out calibration.json"
            ) from None
        rate = fitted.marks.noise_rate.value
    if not 0 <= rate < 1:
        raise UsageError(f"--noise-rate {given}: expected a share from 0 to below 1")
    return rate


def _announce(plan: Plan, asked: Probe) -> None:
    """What will be asked, and what that costs."""
    expected = [forecast.words(asked.prices) for forecast in asked.forecasts(plan)]
    errors.print(
        Text(
            f"probe: {len(plan.originals)} of {plan.usable:,} rows and {len(plan.planted)} spoiled "
            f"versions; {'; or, if the endpoint scores no given text, '.join(expected)}"
        )
    )


def _given(options: Mapping[str, str | int | None], assign: Sequence[str]) -> list[str]:
    """Options of this probe that a run must have too, so that it is what was probed."""
    words = [[name, str(value)] for name, value in options.items() if value is not None]
    return [word for pair in [*words, *(["--set", text] for text in assign)] for word in pair]


def _next(
    data: Path, settings: Config, report: ProbeReport, file: Path | None, given: list[str]
) -> str:
    """The run with the same model; a larger probe; or, where it sees nothing, another model."""
    from clear_pipeline.probe.verdict import untold_by

    scorer = settings.model_for("scorer")
    recommended = report.recommended
    words = ["clear-pipeline", "run" if recommended else "probe", str(data)]
    if file is not None:
        words += ["--config", str(file)]
    if not recommended and not any(map(untold_by, report.presets)):
        return shlex.join([*words, *given, "--model", "NAME", "--base-url", "URL"])
    words += [*given, "--model", scorer.model]
    if scorer.base_url is not None:
        words += ["--base-url", scorer.base_url]
    if not recommended:
        return shlex.join([*words, "--rows", "200", "--per-corruption", "50"])
    out = str(Path("runs", data.resolve().name))
    return shlex.join([*words, "--out", out, "--preset", recommended])


def _fit(report: ProbeReport, place: Path) -> str | None:
    """Where no preset is recommended since signals are upside down: the command that turns them."""
    from clear_pipeline.probe.verdict import closest, inverted_by

    shown = closest(report.presets)
    if report.recommended or not inverted_by(shown):
        return None
    words = ["clear-pipeline", "calibrate", str(place / "probe.parquet"), "--out", "ranking.json"]
    several = ["--preset", shown.preset] if len(report.presets) > 1 else []
    return shlex.join([*words, *several])
