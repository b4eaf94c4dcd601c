"""What the command line shows of a run: summary, status, rows of a fate, one row explained.

Each view has two forms: rich renderables for people and, as `*_json`, plain values for scripts.
Dataset text is shown as it is, never as markup, and no control character reaches the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clear_pipeline.errors import UsageError
from clear_pipeline.report.adapter import (
    fate_counts,
    notes_of,
    raw_texts,
    usage_lines,
)
from clear_pipeline.report.cascade import cascade_table, cascade_use, moved_warning
from clear_pipeline.report.data import TOKEN_HEADS
from clear_pipeline.report.next_commands import from_here, next_commands
from clear_pipeline.report.opinion import opinion_line
from clear_pipeline.report.scores import tokens_of
from clear_pipeline.report.text import number, one_line, visible
from clear_pipeline.report.words import FATES
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from clear_pipeline.store import holder_of

SHOWN_TEXT: Final = 4_000
"""Characters of one text that `explain` prints."""
_CELL: Final = 60


def summary(run: Run) -> RenderableType:
    """The table at the end of a run: every fate that occurs, calls and spend, what was written."""
    return Group(
        _fates_table(run),
        *_refinements(run),
        *_token_tables(run),
        *_usage_tables(run),
        _files_table(run),
    )


def status(run: Run) -> RenderableType:
    """Where a run stands: fates or the steps that are done, spend, notes."""
    parts: list[RenderableType] = []
    if run.manifest.finished:
        parts += [_fates_table(run), *_refinements(run)]
    else:
        parts += [_steps_table(run), Text(visible(_way_on(run)))]
    parts += _usage_tables(run)
    if not run.manifest.finished and (revised := run.manifest.revised_estimate):
        parts.append(Text(visible(revised["line"])))
    parts += [Text(visible(note)) for note in notes_of(run)]
    return Group(*parts)


def _way_on(run: Run) -> str:
    """Of a run that is not finished: who is at work on it, or how it goes on."""
    going_on = "the same run, with the same --out, goes on from here"
    holder = holder_of(run.path)
    if holder is None:
        return going_on
    running = f"running, process {holder.process} on {holder.host} since {holder.since}"
    return running if holder.is_here else f"{running}; once it has ended, {going_on}"


def status_json(run: Run) -> dict[str, Any]:
    """The same as plain values."""
    manifest = run.manifest
    use = cascade_use(run) if manifest.finished else None
    return {
        "run": str(run.path),
        "version": manifest.package_version,
        "dataset": manifest.dataset,
        "finished": manifest.finished,
        "held_by": None if (holder := holder_of(run.path)) is None else holder._asdict(),
        "read": manifest.counts(),
        "rows": _input_rows(run),
        "fates": {str(fate): count for fate, count in fate_counts(run).items()},
        "stages": [
            {
                "kind": kind,
                "shards_done": done,
                "shards": len(manifest.shards),
                "failed": 0 if record is None else sum(p.failed for p in record.parts.values()),
            }
            for kind, done in _steps(run)
            for record in [manifest.stage(kind)]
        ],
        "models": {role: model.model_dump() for role, model in manifest.models.items()},
        "usage": {model: total.to_json() for model, total in run.usage().items()},
        "budget": manifest.budget,
        "spend": run.spend(),
        "revised_estimate": manifest.revised_estimate or None,
        "skipped": [{"path": f.path, "reason": f.reason} for f in manifest.skipped],
        "export": manifest.export,
        "cascade": None if use is None else use.to_json(),
        "notes": list(notes_of(run)),
        "next": _next(run),
    }


def _next(run: Run) -> list[str]:
    if run.manifest.finished:
        return [command for _, command in next_commands(run)]
    return [command for command in [from_here(run)] if command is not None]


def rows(
    run: Run, *, fate: str | None = None, limit: int = 20, sort: str | None = None
) -> RenderableType:
    """Rows of a fate in input order: id, confidence, reason, the start of prompt and response.

    Args:
        run: A finished run.
        fate: Only its rows; None = all.
        limit: At most so many.
        sort: A column of numbers by which rows are listed instead, the largest first.

    Raises:
        UsageError: There is no such fate or column, or the run has no ledger yet.
    """
    found = rows_json(run, fate=fate, limit=limit, sort=sort)
    total = sum(fate_counts(run).values()) if fate is None else fate_counts(run)[Fate(fate)]
    title = f"{fate or 'all'}: {len(found):,} of {total:,} rows"
    table = Table(title=title, title_justify="left")
    table.add_column("id", overflow="fold")
    if fate is None:
        table.add_column("fate")
    numbers = list(dict.fromkeys(["confidence", *([sort] if sort else [])]))
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("prompt -> response", overflow="fold")
    for row in found:
        texts = f"{one_line(row['prompt'], _CELL)} -> {one_line(row['response'], _CELL)}"
        cells = [Text(visible(row["id"]))]
        if fate is None:
            cells.append(Text(row["fate"]))
        cells += [Text(number(row[name])) for name in numbers]
        cells += [Text(one_line(row["reason"], 200)), Text(texts)]
        table.add_row(*cells)
    return table


def rows_json(
    run: Run, *, fate: str | None = None, limit: int = 20, sort: str | None = None
) -> list[dict[str, Any]]:
    """The same as plain values, texts uncut."""
    columns = ["id", "fate", "confidence", "reason"]
    ledger = run.ledger(list(dict.fromkeys([*columns, *([sort] if sort else [])])), fate=fate)
    if sort is not None:
        ledger = _largest_first(ledger, sort)
    found: list[dict[str, Any]] = ledger.slice(0, limit).to_pylist()
    texts = run.texts([row["id"] for row in found])
    raw = raw_texts(run, {row["id"] for row in found})
    for row in found:
        text = texts.get(row["id"])
        row["prompt"] = "" if text is None else text.prompt
        row["response"] = raw.get(row["id"], "") if text is None else text.response
        row["new_response"] = None if text is None else text.new_response
    return found


def _largest_first(ledger: pa.Table, column: str) -> pa.Table:
    """By a column of numbers; rows without one are left out."""
    values = ledger[column]
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise UsageError(f"{column} is no column of numbers; try confidence or disagreement")
    there = ledger.filter(pc.is_valid(values))
    return there.sort_by([(column, "descending"), ("id", "ascending")])


def _fates_table(run: Run) -> Table:
    total = _input_rows(run)
    title = Text(f"{visible(run.manifest.dataset)}: {total:,} rows")
    table = Table(title=title, title_justify="left")
    table.add_column("fate")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    table.add_column("meaning")
    for fate, count in fate_counts(run).items():
        if count:
            share = f"{count / total:.1%}"
            table.add_row(str(fate), f"{count:,}", share, FATES[fate].meaning)
    return table


def _refinements(run: Run) -> Iterator[RenderableType]:
    """What cascade and second opinion came to."""
    use = cascade_use(run)
    if use is not None:
        yield cascade_table(use)
    if warning := moved_warning(run):
        yield Text(visible(f"warning: {warning}"))
    if line := opinion_line(run):
        yield Text(visible(line))


def _steps(run: Run) -> Iterator[tuple[str, int]]:
    for kind in run.manifest.chain:
        record = run.manifest.stage(kind)
        yield kind, 0 if record is None else len(record.parts)


def _steps_table(run: Run) -> Table:
    shards = len(run.manifest.shards)
    table = Table(title="not finished", title_justify="left")
    table.add_column("step")
    table.add_column("shards done", justify="right")
    table.add_row("load", f"{shards:,}")
    for kind, done in _steps(run):
        table.add_row(kind, f"{done:,} of {shards:,}")
    return table


def _usage_tables(run: Run) -> Iterator[RenderableType]:
    for model, totals in run.usage().items():
        title = Text(f"model {visible(model)}")
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for label, value in usage_lines(totals).items():
            table.add_row(label, value)
        yield table
    if spend := run.spend():
        yield Text(f"spent over all resumes: {spend}")


def _token_tables(run: Run) -> Iterator[Table]:
    if tokens := tuple(tokens_of(run)):
        table = Table(title="tokens of the score", title_justify="left")
        for head in TOKEN_HEADS:
            table.add_column(head, justify="left" if head == TOKEN_HEADS[0] else "right")
        for part in tokens:
            table.add_row(part.part, *part.cells)
        yield table


def _files_table(run: Run) -> Table:
    export = run.manifest.export
    table = Table(title="written", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for path, what in (
        ("export", f"{export['train']:,} rows to train on, {export['valid']:,} held out"),
        ("export/removed.jsonl", f"{_left_out(export['removed'])}, with reasons"),
        ("ledger.parquet", "every input row: fate, reason, scores"),
        ("report.html", "the whole run on one page"),
        ("DATASET_CARD.md", "what was done, for those who train on it"),
    ):
        table.add_row(Text(visible(str(run.path / path))), what)
    return table


def _left_out(rows: int) -> str:
    return "1 row that was left out" if rows == 1 else f"{rows:,} rows that were left out"


def _input_rows(run: Run) -> int:
    return sum(file.rows + file.quarantined for file in run.manifest.files)
