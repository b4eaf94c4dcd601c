"""`DATASET_CARD.md`: what the training files are, how they came about, and what they are not.

Names and texts that come from the data are escaped: they are shown, never rendered. Times, ports
and spend stay out, so that a resumed run writes the same card.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from clear_pipeline.durable import write_atomically
from clear_pipeline.export import RECTIFIED, REMOVED, ExportResult, ExportSettings
from clear_pipeline.manifest import Manifest, StageRecord
from clear_pipeline.schema import JSON, Fate, canonical_json

MAX_FILES: Final = 50
"""Source files that are listed; the others are counted."""
MAX_VALUE: Final = 500
"""Characters of one setting; a calibration's content is longer."""

_MEANINGS: Final[Mapping[Fate, str]] = MappingProxyType(
    {
        Fate.QUARANTINED: "could not be read as a training row",
        Fate.CONTAMINATED: "also stands in a set that is kept for testing",
        Fate.DUPLICATE: "another row says the same",
        Fate.UNSCORED: "no confidence could be computed",
        Fate.RECTIFIED: "exported with a new target, written by a model",
        Fate.FILTERED: "the model's confidence in its target is too low",
        Fate.KEPT: "exported as it was",
    }
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>&$:@])")


def escape(text: str) -> str:
    """Text as one line of Markdown that shows it and does nothing else."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def dataset_card(manifest: Manifest, settings: ExportSettings, result: ExportResult) -> str:
    """The card of one export.

    Args:
        manifest: Of the run; source, files, chain, models and fates are read.
        settings: Of the export.
        result: Of the export.
    """
    sections = [
        "# Dataset card",
        (
            f"Curated by clear-pipeline {escape(manifest.package_version)} with CLEAR (Chen & "
            "Mueller 2024, arXiv 2403.12776): a language model's confidence in each target "
            "decides what is kept, corrected or left out."
        ),
        *_contents(settings, result),
        *_source(manifest),
        *_stages(manifest),
        *_fates(manifest, settings, result),
        *_limits(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def write_card(
    path: Path, manifest: Manifest, settings: ExportSettings, result: ExportResult
) -> None:
    """Write `dataset_card` durably."""
    text = dataset_card(manifest, settings, result)

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _contents(settings: ExportSettings, result: ExportResult) -> list[str]:
    suffix = "parquet" if settings.format == "parquet" else "jsonl"
    files = [(f"train.{suffix}", result.train, "to train on")]
    if settings.valid_fraction:
        files.append((f"valid.{suffix}", result.valid, "held out"))
    files += [
        (REMOVED, result.removed, "left out, each with the reason and its source"),
        (RECTIFIED, result.rectified, "exported with a new target: the text before and after"),
    ]
    rows = ([f"`{name}`", str(count), what] for name, count, what in files)
    return [
        "## Files",
        _table(["file", "rows", "what"], rows),
        (
            f"Format: {settings.format}. Expected share held out: {settings.valid_fraction:g}, "
            f"chosen by a hash of the seed ({settings.seed}) and the row's duplicate cluster, or "
            "its content where it is in none: duplicates are never parted, and more data moves "
            "only rows that gain a duplicate."
        ),
    ]


def _source(manifest: Manifest) -> list[str]:
    listed = [
        [escape(f.path), escape(f.format), str(f.rows), str(f.quarantined), f"`{f.sha256[:12]}`"]
        for f in manifest.files[:MAX_FILES]
    ]
    sections = [
        "## Source",
        f"{escape(manifest.dataset)}, {len(manifest.files)} files.",
        _table(["file", "format", "rows", "quarantined", "sha256"], listed),
    ]
    if len(manifest.files) > MAX_FILES:
        sections.append(f"... and {len(manifest.files) - MAX_FILES} more files.")
    return sections


def _stages(manifest: Manifest) -> list[str]:
    records = [record for kind in manifest.chain if (record := manifest.stage(kind)) is not None]
    return ["## What was done", *(part for record in records for part in _stage(manifest, record))]


def _stage(manifest: Manifest, record: StageRecord) -> list[str]:
    sections = [f"### {escape(record.kind)}"]
    if record.models:
        served = (
            f"{escape(role)}: {escape(_model_name(manifest, role))} ({escape(identity)})"
            for role, identity in sorted(record.models.items())
        )
        sections.append(f"Model: {'; '.join(served)}.")
    values = (
        [escape(name), escape(_shown(value))]
        for name, value in record.settings.items()
        if name != "kind"
    )
    sections.append(_table(["setting", "value"], values))
    sections += [f"- {escape(note)}" for note in record.notes]
    return sections


def _model_name(manifest: Manifest, role: str) -> str:
    record = manifest.models.get(role)
    return record.model if record else "unknown"


def _shown(value: JSON) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    left = len(text) - MAX_VALUE
    return text if left <= 0 else f"{text[:MAX_VALUE]}… ({left} more characters in manifest.json)"


def _fates(manifest: Manifest, settings: ExportSettings, result: ExportResult) -> list[str]:
    total = sum(manifest.fates.values())
    counts = [(fate, manifest.fates.get(fate, 0)) for fate in Fate]
    rows = [
        [fate, str(count), f"{count / total:.1%}" if total else "-", _MEANINGS[fate]]
        for fate, count in counts
    ]
    sections = [
        "## What became of the rows",
        _table(["fate", "rows", "share", "meaning"], rows),
        f"Together {total} rows, each with one fate.",
    ]
    if result.inexpressible:
        sections.append(
            f"{result.inexpressible} rows were not filtered but cannot be written as "
            f"{settings.format}; `{REMOVED}` names them."
        )
    if settings.on_unscored == "keep" and manifest.fates.get(Fate.UNSCORED):
        sections.append("Unscored rows are among the exported ones, as the settings ask.")
    return sections


def _limits(manifest: Manifest) -> list[str]:
    limits = [
        (
            "Confidence is the model's own. It cannot check what it does not know: rows that it is "
            "surely wrong about stay, and right rows that it finds odd may be gone."
        ),
        "A threshold that keeps a fixed share says nothing about how many bad rows there were.",
        (
            "What is rare in the data may be filtered more than what is common; compare "
            f"`{REMOVED}` with the training file before you rely on balance."
        ),
        "The licence and the terms of the source data hold for what is exported of it.",
    ]
    if "decontaminate" in manifest.chain:
        limits.append(
            "Overlap with benchmarks is told by runs of equal words: a benchmark row in other "
            "words or another language is not found."
        )
    if manifest.fates.get(Fate.RECTIFIED):
        limits.insert(
            1,
            "Rectified targets were written by a model and judged by a model; no person has "
            f"checked them. The terms of that model hold for them. `{RECTIFIED}` has both texts.",
        )
    return ["## Limits", "\n".join(f"- {limit}" for limit in limits)]
