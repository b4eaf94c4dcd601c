"""`report.html`: one file that needs no network, whatever stands in the dataset.

All text passes Jinja's autoescape and `visible`. A Content-Security-Policy lets the file's own
style and script run, by hash, and nothing else; it forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clear_pipeline.durable import write_atomically
from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.report import svg
from clear_pipeline.report.data import TOKEN_HEADS, ReportData, ShownRow, funnel
from clear_pipeline.report.diff import word_diff
from clear_pipeline.report.text import ELLIPSIS, cut, one_line, visible
from clear_pipeline.report.words import COLOURS, FATES, PARTS
from clear_pipeline.schema import Fate

MAX_BYTES: Final = 20_000_000
"""No report is larger."""

LISTED: Final = 100
"""Files, reason kinds and notes that are listed at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Characters that are shown of a text; the rest is cut and its length stated.

    Attributes:
        text: Of a prompt or response.
        note: Of a reason, note or problem.
        settings: Of one stage's settings.
        rows: Listed rows.
    """

    text: int = 4_000
    note: int = 1_500
    settings: int = 4_000
    rows: int = 2_000

    def tighter(self) -> Limits:
        """Half the text; from 250 characters on, half the rows."""
        if self.text > 250:  # noqa: PLR2004  # less text than this is no help to a reader
            return replace(self, text=self.text // 2)
        return replace(self, rows=self.rows // 2)


def report_html(data: ReportData, *, max_bytes: int = MAX_BYTES) -> str:
    """The report as HTML; equal data gives equal text.

    Args:
        data: What to show.
        max_bytes: Of the UTF-8 file. Texts, then rows are cut until it fits; the report says so.

    Raises:
        ClearPipelineError: Even without rows it does not fit.
    """
    limits = Limits()
    while len((html := _render(data, limits)).encode()) > max_bytes:
        if limits.rows == 0:
            raise ClearPipelineError(f"the report does not fit into {max_bytes:,} bytes")
        limits = limits.tighter()
    return html


def save_report(data: ReportData, path: Path) -> Path:
    """Write the report to `path`, atomically, and return it."""
    html = report_html(data).encode()
    write_atomically(path, lambda temporary: _write(temporary, html))
    return path


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@cache
def environment() -> Environment:
    """Jinja with escaping on, every value made visible, and the charts' geometry."""
    made = Environment(
        loader=PackageLoader("clear_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        keep_trailing_newline=True,
    )
    made.filters.update(count=_count, percent=_percent, cut=cut, one_line=one_line, tail=_tail)
    made.globals.update(
        FATES=FATES,
        PARTS=PARTS,
        LISTED=LISTED,
        TOKEN_HEADS=TOKEN_HEADS,
        HISTOGRAM=svg.Frame(520, 250, left=40, right=12, top=28, bottom=24),
        MULTIPLE=svg.Frame(240, 84, bottom=20),
        bars=svg.bars,
        x_at=svg.x_at,
        x_ticks=svg.x_ticks,
        y_ticks=svg.y_ticks,
        diff=word_diff,
    )
    return made


def _finalize(value: object) -> object:
    """What every `{{ }}` passes before it is escaped; `Markup` is ours and stays."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _tail(text: str, width: int) -> str:
    """The end of an id or path, where they differ."""
    return text if len(text) <= width else ELLIPSIS + text[-width + 1 :]


def _render(data: ReportData, limits: Limits) -> str:
    templates = environment()
    rows = [_cut_row(row, limits) for row in data.rows[: limits.rows]]
    style = _source(templates, "report.css") + _palette()
    script = _source(templates, "report.js")
    return templates.get_template("report.html.j2").render(
        data=data,
        limits=limits,
        rows=rows,
        rows_cut=sum(_longest(row) > limits.text for row in data.rows[: limits.rows]),
        steps=funnel(data.fates),
        present=[fate for fate in Fate if data.fates.get(fate)],
        listed=[fate for fate in Fate if any(row.fate is fate for row in rows)],
        style=Markup(style),  # noqa: S704  # the package's own file
        script=Markup(script),  # noqa: S704  # the package's own file
        style_hash=Markup(_csp_hash(style)),  # noqa: S704  # base64
        script_hash=Markup(_csp_hash(script)),  # noqa: S704  # base64
    )


def _source(environment: Environment, name: str) -> str:
    loader: Any = environment.loader
    source: str = loader.get_source(environment, name)[0]
    return source


def _palette() -> str:
    return "".join(f".{fate}{{--fate:{colour}}}" for fate, colour in COLOURS.items()) + (
        ":root{" + "".join(f"--{fate}:{colour};" for fate, colour in COLOURS.items()) + "}"
    )


def _csp_hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _texts(row: ShownRow) -> Sequence[str]:
    optional = (row.candidate, row.diff, row.keeper_response)
    return (row.prompt, row.response, *(text or "" for text in optional))


def _longest(row: ShownRow) -> int:
    return max(len(text) for text in _texts(row))


def _cut_row(row: ShownRow, limits: Limits) -> ShownRow:
    return replace(
        row,
        prompt=cut(row.prompt, limits.text),
        response=cut(row.response, limits.text),
        candidate=_cut_if_any(row.candidate, limits.text),
        diff=_cut_if_any(row.diff, limits.text),
        keeper_response=_cut_if_any(row.keeper_response, limits.text),
        reason=cut(row.reason, limits.note),
    )


def _cut_if_any(text: str | None, limit: int) -> str | None:
    return None if text is None else cut(text, limit)
