"""`clear-pipeline probe`: can this model tell bad rows from good ones in this data?"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from clear_pipeline.cli.consent import introduce
from clear_pipeline.cli.console import Json, errors, next_command, output, print_json
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.options import CapOptions, Data, SourceOptions, Yes
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.load import data_name
from clear_pipeline.remote import local_directory
from clear_pipeline.stages.score import Score

if TYPE_CHECKING:
    from clear_pipeline.probe import Probe, ProbeReport, ProbeSettings
    from clear_pipeline.probe.plan import Plan


_MORE_ROWS: Final = 200
_MORE_PLANTED: Final = 50
"""What a larger probe has at least."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """What is planted where, and whose scores see it."""

    preset: Annotated[list[str] | None, typer.Option(help="Repeat it to compare several.")] = None
    rows: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 50
    per_corruption: Annotated[
        int, typer.Option(min=1, help="Rows that each corruption is planted in, at most.")
    ] = 20
    noise_rate: Annotated[
        str | None,
        typer.Option(
            metavar="P|FILE",
            help="Share of the rows that are bad, or a file of `clear-pipeline calibrate --marks`.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Of the sample and the corruptions.")] = 0

    def configs(self, source: SourceOptions, caps: CapOptions) -> list[Config]:
        """One for each preset, or that of the config."""
        flags, names = source.flags() | caps.flags(), self.preset or (None,)
        return [
            build_config(
                source.config,
                flags=flags,
                stages=["score"],
                preset=name,
                assignments=source.assignments,
            )
            for name in names
        ]

    def settings(self) -> ProbeSettings:
        """As settings of a probe."""
        from clear_pipeline.probe import ProbeSettings  # scikit-learn: seconds

        return ProbeSettings(
            rows=self.rows,
            per_corruption=self.per_corruption,
            noise_rate=None if self.noise_rate is None else _noise_rate(self.noise_rate),
            seed=self.seed,
        )

    def larger(self, plan: Plan, out: Path | None) -> list[str]:
        """Options of a larger probe in the same directory; none where the data has no more rows.

        Args:
            plan: Of this probe.
            out: Its directory, as it was typed.
        """
        if self.rows > len(plan.originals) <= self.per_corruption:
            return []
        options = [
            ("--rows", max(_MORE_ROWS, 2 * self.rows)),
            ("--per-corruption", max(_MORE_PLANTED, 2 * self.per_corruption)),
            *(("--preset", name) for name in self.preset or ()),
            ("--noise-rate", self.noise_rate),
            ("--seed", self.seed or None),
            ("--out", out),
        ]
        return [str(word) for pair in options if pair[1] is not None for word in pair]


@grouped
def probe(
    data: Data,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=local_directory,
            metavar="PATH",
            help="Directory of the probe; default runs/probe-NAME.",
        ),
    ] = None,
    source: SourceOptions,
    sample: SampleOptions,
    caps: CapOptions,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Spoil rows of DATA in known ways and measure whether the model notices."""
    from clear_pipeline.probe import Probe  # scikit-learn: seconds
    from clear_pipeline.probe.views import summary

    configs = sample.configs(source, caps)
    scores = [stage for each in configs for stage in each.stages if isinstance(stage, Score)]
    asked = Probe(configs[0], scores, sample.settings(), progress=TerminalProgress(errors))
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
    larger = sample.larger(plan, out)
    next_command(_fit(report, place) or _next(data, configs[0], report, source, larger=larger))


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


def _given(source: SourceOptions) -> list[str]:
    """Options of this probe that a run must have too, so that it is what was probed."""
    options = {"--map": ",".join(source.mapping or ()) or None, "--limit": source.limit}
    words = [[name, str(value)] for name, value in options.items() if value is not None]
    assigned = [["--set", text] for text in source.assignments]
    return [word for pair in [*words, *assigned] for word in pair]


def _next(
    data: str,
    settings: Config,
    report: ProbeReport,
    source: SourceOptions,
    *,
    larger: Sequence[str],
) -> str:
    """The run with the same model; a larger probe; or, where it sees nothing, another model."""
    from clear_pipeline.probe.verdict import untold_by

    scorer = settings.model_for("scorer")
    recommended = report.recommended
    words = ["clear-pipeline", "run" if recommended else "probe", data]
    if source.config is not None:
        words += ["--config", str(source.config)]
    if not recommended and not (larger and any(map(untold_by, report.presets))):
        return shlex.join([*words, *_given(source), "--model", "NAME", "--base-url", "URL"])
    words += [*_given(source), "--model", scorer.model]
    if scorer.base_url is not None:
        words += ["--base-url", scorer.base_url]
    if not recommended:
        return shlex.join([*words, *larger])
    out = str(Path("runs", data_name(data)))
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
