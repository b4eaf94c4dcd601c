"""What the figures say, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clear_pipeline.evaluate.pairs import Sight
from clear_pipeline.probe.report import Finding, PresetReport


def recommend(presets: Sequence[PresetReport]) -> PresetReport | None:
    """The preset to use: the one that sees most faults, less those that it turns upside down.

    Clear sight counts before weak sight. Between presets that are equal, the higher mean win rate
    (to two digits) decides, then fewer tokens. None if every preset turns as many faults upside
    down as it sees, at least weakly: its confidence would keep what it should drop.
    """
    able = [p for p in presets if len(seen_by(p)) > len(inverted_by(p))]
    return max(able, key=_rank, default=None)


def closest(presets: Sequence[PresetReport]) -> PresetReport:
    """The recommended preset, or the one that comes closest to it."""
    return recommend(presets) or max(presets, key=_rank)


def seen_by(preset: PresetReport) -> list[Finding]:
    """The faults that it sees, at least weakly."""
    return [*_of(preset, "sees it"), *_of(preset, "sees it weakly")]


def inverted_by(preset: PresetReport) -> list[Finding]:
    """The faults that it prefers to what was there."""
    return _of(preset, "inverted")


def untold_by(preset: PresetReport) -> list[Finding]:
    """The faults that were planted in too few rows to say."""
    return [finding for finding in _of(preset, "too few rows to say") if finding.planted]


def _rank(preset: PresetReport) -> tuple[int, int, float, float]:
    rates = [f.win_rate.value for f in preset.findings if f.win_rate is not None]
    tokens = preset.cost.prompt_tokens + preset.cost.completion_tokens
    inverted = len(inverted_by(preset))
    clear, seen = len(_of(preset, "sees it")) - inverted, len(seen_by(preset)) - inverted
    return clear, seen, round(sum(rates) / max(len(rates), 1), 2), -tokens


def words(model: str, presets: Sequence[PresetReport]) -> tuple[str, ...]:
    """The verdict, a line per thought, the advice first."""
    best = recommend(presets)
    if best is None:
        return _none_recommended(model, presets)
    clear = _of(best, "sees it")
    advice = f"Use --preset {best.preset}"
    if clear:
        first = f"{advice}: with it {model} sees {_listed(f.plural for f in clear)}."
    else:
        first = f"{advice}, but {model} sees nothing clearly with it: better use a stronger model."
    others = (line for preset in presets if preset is not best for line in _sees_more(preset, best))
    return (first, *_limits(model, best), *others, *_fit(presets, best))


def _none_recommended(model: str, presets: Sequence[PresetReport]) -> tuple[str, ...]:
    """Why none, then what is known of the preset that comes closest."""
    shown = closest(presets)
    lines = [_why_none(model, presets)]
    if len(presets) > 1:
        lines.append(f"Preset {shown.preset} comes closest.")
    if clear := _of(shown, "sees it"):
        lines.append(f"It sees {_listed(_with_rate(f) for f in clear)}.")
    return (*lines, *_limits(model, shown), *_fit(presets, shown))


def _why_none(model: str, presets: Sequence[PresetReport]) -> str:
    names = _listed((p.preset for p in presets), "or")
    if any(map(seen_by, presets)):
        return (
            f"No preset is recommended: with preset {names} {model} prefers as many kinds of fault "
            "as it sees, or more."
        )
    told = [f for p in presets for f in p.findings if f.sight in ("blind", "inverted")]
    if not told:
        return f"Too few rows to say what {model} sees with preset {names}: probe more rows."
    if any(map(untold_by, presets)):
        return (
            f"With preset {names} {model} is not seen to notice any of the planted faults, but "
            "some were planted in too few rows to say: probe more rows, or use a stronger model."
        )
    return f"{model} sees none of the planted faults with preset {names}: use a stronger model."


def _limits(model: str, preset: PresetReport) -> list[str]:
    """What the model cannot do, sees weakly, or turns upside down, and what is not known."""
    lines = []
    if blind := _of(preset, "blind"):
        lines.append(
            f"{model} cannot {_listed((f.ability for f in blind), 'or')}: it cannot see "
            f"{_listed(_with_rate(f) for f in blind)}. Where that matters, use a stronger model."
        )
    if inverted := inverted_by(preset):
        lines.append(
            f"{model} prefers {_listed(_with_rate(f) for f in inverted)} to the responses that "
            f"were there: preset {preset.preset} would keep such rows and drop good ones."
        )
    if weak := _of(preset, "sees it weakly"):
        lines.append(f"It sees {_listed(_with_rate(f) for f in weak)} only weakly.")
    if unknown := untold_by(preset):
        lines.append(f"Too few rows to say about {_listed(_with_count(f) for f in unknown)}.")
    if absent := [f for f in preset.findings if not f.planted]:
        lines.append(f"Could not be planted in this sample: {_listed(f.plural for f in absent)}.")
    return lines


def _fit(presets: Sequence[PresetReport], shown: PresetReport) -> list[str]:
    """Where signals are upside down: the command that fits them, and what it can do."""
    if not inverted_by(shown):
        return []
    which = f" --preset {shown.preset}" if len(presets) > 1 else ""
    command = f"clear-pipeline calibrate PROBE/probe.parquet --out ranking.json{which}"
    gain = "turns those that are upside down, and shows what it brings."
    return [f"{command} (PROBE: its directory) fits the parts of the score to these rows, {gain}"]


def _sees_more(preset: PresetReport, best: PresetReport) -> list[str]:
    clear = {f.corruption for f in _of(best, "sees it")}
    more = [f for f in _of(preset, "sees it") if f.corruption not in clear]
    if not more:
        return []
    return [f"Preset {preset.preset} also sees {_listed(f.plural for f in more)}."]


def _of(preset: PresetReport, sight: Sight) -> list[Finding]:
    return [finding for finding in preset.findings if finding.sight == sight]


def _with_rate(finding: Finding) -> str:
    return (
        f"{finding.plural} ({finding.win_rate.value:.2f})" if finding.win_rate else finding.plural
    )


def _with_count(finding: Finding) -> str:
    return f"{finding.plural} ({finding.n} rows)"


def _listed(parts: Iterable[str], last: str = "and") -> str:
    *others, final = parts
    return f"{', '.join(others)} {last} {final}" if others else final
