"""In a real browser, no script of the data runs: report and notebook views in headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from clear_pipeline.report.html import report_html
from clear_pipeline.report.notebook import to_read
from report_data import HOSTILE, report_with

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium")

MARK = "document.documentElement.dataset.ran=1"
SCRIPTS = (
    f"<script>{MARK}</script>",
    f"</script><script>{MARK}</script>",
    f"</style></textarea></title><script>{MARK}</script>",
    f"<img src=x onerror='{MARK}'>",
    f'"><svg onload="{MARK}">',
    f"' autofocus onfocus='{MARK}' tabindex=1 x='",
    f"--><script>{MARK}</script><!--",
    f"<iframe srcdoc='<script>parent.{MARK}</script>'></iframe>",
    f"]]><script>{MARK}</script>",
    f"<details open ontoggle={MARK}>",
)


def page_after(html: str, folder: Path) -> str:
    """The document as it stands after its scripts have run."""
    assert CHROMIUM is not None
    (folder / "page.html").write_text(html, encoding="utf-8", errors="backslashreplace")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000"]  # fmt: skip
    page = (folder / "page.html").as_uri()
    return subprocess.run(
        [CHROMIUM, *options, "--dump-dom", page],
        capture_output=True, text=True, errors="replace", check=True, timeout=300,
    ).stdout  # fmt: skip


def ran(page: str) -> bool:
    return "data-ran" in page.partition("<body")[0]


@pytest.mark.parametrize("script", [*SCRIPTS[:5], SCRIPTS[7]])
def test_the_scripts_are_sharp(tmp_path: Path, script: str) -> None:
    """Put into a page as they are, they run: else the tests below could not fail."""
    assert ran(page_after(f"<!doctype html><html><body><p>{script}</p></body></html>", tmp_path))


def test_no_script_of_the_data_runs_in_the_report(tmp_path: Path) -> None:
    """Every field of the report holds all of them; the report's own script does run."""
    text = "\n".join((*SCRIPTS, *HOSTILE))
    html = report_html(report_with(text, rows=2))
    page = page_after(html, tmp_path)
    assert not ran(page)
    assert "onerror" in page
    # Without the Content-Security-Policy: the escaping holds alone.
    assert not ran(page_after(html.replace("Content-Security-Policy", "x-none"), tmp_path))


def test_no_script_of_the_data_runs_in_a_notebook(tmp_path: Path) -> None:
    """Rows to read, and a frame as Jupyter shows it."""
    text = "\n".join(SCRIPTS)
    sample = pd.DataFrame({name: [text] for name in ("id", "prompt", "response", "reason", "fate")})
    shown = to_read(sample.assign(confidence=0.5)) + sample.to_html()
    assert not ran(page_after(f"<!doctype html><html><body>{shown}</body></html>", tmp_path))
