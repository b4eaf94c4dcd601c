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
    corrected = report.noise_rate is not None
    table.add_column("planted", min_width=16)
    table.add_column("rows", justify="right")
    table.add_column("win rate\n[95 %]", justify="right", no_wrap=True)
    kind = "corrected\nAUROC" if corrected else "AUROC"
    table.add_column(f"{kind}\n[95 %]", justify="right", no_wrap=True)
    table.add_column("the model", no_wrap=True)
    for finding in preset.findings:
        table.add_row(
            finding.plural,
            str(finding.n),
            _interval(finding.win_rate),
            _interval(finding.auroc_corrected if corrected else finding.auroc),
            _sight(finding),
        )
    return table


def _sight(finding: Finding) -> str:
    return finding.sight if finding.planted else "could not be planted"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.2f}\n[{estimate.low:.2f}, {estimate.high:.2f}]"


def _remarks(preset: PresetReport, report: ProbeReport) -> list[str]:
    lines = [f"1,000 rows: {_price(preset.cost)}"]
    lines.append(_correction(preset, report.noise_rate))
    for reason, count in preset.unscored.items():
        lines.append(f"{count} rows unscored: {one_line(reason, 200)}")
    return lines


def _correction(preset: PresetReport, noise_rate: float | None) -> str:
    if noise_rate is not None:
        return f"AUROC corrected for {noise_rate:.1%} bad originals, as given."
    line = (
        "AUROC is uncorrected: bad originals pull it towards 0.5, so above 0.5 it is a lower "
        "bound. Correct it with --noise-rate P, or a file of clear-pipeline calibrate --marks."
    )
    if preset.noise_at_most is None or preset.noise_at_most >= 1:
        return line
    return (
        f"{line} At most {preset.noise_at_most:.0%} of them are as bad as responses of other rows."
    )


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
