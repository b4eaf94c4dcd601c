"""What the command line shows of a run: summary, status, rows of a fate, one row explained.

Each view has two forms: rich renderables for people and, as `*_json`, plain values for scripts.
Dataset text is shown as it is, never as markup, and no control character reaches the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.budget import Totals
from clear_pipeline.report.adapter import (
    fate_counts,
    next_commands,
    notes_of,
    part_tokens,
    usage_lines,
)
from clear_pipeline.report.cascade import cascade_table, cascade_use, moved_warning
from clear_pipeline.report.data import TOKEN_HEADS
from clear_pipeline.report.diff import Segment, word_diff
from clear_pipeline.report.opinion import opinion_line
from clear_pipeline.report.text import cut, one_line, visible
from clear_pipeline.report.words import DETAILS, FATES, PARTS, USAGE_COLUMNS
from clear_pipeline.run import RowText, Run
from clear_pipeline.schema import Fate

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
    """Where a run stands: fates or the steps that are done, spend, notes, the next command."""
    parts: list[RenderableType] = []
    if run.manifest.finished:
        parts += [_fates_table(run), *_refinements(run)]
    else:
        parts.append(_steps_table(run))
    parts += _usage_tables(run)
    parts += [Text(visible(note)) for note in notes_of(run)]
    if run.manifest.finished:
        parts += [Text(f"next: {visible(command)}") for _, command in next_commands(run)[:1]]
    else:
        parts.append(Text("next: the same clear-pipeline run command resumes it"))
    return Group(*parts)


def status_json(run: Run) -> dict[str, Any]:
    """The same as plain values."""
    manifest = run.manifest
    use = cascade_use(run) if manifest.finished else None
    return {
        "run": str(run.path),
        "dataset": manifest.dataset,
        "finished": manifest.finished,
        "rows": _input_rows(run),
        "fates": {str(fate): count for fate, count in fate_counts(run).items()},
        "stages": [
            {"kind": kind, "shards_done": done, "shards": len(manifest.shards)}
            for kind, done in _steps(run)
        ],
        "models": {role: model.model_dump() for role, model in manifest.models.items()},
        "usage": manifest.usage,
        "skipped": [file.model_dump() for file in manifest.skipped],
        "export": manifest.export,
        "cascade": None if use is None else use.to_json(),
    }


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
        cells += [Text(_number(row[name])) for name in numbers]
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
    raw = {entry["id"]: entry["text"] for entry in run.quarantine()}
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


def explain(run: Run, row_id: str) -> RenderableType:
    """One row: its fate and why, what would change it, each score with its meaning, the texts.

    Raises:
        UsageError: There is no such row.
    """
    told = explain_json(run, row_id)
    row = told["row"]
    fate = Fate(row["fate"])
    head = Text.assemble((f"{visible(row['id'])}: {fate}", "bold"), f"  {FATES[fate].meaning}")
    parts: list[RenderableType] = [head, Text(f"why: {visible(row['reason'])}")]
    parts += [
        Text(f"what would change it: {visible(text)}") for text in told["what_would_change_it"]
    ]
    parts += [_scores_table(row), *_texts(run, row)]
    return Group(*parts)


def explain_json(run: Run, row_id: str) -> dict[str, Any]:
    """The same as plain values: the ledger's line, the texts, and what would change the fate."""
    row = run.row(row_id)
    text = run.texts([row_id]).get(row_id)
    quarantined = [entry for entry in run.quarantine() if entry["id"] == row_id]
    return {
        "row": row,
        "prompt": None if text is None else text.prompt,
        "response": None if text is None else text.response,
        "new_response": None if text is None else text.new_response,
        "raw": quarantined[0]["text"] if quarantined else None,
        "what_would_change_it": list(_remedies(run, row)),
    }


