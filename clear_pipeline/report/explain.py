"""One row at the terminal: its fate and why, what would change it, its scores and its texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clear_pipeline.report.adapter import raw_texts
from clear_pipeline.report.diff import Segment, word_diff
from clear_pipeline.report.row_calls import row_calls
from clear_pipeline.report.text import cut, number, one_line, visible
from clear_pipeline.report.threshold import compared_column
from clear_pipeline.report.words import DETAILS, FATES, PARTS, Words
from clear_pipeline.run import RowText, Run
from clear_pipeline.schema import Fate
from clear_pipeline.stages.usage import TOKENS

SHOWN_TEXT: Final = 4_000
"""Characters of one text that `explain` prints."""
_DIGIT: Final = 0.001


def row_called(run: Run, name: str) -> str:
    """The id of the row that is called so: its own, or with what is invisible in it written out.

    The latter is how ids are shown, so that they can be typed and copied as they are seen.
    """
    if "\\" in name:
        for batch in run.ledger_batches(["id"]):
            shown: dict[str, str] = {visible(row_id): row_id for row_id in batch["id"].to_pylist()}
            if name in shown:
                return shown[name]
    return name


def explanation(run: Run, row_id: str) -> RenderableType:
    """One row: its fate and why, what would change it, each score with its meaning, the texts.

    Raises:
        UsageError: There is no such row.
    """
    told = explanation_json(run, row_id)
    row = told["row"]
    fate = Fate(row["fate"])
    head = Text.assemble((f"{visible(row['id'])}: {fate}", "bold"), f"  {FATES[fate].meaning}")
    parts: list[RenderableType] = [head, Text(f"why: {visible(row['reason'])}")]
    parts += [
        Text(f"what would change it: {visible(text)}") for text in told["what_would_change_it"]
    ]
    parts += [_scores_table(row, compared=compared_column(run))]
    parts += [*_calls_table(told["calls"]), *_texts(run, row)]
    return Group(*parts)


def explanation_json(run: Run, row_id: str) -> dict[str, Any]:
    """The same as plain values: the ledger's line, the texts, the calls, what would change it."""
    row = run.row(row_id)
    text = run.texts([row_id]).get(row_id)
    return {
        "row": row,
        "prompt": None if text is None else text.prompt,
        "response": None if text is None else text.response,
        "new_response": None if text is None else text.new_response,
        "raw": raw_texts(run, {row_id}).get(row_id),
        "what_would_change_it": list(_remedies(run, row)),
        "calls": [step.to_json() for step in row_calls(run, row)],
    }


def _remedies(run: Run, row: Mapping[str, Any]) -> Iterator[str]:
    """What would give the row another fate, most direct first."""
    match Fate(row["fate"]):
        case Fate.QUARANTINED:
            yield f"mend line {row['line']} of {row['file']} and run again"
        case Fate.CONTAMINATED | Fate.DUPLICATE:
            yield from _unlike(row)
        case Fate.UNSCORED:
            yield _once_answered(row["score_error"])
            yield "to export it without a score: --set export.on_unscored=keep"
        case Fate.FILTERED:
            others = _filtered_above(run, row)
            yield (
                f"{_threshold(run, row, 'below')}: {others:,} other filtered rows, "
                "as sure or surer, would stay too"
            )
            if row["verdict"] == "candidate":
                yield f"an eta below {_no_more(row['preference'])}: {_eta_option(run)}"
            elif row["candidate"] is not None:
                yield "a candidate that the judge prefers"
        case Fate.RECTIFIED:
            yield f"an eta of {_no_less(row['preference'])} or more: {_eta_option(run)}"
        case Fate.KEPT if row["confidence"] is not None:
            yield _threshold(run, row, "above")
        case _:
            return


def _once_answered(error: str | None) -> str:
    """What gives a row its score; an error of a call is KIND: MESSAGE, a part of the row a word."""
    if error is not None and ": " not in error:
        return f"a row that holds {error} gets no score: no model is asked about it"
    return "the same command again, once the model answers; answered calls are not repeated"


def _no_more(value: float) -> str:
    """Three digits, not above the value, so that what is said to lie below them does."""
    shown = float(number(value))
    return number(shown if shown <= value else shown - _DIGIT)


def _no_less(value: float) -> str:
    """Three digits, not below the value."""
    shown = float(number(value))
    return number(shown if shown >= value else shown + _DIGIT)


