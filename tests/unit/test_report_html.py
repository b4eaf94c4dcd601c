"""The report: one closed page, whatever the dataset holds."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.report import report_html
from clear_pipeline.report.data import Reason, ReportData
from clear_pipeline.report.text import visible
from clear_pipeline.schema import Fate
from report_data import HOSTILE, report_with


class Page(HTMLParser):
    """Elements, attributes and texts of a page, as a browser's parser finds them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.mark.parametrize("fate", [Fate.RECTIFIED, Fate.DUPLICATE, Fate.QUARANTINED])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text: str, fate: Fate) -> None:
    """It adds no element and no attribute, and reads as in the data, unseen characters escaped."""
    page = Page(report_html(report_with(text, fate=fate)))
    harmless = Page(report_html(report_with("x", fate=fate)))
    # A diff may mark more or fewer stretches of the texts.
    marks = {"del", "ins"}
    assert [t for t in page.tags if t not in marks] == [t for t in harmless.tags if t not in marks]
    assert [name for name, _ in page.attributes] == [name for name, _ in harmless.attributes]
    assert page.text.count(visible(text)) >= 10


def test_the_reliability_of_a_calibration_is_drawn() -> None:
    """One point per bin, by attributes alone: the page's policy lets no style of a picture in."""
    page = Page(report_html(report_with("x")))
    assert page.tags.count("circle") == 1
    assert page.tags.count("style") == 1
    assert "20 marks: predicted 0.250, found 0.300 [0.150, 0.520]" in page.text
    assert "Brier 0.120 · skill 0.40 [0.20, 0.60] · slope 0.90" in page.text


def test_nothing_is_loaded() -> None:
    """No element of the page names another resource."""
    page = Page(report_html(report_with("x")))
    assert not {"img", "link", "iframe", "object", "embed", "base", "form", "a"} & set(page.tags)
    assert not {"src", "href", "srcset", "style", "action"} & {n for n, _ in page.attributes}


def test_policy_admits_own_style_and_script_alone() -> None:
    """The Content-Security-Policy names the hashes of the page's one style and one script."""
    html = report_html(report_with("x"))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("script", "style"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_equal_data_gives_equal_bytes() -> None:
    """Nothing in the page depends on the time or the machine."""
    assert report_html(report_with("x")) == report_html(report_with("x"))


def test_long_texts_are_cut_until_the_page_fits() -> None:
    """A page over the limit is cut, keeps its rows where it can, and states what it cut."""
    data = report_with("wörd & " * 3_000, rows=40)
    html = report_html(data, max_bytes=400_000)
    assert len(html.encode()) <= 400_000
    assert html.count('<details class="row"') == 40
    assert "40 have a text longer than" in html
    assert "more characters]" in html


def test_rows_are_left_out_when_cutting_is_not_enough() -> None:
    """Then the page says how many of how many rows it lists."""
    data = report_with("&" * 500, rows=64)
    html = report_html(data, max_bytes=300_000)
    assert len(html.encode()) <= 300_000
    listed = html.count('<details class="row"')
    assert 0 < listed < 64
    assert f"{listed} of 64" in html


def test_ten_thousand_long_rows_fit() -> None:
    """Whoever lists all rows gets 2,000 at most, in a page of the allowed size."""
    data = report_with("long & wide, " * 300, rows=10_000)
    data = replace(data, rows=tuple(replace(row, candidate=None) for row in data.rows))
    html = report_html(data, max_bytes=10_000_000)
    assert len(html.encode()) <= 10_000_000
    assert html.count('<details class="row"') == 2_000
    assert "2,000 of 10,000, the least confident of each fate" in html


def test_page_that_cannot_fit_is_an_error() -> None:
    """A limit below the page's own style and script is refused, not overrun."""
    with pytest.raises(ClearPipelineError, match="does not fit into 1,000 bytes"):
        report_html(report_with("x"), max_bytes=1_000)


def test_many_reasons_are_counted() -> None:
    """A hundred kinds are listed; how many there are stands below."""
    reasons = tuple(Reason(Fate.FILTERED, f"kind {i}", 1, "a:1") for i in range(250))
    data = ReportData(title="t", version="0", fates={Fate.FILTERED: 250}, reasons=reasons)
    html = report_html(data)
    assert "kind 99<" in html
    assert "kind 100<" not in html
    assert "The 100 most common of 250 kinds" in html


def test_run_without_rows_has_a_report() -> None:
    """Zero rows divide nothing."""
    html = report_html(ReportData(title="empty", version="0", fates=dict.fromkeys(Fate, 0)))
    assert "<b>0</b> of <b>0</b> rows" in html
