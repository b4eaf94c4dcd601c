"""Training files for "does curation help?", all drawn from the same rows of one finished run.

Every arm chooses from the pool: the rows of the run that CLEAR could choose from. Quarantined,
contaminated, duplicate and unscored rows are in none, so that nothing but the choice tells the arms
apart. The controls are those of Chen & Mueller 2024 and have as many rows as Auto-Filter keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from clear_pipeline.durable import file_sha256, write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.export import RECTIFIED, REMOVED, ExportSettings, export
from clear_pipeline.ledger import fates
from clear_pipeline.run import Run
from clear_pipeline.schema import ROWS, Fate
from clear_pipeline.target import Directory

ARMS_FILE: Final = "arms.json"
ArmName: TypeAlias = Literal["full", "random-half", "rating-half", "auto-filter", "auto-correct"]

_QUESTION: Final = "rating"
"""The 1-5 judge among the questions of the score, see `prompts.reflection`."""
_POOL: Final = (Fate.RECTIFIED, Fate.FILTERED, Fate.KEPT)
_LAYOUT: Final = ExportSettings(format="openai", valid_fraction=0.0, extra_columns="drop")

_MEANINGS: Final[Mapping[ArmName, str]] = {
    "full": "all rows that CLEAR could choose from, as they are",
    "random-half": "as many as auto-filter, drawn at random",
    "rating-half": "as many as auto-filter, the best by a rating of 1 to 5",
    "auto-filter": "those that the filter keeps, as they are",
    "auto-correct": "those of auto-filter, and corrected rows with their new response",
}

_ABSENT: Final[Mapping[ArmName, str]] = {
    "rating-half": (
        "no row has a rating; run the same DATA with --stages dedup,score --preset fast "
        "--set 'score.reflection=[rating]', and name that run with --ratings"
    ),
    "auto-correct": "the run has no rectify; run it with --stages dedup,score,filter,rectify",
}
"""Why an arm is not there, and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSet(_Part):
    """One training file."""

    name: ArmName
    meaning: str
    rows: int
    rectified: int
    """Rows among them with a new response."""
    file: str
    """Relative to the directory."""
    sha256: str


class TrainingSets(_Part):
    """`arms.json`: what was written, and what was not."""

    schema_version: Literal[1] = 1
    run: str
    seed: int
    pool: int
    """Rows that every arm chooses from."""
    left_out: dict[str, int]
    """Rows of the run in no arm, by fate."""
    arms: tuple[TrainingSet, ...]
    absent: dict[str, str]
    """Arms that this run has no rows for, and why."""
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json")


class _Row(NamedTuple):
    """A row of the pool, and what CLEAR made of it."""

    id: str
    content: str
    keep: bool
    exported: bool


_Ratings: TypeAlias = Mapping[tuple[str, str], float]
"""By id and content, so that another run's ratings hold for the same rows alone."""


def training_sets(
    run: Run, out: Path, *, ratings: Run | None = None, seed: int = 0
) -> TrainingSets:
    """Write `ARM/train.jsonl` in OpenAI's format for every arm, and `arms.json`.

    Equal runs and seeds give equal bytes. What an earlier call wrote there is replaced.

    Args:
        run: A finished run with a filter.
        out: A directory, created if needed.
        ratings: A run over the same rows whose score asked `rating`; None = `run` itself.
        seed: Of the random half, and of the order of rows with the same rating.

    Raises:
        UsageError: A run has not finished, `run` has no filter, or training files lie there that
            this did not write.
    """
    _require_filtered(run, ratings)
    if out.resolve() == run.path.resolve():
        raise UsageError(f"{out}: is the run directory; name another one")
    pool, rated = list(_pool(run)), _ratings(ratings or run)
    chosen = _chosen(run, pool, rated, seed)
    for name in _ABSENT.keys() - chosen.keys():
        _delete(Directory(out / name))
    unrated = sum((row.id, row.content) not in rated for row in pool)
    some = f"{unrated:,} of {len(pool):,} rows have no rating and are in no rating-half"
    sets = TrainingSets(
        run=str(run.path),
        seed=seed,
        pool=len(pool),
        left_out={fate: run.manifest.fates.get(fate, 0) for fate in Fate if fate not in _POOL},
        arms=tuple(_written(run, out, name, ids) for name, ids in chosen.items()),
        absent={name: why for name, why in _ABSENT.items() if name not in chosen},
        remarks=(some,) if 0 < unrated < len(pool) else (),
    )
    write_text_atomically(out / ARMS_FILE, sets.model_dump_json(indent=1) + "\n")
    return sets


