"""What the figures say, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clear_pipeline.evaluate.pairs import Sight
from clear_pipeline.probe.report import Finding, PresetReport


def recommend(presets: Sequence[PresetReport]) -> PresetReport | None:
    """The preset to use: the one that sees most faults, at least weakly.

    Clear sight counts before weak sight. Between presets that see as many, the higher mean win
    rate (to two digits) decides, then fewer tokens. None if no preset sees any fault.
    """
    able = [p for p in presets if _of(p, "sees it") or _of(p, "sees it weakly")]
    return max(able, key=_rank, default=None)


def _rank(preset: PresetReport) -> tuple[int, int, float, float]:
    rates = [f.win_rate.value for f in preset.findings if f.win_rate is not None]
    tokens = preset.cost.prompt_tokens + preset.cost.completion_tokens
    seen, weakly = len(_of(preset, "sees it")), len(_of(preset, "sees it weakly"))
    return seen, weakly, round(sum(rates) / len(rates), 2), -tokens


def words(model: str, presets: Sequence[PresetReport]) -> tuple[str, ...]:
    """The verdict, a line per thought, the advice first."""
    best = recommend(presets)
    if best is None:
        return (_nothing_seen(model, presets), *_limits(model, presets[0]))
    seen = _of(best, "sees it")
    advice = f"Use --preset {best.preset}"
    if seen:
        first = f"{advice}: with it {model} sees {_listed(f.plural for f in seen)}."
    else:
        first = f"{advice}, but {model} sees nothing clearly with it: better use a stronger model."
    others = (line for preset in presets if preset is not best for line in _sees_more(preset, best))
    return (first, *_limits(model, best), *others)


def _nothing_seen(model: str, presets: Sequence[PresetReport]) -> str:
    told = any(f.sight in ("blind", "inverted") for p in presets for f in p.findings)
    names = _listed(p.preset for p in presets)
    if not told:
        return f"Too few rows to say what {model} sees with preset {names}: probe more rows."
    return f"{model} sees none of the planted faults with preset {names}: use a stronger model."


def _limits(model: str, preset: PresetReport) -> list[str]:
    """What the model cannot do, sees weakly, or turns upside down, and what is not known."""
    lines = []
    if blind := _of(preset, "blind"):
        lines.append(
            f"{model} cannot {_listed((f.ability for f in blind), 'or')}: it cannot see "
            f"{_listed(_with_rate(f) for f in blind)}. Where that matters, use a stronger model."
        )
    if inverted := _of(preset, "inverted"):
        lines.append(
            f"{model} prefers {_listed(_with_rate(f) for f in inverted)} to the responses that "
            f"were there: preset {preset.preset} would keep such rows and drop good ones."
        )
    if weak := _of(preset, "sees it weakly"):
        lines.append(f"It sees {_listed(_with_rate(f) for f in weak)} only weakly.")
    if unknown := [f for f in _of(preset, "too few rows to say") if f.planted]:
        lines.append(f"Too few rows to say about {_listed(_with_count(f) for f in unknown)}.")
    if absent := [f for f in preset.findings if not f.planted]:
        lines.append(f"Could not be planted in this sample: {_listed(f.plural for f in absent)}.")
    return lines


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
