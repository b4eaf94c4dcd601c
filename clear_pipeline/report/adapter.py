"""From a run directory to the values that a report shows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from clear_pipeline.llm.batch.batch import usage_name
from clear_pipeline.llm.budget import count_of, dollars
from clear_pipeline.llm.meter import Totals
from clear_pipeline.report.calibration import calibration_of, shown
from clear_pipeline.report.cascade import cascade_lines
from clear_pipeline.report.data import (
    InputFile,
    ModelUse,
    Reason,
    ReportData,
    ShownRow,
    StageSettings,
    fair_shares,
)
from clear_pipeline.report.next_commands import next_commands
from clear_pipeline.report.opinion import opinion_line
from clear_pipeline.report.scores import (
    distribution,
    least_confident,
    threshold_of,
    tokens_of,
)
from clear_pipeline.report.threshold import compared_column
from clear_pipeline.report.words import PARTS, SCORE_PARTS, reason_kind
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate

MAX_ROWS: Final = 2_000
"""Rows that a report lists at most."""
_SHOWN: Final = frozenset(
    ("id", "fate", "reason", "confidence", "candidate", "response_diff", "duplicate_of", *PARTS)
)
"""Columns of the ledger that are shown of a listed row."""


def report_data(run: Run) -> ReportData:
    """Everything that the report of a finished run shows.

    Raises:
        UsageError: The run has no ledger yet.
    """
    fates = fate_counts(run)
    compared = compared_column(run)
    confidences = distribution(run, compared)
    # The report may be handed on: it does not tell where the run lies.
    here = Path(os.path.abspath(run.path)).name  # noqa: PTH100  # not where a link leads
    calibration = calibration_of(run)
    return ReportData(
        title=run.manifest.dataset,
        version=run.manifest.package_version,
        fates=fates,
        rows=_shown_rows(run),
        removed=sum(rows for fate, rows in fates.items() if fate is not Fate.KEPT),
        confidences=None if confidences is None else confidences.histogram,
        compared=compared,
        threshold=threshold_of(run),
        calibration=None if calibration is None else shown(calibration),
        parts=tuple(filter(None, (distribution(run, part) for part in SCORE_PARTS))),
        reasons=_reasons(run),
        files=_files(run),
        skipped=tuple((file.path, file.reason) for file in run.manifest.skipped),
        stages=tuple(_stages(run)),
        models=tuple(_models(run)),
        spend=run.spend(),
        tokens=tuple(tokens_of(run)),
        notes=(*notes_of(run), *cascade_lines(run), *filter(None, [opinion_line(run, where=here)])),
        commands=next_commands(run, where=here),
    )


def fate_counts(run: Run) -> dict[Fate, int]:
    """Rows by fate: every fate in order of precedence, zeros included."""
    return {fate: run.manifest.fates.get(fate, 0) for fate in Fate}


def notes_of(run: Run) -> tuple[str, ...]:
    """What load and the stages of the latest chain had to say, in order."""
    return tuple(note for stage in _chain(run) for note in stage.notes)


def _chain(run: Run) -> Iterator[Any]:
    for kind in run.manifest.chain:
        record = run.manifest.stage(kind)
        if record is not None:
            yield record


def _reasons(run: Run) -> tuple[Reason, ...]:
    """Kinds of reasons of all rows that are not kept, most rows first."""
    found: dict[tuple[Fate, str], list[Any]] = {}
    names = ("fate", "reason", "id")
    for batch in run.ledger_batches(names):
        changed = batch.filter(pc.not_equal(batch["fate"], Fate.KEPT))
        for fate, reason, row_id in zip(*(changed[n].to_pylist() for n in names), strict=True):
            found.setdefault((Fate(fate), reason_kind(reason)), [0, row_id])[0] += 1
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Reason(fate, kind, rows, row_id) for (fate, kind), (rows, row_id) in ordered)


def _files(run: Run) -> tuple[InputFile, ...]:
    counts: dict[str, Counter[Fate]] = {}
    for batch in run.ledger_batches(["file", "fate"]):
        rows = pa.Table.from_batches([batch]).group_by(["file", "fate"], use_threads=False)
        for line in rows.aggregate([("fate", "count")]).to_pylist():
            counts.setdefault(line["file"], Counter())[Fate(line["fate"])] += line["fate_count"]
    return tuple(
        InputFile(
            path=file.path,
            format=" ".join(part for part in (file.format, file.container) if part),
            fates=counts.get(file.path, {}),
            problems=tuple(file.problems),
        )
        for file in run.manifest.files
    )


def _stages(run: Run) -> Iterator[StageSettings]:
    for record in _chain(run):
        settings = {key: value for key, value in record.settings.items() if key != "kind"}
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""
        yield StageSettings(kind=record.kind, settings=text)


def _models(run: Run) -> Iterator[ModelUse]:
    totals = run.usage()
    for role, record in run.manifest.models.items():
        names = (record.model, usage_name(record.model))
        found = [totals[name] for name in names if name in totals]
        yield ModelUse(
            role=role,
            model=record.model,
            endpoint=record.endpoint,
            usage=usage_lines(sum(found, Totals())) if found else {},
        )


def usage_lines(totals: Totals) -> dict[str, str]:
    """What a model did, as label and printable number; zeros that say nothing are left out."""
    lines = {
        "requests": totals.requests,
        "… of them retries": totals.retries,
        **{f"… failed: {kind}": count for kind, count in totals.failures.items()},
        "questions without an answer": totals.failed,
        "answers from the run's cache": totals.cached_samples,
        "prompt tokens": totals.usage.prompt,
        "… read from the server's cache": totals.usage.cached,
        "completion tokens": totals.usage.completion,
    }
    shown = {label: f"{n:,}" for label, n in lines.items() if n or not label.startswith(("…", "q"))}
    shown["spend"] = "price not known" if totals.usd is None else f"${totals.usd:,.4f}"
    if lost := totals.unaccounted.calls:
        most = [count_of(totals.unaccounted.tokens, "token")]
        most += [dollars(totals.unaccounted)] if totals.unaccounted.nanodollars else []
        shown["unaccounted requests, at most"] = f"{lost:,}: {', '.join(most)}"
    return shown


def _shown_rows(run: Run) -> tuple[ShownRow, ...]:
    """Removed and rectified rows in input order; of too many, the least confident of each fate."""
    lines = _chosen(run)
    wanted = [line["id"] for line in lines if line["fate"] != Fate.QUARANTINED]
    texts = run.texts([*wanted, *filter(None, (line["duplicate_of"] for line in lines))])
    raw = raw_texts(run, {line["id"] for line in lines})
    rows = []
    for line in lines:
        text, keeper = texts.get(line["id"]), texts.get(line["duplicate_of"] or "")
        rows.append(
            ShownRow(
                id=line["id"],
                fate=Fate(line["fate"]),
                reason=line["reason"],
                confidence=line["confidence"],
                parts=scores(line),
                prompt="" if text is None else text.prompt,
                response=raw.get(line["id"], "") if text is None else text.response,
                candidate=line["candidate"],
                diff=line.get("response_diff"),
                keeper=line["duplicate_of"],
                keeper_response=None if keeper is None else keeper.response,
            )
        )
    return tuple(rows)


def scores(line: Mapping[str, Any]) -> dict[str, float]:
    """The scores that a ledger line has, by column."""
    return {name: line[name] for name in PARTS if line.get(name) is not None}


def raw_texts(run: Run, ids: Collection[str]) -> dict[str, str]:
    """What stands in the files for those of the rows that could not be read, by id."""
    return {entry["id"]: entry["text"] for entry in run.quarantined() if entry["id"] in ids}


def _chosen(run: Run) -> list[dict[str, Any]]:
    found = least_confident(run.ledger_batches(["fate", "confidence"]), MAX_ROWS)
    del found[Fate.KEPT]
    shares = fair_shares({fate: count for fate, (count, _) in found.items()}, MAX_ROWS)
    taken = [number for fate, (_, rows) in found.items() for number in rows[: shares[fate]]]
    return _lines(run, np.array(sorted(taken), np.int64))


def _lines(run: Run, numbers: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The ledger lines of these numbers, which ascend, with what is shown of them."""
    shown = [name for name in run.ledger_columns() if name in _SHOWN]
    lines: list[dict[str, Any]] = []
    start = 0
    for batch in run.ledger_batches(shown):
        here = numbers[np.searchsorted(numbers, start) :]
        here = here[: np.searchsorted(here, start + batch.num_rows)]
        lines += batch.take(pa.array(here - start)).to_pylist()
        start += batch.num_rows
    return lines
