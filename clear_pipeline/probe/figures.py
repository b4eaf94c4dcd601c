"""From scored rows to figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.corruptions import CORRUPTIONS, Corruption
from clear_pipeline.evaluate.pairs import noise_bound, paired, sight
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices
from clear_pipeline.probe.plan import ProbeSettings
from clear_pipeline.probe.report import Cost, Finding, PresetReport
from clear_pipeline.probe.scored import Spent
from clear_pipeline.stages.score import Score

_PER = 1000


def preset_report(
    table: pa.Table,
    spent: Spent,
    *,
    stage: Score,
    settings: ProbeSettings,
    prices: Prices | None,
    earlier_minutes: float | None = None,
) -> PresetReport:
    """All figures about one preset.

    Args:
        table: From `score_plan`.
        spent: On the originals, from `score_plan`.
        stage: The settings that scored it.
        settings: Of the probe.
        prices: Of the model; None = not known.
        earlier_minutes: Minutes per 1,000 rows of an earlier probe, used where all answers came
            from the cache.
    """
    originals = _confidences(table.filter(pc.is_null(table["corruption"])))
    failed = table.filter(pc.equal(table["score_status"], "unscored"))
    findings = tuple(
        _finding(corruption, _rows_of(table, corruption.name), originals, settings)
        for corruption in CORRUPTIONS.values()
    )
    return PresetReport(
        preset=stage.preset,
        settings=stage.model_dump(mode="json"),
        originals=len(originals),
        scored_originals=sum(value is not None for value in originals.values()),
        unscored=dict(Counter(failed["score_error"].to_pylist()).most_common()),
        findings=findings,
        cost=_cost(spent, len(originals), prices, earlier_minutes),
        noise_at_most=_noise_at_most(_rows_of(table, "other_row"), originals),
    )


def _confidences(table: pa.Table) -> dict[str, float | None]:
    ids, values = table["original_id"].to_pylist(), table["confidence"].to_pylist()
    return dict(zip(ids, values, strict=True))


def _rows_of(table: pa.Table, corruption: str) -> dict[str, float | None]:
    return _confidences(table.filter(pc.equal(table["corruption"], corruption)))


def _finding(
    corruption: Corruption,
    spoiled: Mapping[str, float | None],
    originals: Mapping[str, float | None],
    settings: ProbeSettings,
) -> Finding:
    pairs = [
        (value, originals[row])
        for row, value in spoiled.items()
        if value is not None and originals[row] is not None
    ]
    found = None
    if pairs:
        low, high = zip(*pairs, strict=True)
        found = paired(low, high, noise_rate=settings.noise_rate or 0.0, seed=settings.seed)
    corrected = None if settings.noise_rate is None else found
    return Finding(
        corruption=corruption.name,
        plural=corruption.plural,
        explanation=corruption.explanation,
        ability=corruption.ability,
        planted=len(spoiled),
        n=len(pairs),
        win_rate=None if found is None else found.win_rate,
        auroc=None if found is None else found.auroc,
        auroc_corrected=None if corrected is None else corrected.corrected,
        sight="too few rows to say" if found is None else sight(found.n, found.win_rate),
    )


def _noise_at_most(
    others: Mapping[str, float | None], originals: Mapping[str, float | None]
) -> float | None:
    spoiled = [value for value in others.values() if value is not None]
    good = [value for value in originals.values() if value is not None]
    return noise_bound(spoiled, good) if spoiled and good else None


def _cost(spent: Spent, rows: int, prices: Prices | None, earlier_minutes: float | None) -> Cost:
    usage = spent.usage
    return Cost(
        prompt_tokens=_PER * usage.prompt / rows,
        cached_tokens=_PER * usage.cached / rows,
        completion_tokens=_PER * usage.completion / rows,
        usd=None if prices is None else _PER * cost(usage, prices) / rows,
        minutes=earlier_minutes if spent.seconds is None else _PER * spent.seconds / 60,
    )