def _remedies(run: Run, row: Mapping[str, Any]) -> Iterator[str]:
    """What would give the row another fate, most direct first."""
    match Fate(row["fate"]):
        case Fate.QUARANTINED:
            yield f"mend line {row['line']} of {row['file']} and run again"
        case Fate.DUPLICATE:
            yield f"it stays if {row['duplicate_of']} is taken out of the data"
            if row["duplicate_kind"] == "near":
                yield f"a threshold above {row['similarity']:.2f}: --set stages.dedup.threshold=..."
        case Fate.UNSCORED:
            yield "the same command again, once the model answers; answered calls are not repeated"
            yield "to export it without a score: --set export.on_unscored=keep"
        case Fate.FILTERED:
            others = _filtered_above(run, row["confidence"])
            yield (
                f"a threshold below {row['confidence']:.3f}: {others:,} other filtered rows, "
                "as sure or surer, would stay too"
            )
            if row["verdict"] == "candidate":
                yield f"an eta below {row['preference']:.3f}: --set stages.rectify.eta=..."
            elif row["candidate"] is not None:
                yield "a candidate that the judge prefers"
        case Fate.RECTIFIED:
            yield f"an eta of {row['preference']:.3f} or more: --set stages.rectify.eta=..."
        case Fate.KEPT if row["confidence"] is not None:
            yield f"a threshold above {row['confidence']:.3f}"
        case _:
            return


def _filtered_above(run: Run, confidence: float) -> int:
    """Other filtered rows that a threshold just below `confidence` would keep."""
    filtered = run.ledger(["confidence"], fate=Fate.FILTERED)["confidence"]
    as_sure = pc.sum(pc.greater_equal(filtered, confidence)).as_py()
    return int(as_sure) - 1


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


def _usage_tables(run: Run) -> Iterator[Table]:
    for model, usage in run.manifest.usage.items():
        title = Text(f"model {visible(model)}")
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for label, value in usage_lines(Totals.from_json(usage)).items():
            table.add_row(label, value)
        yield table


def _token_tables(run: Run) -> Iterator[Table]:
    there = [column for column in run.ledger_columns() if column in USAGE_COLUMNS]
    tokens = part_tokens(run.ledger(there)) if there else ()
    if tokens:
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
        ("export/removed.jsonl", f"{export['removed']:,} rows that were left out, with reasons"),
        ("ledger.parquet", "every input row: fate, reason, scores"),
        ("report.html", "the whole run on one page"),
        ("DATASET_CARD.md", "what was done, for those who train on it"),
    ):
        table.add_row(Text(visible(str(run.path / path))), what)
    return table


def _scores_table(row: Mapping[str, Any]) -> RenderableType:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("confidence", _number(row["confidence"]), _against(row))
    for name, words in PARTS.items():
        if row.get(name) is not None:
            table.add_row(words.label, _number(row[name]), words.meaning)
    for name, words in DETAILS.items():
        if row.get(name) is not None:
            table.add_row(words.label, Text(one_line(_plain(row[name]), 80)), words.meaning)
    return table if row["confidence"] is not None or row.get("similarity") is not None else Text("")


def _against(row: Mapping[str, Any]) -> str:
    if row["confidence"] is None or row["threshold"] is None:
        return ""
    return f"the threshold is {row['threshold']:.3f}"


def _texts(run: Run, row: Mapping[str, Any]) -> Iterator[RenderableType]:
    wanted = [row["id"], *filter(None, [row["duplicate_of"]])]
    texts = run.texts(wanted)
    text = texts.get(row["id"])
    if text is None:
        raw = [entry["text"] for entry in run.quarantine() if entry["id"] == row["id"]]
        yield from (_panel("the row as it stands in the file", entry) for entry in raw)
        return
    yield _panel("prompt", text.prompt)
    yield from _responses(text, row)
    keeper = texts.get(row["duplicate_of"] or "")
    if keeper is not None:
        yield _panel(f"the row that stays, {keeper.id}: prompt", keeper.prompt)
        yield _panel(f"the row that stays, {keeper.id}: response", keeper.response)


def _responses(text: RowText, row: Mapping[str, Any]) -> Iterator[RenderableType]:
    if row["candidate"] is None:
        yield _panel("response", text.response)
        return
    before, after = word_diff(text.response, row["candidate"])
    taken = "taken" if row["rectified"] else "not taken"
    yield _panel("response in the dataset", before, changed="red")
    yield _panel(f"candidate ({taken})", after, changed="green")


def _panel(title: str, content: str | list[Segment], *, changed: str = "") -> Panel:
    segments = [Segment(content, changed=False)] if isinstance(content, str) else content
    shown = Text()
    left = SHOWN_TEXT
    for segment in segments:
        if left > 0:
            style = changed if segment.changed else ""
            shown.append(visible(cut(segment.text, left)), style=style)
            left -= len(segment.text)
    return Panel(shown, title=Text(visible(title)), title_align="left")


def _input_rows(run: Run) -> int:
    return sum(file.rows + file.quarantined for file in run.manifest.files)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