def _require_filtered(run: Run, ratings: Run | None) -> None:
    for each in (run, ratings):
        if each is not None and not each.manifest.finished:
            raise UsageError(f"{each.path}: not finished; run the same command again first")
    if "filter" not in run.manifest.chain:
        raise UsageError(
            f"{run.path}: has no filter, so there is no Auto-Filter to compare with; run it with "
            "--stages dedup,score,filter,rectify"
        )


def _pool(run: Run) -> Iterator[_Row]:
    for shard in run.shards():
        columns = [shard.table[name].to_pylist() for name in ("id", "content_hash", "keep")]
        for row_id, content, keep, fate in zip(*columns, fates(shard.table)[0], strict=True):
            if fate in _POOL:
                yield _Row(row_id, content, keep is True, fate in (Fate.KEPT, Fate.RECTIFIED))


def _ratings(run: Run) -> _Ratings:
    """Of the rows that were asked about; empty where the score has no such question."""
    found = {}
    for shard in run.shards(only=("score",)):
        if "reflections" not in shard.table.column_names:
            return {}
        columns = [shard.table[name].to_pylist() for name in ("id", "content_hash", "reflections")]
        for row_id, content, answers in zip(*columns, strict=True):
            rating = dict(answers or ()).get(_QUESTION)
            if rating is not None:
                found[row_id, content] = rating
    return found


def _chosen(
    run: Run, pool: Sequence[_Row], rated: _Ratings, seed: int
) -> dict[ArmName, frozenset[str]]:
    """The ids of each arm that the run has rows for."""

    def at_random(row: _Row) -> str:
        return hashlib.sha256(f"{seed}:{row.content}:{row.id}".encode()).hexdigest()

    size = sum(row.keep for row in pool)
    shuffled = sorted(pool, key=at_random)
    with_rating = [row for row in shuffled if (row.id, row.content) in rated]
    # Stable: rows of one rating stay shuffled.
    best = sorted(with_rating, key=lambda row: rated[row.id, row.content], reverse=True)
    arms: dict[ArmName, Iterable[_Row]] = {"full": pool, "random-half": shuffled[:size]}
    if best:
        arms["rating-half"] = best[:size]
    arms["auto-filter"] = (row for row in pool if row.keep)
    if "rectify" in run.manifest.chain:
        arms["auto-correct"] = (row for row in pool if row.exported)
    return {name: frozenset(row.id for row in rows) for name, rows in arms.items()}


def _delete(folder: Directory) -> None:
    """Delete what an earlier call exported there, and nothing else."""
    if folder.holds(REMOVED):
        for name in ("train.jsonl", RECTIFIED, REMOVED):  # the mark last
            folder.drop(name)


def _written(run: Run, out: Path, name: ArmName, ids: Collection[str]) -> TrainingSet:
    """Export these rows; all but auto-correct with the response that they came with."""
    wanted = pa.array(sorted(ids), pa.string())

    def tables() -> Iterator[pa.Table]:
        for shard in run.shards():
            table = shard.table.filter(pc.is_in(shard.table["id"], wanted))
            yield table if name == "auto-correct" else table.select(ROWS.names)

    result = export(tables(), (), out / name, _LAYOUT, own_columns=False)
    file = f"{name}/train.jsonl"
    return TrainingSet(
        name=name,
        meaning=_MEANINGS[name],
        rows=result.train,
        rectified=result.rectified,
        file=file,
        sha256=file_sha256(out / file),
    )
