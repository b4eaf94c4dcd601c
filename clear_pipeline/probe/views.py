"""What the command line shows of a probe."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.probe.report import Cost, Finding, PresetReport, ProbeReport
from clear_pipeline.report.text import one_line, visible


def summary(report: ProbeReport) -> RenderableType:
    """A table per preset, what it costs, then the verdict."""
    parts: list[RenderableType] = []
    for preset in report.presets:
        parts += [_table(preset, report), *(Text(line) for line in _remarks(preset, report)), ""]
    parts += [Text(visible(line), style="bold" if n == 0 else "") for n, line in
              enumerate(report.verdict)]  # fmt: skip
    return Group(*parts)


def _table(preset: PresetReport, report: ProbeReport) -> Table:
    table = Table(
        title=f"{one_line(report.model, 60)}, preset {preset.preset}: "
        f"{preset.scored_originals} rows of {one_line(report.dataset, 60)}",
        title_justify="left",
    )
    table.add_column("planted", min_width=18)
    table.add_column("rows", justify="right")
    table.add_column("win rate [95 %]", justify="right", no_wrap=True)
    corrected = report.noise_rate is not None
    table.add_column("AUROC, corrected" if corrected else "AUROC", justify="right")
    table.add_column("the model", no_wrap=True)
    for finding in preset.findings:
        auroc = finding.auroc_corrected if corrected else finding.auroc
        table.add_row(
            finding.plural,
            str(finding.n),
            _interval(finding.win_rate),
            "-" if auroc is None else f"{auroc.value:.2f}",
            _sight(finding),
        )
    return table


def _sight(finding: Finding) -> str:
    return finding.sight if finding.planted else "could not be planted"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _remarks(preset: PresetReport, report: ProbeReport) -> list[str]:
    lines = [f"1,000 rows: {_price(preset.cost)}"]
    if report.noise_rate is not None:
        lines.append(f"AUROC corrected for {report.noise_rate:.0%} bad rows, as given.")
    elif preset.noise_at_most is not None and preset.noise_at_most < 1:
        lines.append(
            "AUROC as seen: bad rows among the originals pull it towards 0.5. At most "
            f"{preset.noise_at_most:.0%} of the rows can be as bad as responses of other rows; "
            "--noise-rate corrects for what you know."
        )
    for reason, count in preset.unscored.items():
        lines.append(f"{count} rows unscored: {one_line(reason, 200)}")
    return lines


def _price(cost: Cost) -> str:
    parts = [
        f"{cost.prompt_tokens:,.0f} prompt tokens ({cost.cached_tokens:,.0f} cached)",
        f"{cost.completion_tokens:,.0f} completion tokens",
        _dollars(cost.usd),
        "time not measured" if cost.minutes is None else f"{cost.minutes:,.1f} minutes",
    ]
    return ", ".join(parts)


def _dollars(usd: float | None) -> str:
    if usd is None:
        return "price not known"
    return f"${usd:,.4f}" if usd else "free of charge"
