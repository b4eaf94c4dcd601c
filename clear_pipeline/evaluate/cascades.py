"""What a cascade did for finding the rows that people marked as bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from clear_pipeline.evaluate.statistics import Estimate, paired_difference
from clear_pipeline.run import Run
from clear_pipeline.stages.band import band_around, into_band
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.confidence import Key, rank_keys
from clear_pipeline.stages.filter import Keep, kept_rows
from clear_pipeline.stages.ranking import Ranking

USUAL_BAND = float(Cascade.model_fields["band"].default)


@dataclass(frozen=True, slots=True)
class CascadeEffect:
    """AUROC with and without the draws of a cascade, on the same labelled rows.

    Attributes:
        rows: Labelled rows that have both scores.
        gained: AUROC of the cascade minus that of the cheap pass.
        lost: AUROC that a cascade of `band` would have, minus that of asking every row; known
            where every row was asked, else None.
        band: Share of the rows that this cascade would ask.
    """

    rows: int
    gained: Estimate
    lost: Estimate | None
    band: float = USUAL_BAND


def cascade_effect(run: Run, bad: Mapping[str, bool], *, resamples: int) -> CascadeEffect | None:
    """Measure it.

    Args:
        run: A finished run.
        bad: Labels by row id.
        resamples: Of the bootstrap.

    Returns:
        None where the chain has no cascade, or the labelled rows that it ranked are all good or
        all bad.
    """
    record = run.manifest.stage("cascade")
    if record is None or "cascade" not in run.manifest.chain:
        return None
    cheap: dict[str, Key] = {}
    final: dict[str, float] = {}
    asked = 0
    for shard in run.shards():
        table = shard.table
        asked += sum(step == "sampled" for step in table["cascade_step"].to_pylist())
        keys = rank_keys(table, table["confidence"])
        for key, cascaded in zip(keys, table["cascaded"].to_pylist(), strict=True):
            if cascaded is not None:
                cheap[key[2]], final[key[2]] = key, cascaded
    ids = [row for row in bad if row in final]
    labels = [bad[row] for row in ids]
    if len(set(labels)) < 2:  # noqa: PLR2004 -- good and bad
        return None
    scores = [final[row] for row in ids]
    lost = None
    if asked == len(final):
        keep: Keep = TypeAdapter(Keep).validate_python(record.settings["keep"])
        narrow = _cut_to(cheap, final, keep)
        lost = paired_difference([narrow[row] for row in ids], scores, labels, resamples=resamples)
    without = [cheap[row][0] for row in ids]
    gained = paired_difference(scores, without, labels, resamples=resamples)
    return CascadeEffect(rows=len(ids), gained=gained, lost=lost)


def _cut_to(cheap: Mapping[str, Key], full: Mapping[str, float], keep: Keep) -> dict[str, float]:
    """What a cascade of the usual band makes of the same answers, by row."""
    ranked = sorted(cheap.values(), reverse=True)
    ranking = Ranking.of_keys(ranked)
    scores = {row: key[0] for row, key in cheap.items()}
    band = band_around(ranking, kept=kept_rows(keep, ranking.ranked), share=USUAL_BAND)
    if band is not None:
        for rank in band.ranks:
            row = ranked[rank][2]
            scores[row] = into_band(full[row], low=band.low, high=band.high)
    return scores
