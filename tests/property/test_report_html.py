"""Whatever stands in the data, the report is the page that it is with harmless data."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.report import report_html
from clear_pipeline.report.text import visible
from clear_pipeline.schema import Fate
from report_data import HOSTILE, report_with

FRAGMENTS = st.sampled_from(
    [*HOSTILE, "<", ">", '"', "'", "&", "=", "/", "<!--", "-->", "]]>", "{{", "{%", "&#60;", "\x1b"]
)
TEXTS = (
    st.lists(FRAGMENTS | st.text(max_size=8), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda text: bool(text.strip()))
)
SHOWN_IN = {"title"}
"""Attributes that hold text of the data: a row's id, in full."""
MARKS = {"del", "ins"}
"""Elements that show what a text changed; how many there are depends on the text."""


class Structure(HTMLParser):
    """Everything of a page that is not text, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[object, ...]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in MARKS:
            kept = [(name, None if name in SHOWN_IN else value) for name, value in attrs]
            self.found.append(("start", tag, *kept))

    def handle_endtag(self, tag: str) -> None:
        if tag not in MARKS:
            self.found.append(("end", tag))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", decl))

    def handle_pi(self, data: str) -> None:
        self.found.append(("instruction", data))

    def unknown_decl(self, data: str) -> None:
        self.found.append(("unknown", data))

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.sampled_from(list(Fate)))
def test_text_never_becomes_markup(text: str, fate: Fate) -> None:
    """In ids, files, texts, reasons, notes, settings and model names, text stays text."""
    hostile = Structure(report_html(report_with(text, fate=fate)))
    harmless = Structure(report_html(report_with("x", fate=fate)))
    assert hostile.found == harmless.found
    assert visible(text) in hostile.text