def _eta_option(run: Run) -> str:
    """How another eta is set: in place of a calibrated one, if there is one."""
    record = run.manifest.stage("rectify")
    calibrated = record is not None and record.settings.get("calibration") is not None
    instead = "--set stages.rectify.calibration=null " if calibrated else ""
    return f"{instead}--set stages.rectify.eta=..."


def _unlike(row: Mapping[str, Any]) -> Iterator[str]:
    """What would part a row from the one that it is too much like."""
    if row["fate"] == Fate.CONTAMINATED:
        yield f"it stays if {row['contaminated_by']} is taken out of the benchmark"
        if row["contamination"] < 1:
            bound = f"a min_coverage above {_no_less(row['contamination'])}"
            yield f"{bound}: --set stages.decontaminate.min_coverage=..."
        return
    yield f"it stays if {row['duplicate_of']} is taken out of the data"
    if row["duplicate_kind"] == "near" and row["similarity"] < 1:
        bound = f"a threshold above {_no_less(row['similarity'])}"
        yield f"{bound}: --set stages.dedup.threshold=..."


def _threshold(run: Run, row: Mapping[str, Any], way: Literal["above", "below"]) -> str:
    """Where the threshold would have to lie, on the scale that the filter goes by."""
    column = compared_column(run)
    limit = {"above": _no_less, "below": _no_more}[way](row[column])
    bound = f"a threshold {way} {limit}"
    if column == "confidence":
        return bound
    rule = {"above": "higher", "below": "lower"}[way]
    return f"{bound} for {PARTS[column].label}, as a {rule} precision sets it"


def _filtered_above(run: Run, row: Mapping[str, Any]) -> int:
    """Other filtered rows that a threshold just below this row would keep."""
    column = compared_column(run)
    filtered = run.ledger([column], fate=Fate.FILTERED)[column]
    as_sure = pc.sum(pc.greater_equal(filtered, row[column])).as_py()
    return int(as_sure) - 1


def _scores_table(row: Mapping[str, Any], *, compared: str) -> RenderableType:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    told = {"confidence": Words("confidence", ""), **PARTS}
    for name, words in told.items():
        if row.get(name) is not None:
            against = _against(row) if name == compared else ""
            meaning = " ".join(filter(None, (words.meaning, against)))
            table.add_row(words.label, number(row[name]), meaning)
    for name, words in DETAILS.items():
        if row.get(name) is not None:
            table.add_row(words.label, Text(one_line(_plain(row[name]), 80)), words.meaning)
    shown = ("confidence", "similarity", "contamination")
    return table if any(row.get(name) is not None for name in shown) else Text("")


def _calls_table(steps: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Tokens and price of the calls about the row, by step and in all."""
    if not steps:
        return
    table = Table(title="calls about this row", title_justify="left")
    table.add_column("step")
    for head in ("calls", "prompt", "of it cached", "completion", "price"):
        table.add_column(head, justify="right")
    for step in steps:
        table.add_row(*_calls_cells(step))
    if len(steps) > 1:
        table.add_section()
        table.add_row(*_calls_cells(_in_all(steps)))
    yield table


def _calls_cells(step: Mapping[str, Any]) -> Iterator[str]:
    calls, usd = step["calls"], step["usd"]
    yield step["step"]
    yield "-" if calls is None else f"{calls:,}"
    yield from (f"{step[name]:,}" for name in TOKENS)
    yield "not known" if usd is None else f"${usd:,.6f}"


def _in_all(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of the steps; what one of them does not know is not known of all."""
    values = {name: [step[name] for step in steps] for name in ("calls", *TOKENS, "usd")}
    sums = {name: None if None in known else sum(known) for name, known in values.items()}
    return {"step": "all", **sums}


def _against(row: Mapping[str, Any]) -> str:
    return "" if row["threshold"] is None else f"The threshold is {row['threshold']:.3f}."


def _texts(run: Run, row: Mapping[str, Any]) -> Iterator[RenderableType]:
    wanted = [row["id"], *filter(None, [row["duplicate_of"]])]
    texts = run.texts(wanted)
    text = texts.get(row["id"])
    if text is None:
        raw = raw_texts(run, {row["id"]})
        yield from (_panel("the row as it stands in the file", entry) for entry in raw.values())
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
    if (diff := row.get("response_diff")) is not None:
        yield _panel("unified diff", diff)


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


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items() if count)
    return number(value) if isinstance(value, float) else str(value)
