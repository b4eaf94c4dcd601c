"""The notebook runs from top to bottom on a real run, and asks no model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient

from calibration_rows import scored_run
from clear_pipeline.calibration import Calibration
from clear_pipeline.marking import sample_to_mark
from report_runs import demo_run

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NOTEBOOK = NOTEBOOKS / "01_explore.ipynb"
CLIENTS = ("openai", "xllamacpp", "clear_pipeline.llm.openai_chat", "clear_pipeline.model_pool")
"""What would have to be imported before a model could be called."""
IMPORTED = f"import sys; print([name for name in {CLIENTS!r} if name in sys.modules])"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel of the running interpreter, whatever kernels are installed."""
    write_kernel_spec(str(tmp_path / "jupyter" / "kernels" / "clear-tests"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return "clear-tests"


def digests(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_notebook_runs_without_a_model_call(
    tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cell fails, every plot and table is shown, no client is imported, no file changes."""
    run = demo_run(tmp_path / "run", stages=["dedup", "score", "filter", "rectify"])
    before = digests(run.path)
    monkeypatch.setenv("CLEAR_RUN", str(run.path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    last = nbformat.v4.new_code_cell(IMPORTED)  # type: ignore[no-untyped-call]
    notebook.cells.append(last)

    NotebookClient(notebook, kernel_name=kernel, timeout=600).execute()

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    assert not [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    shown = [o.get("data", {}) for cell in cells for o in cell.outputs]
    assert sum("Plotly.newPlot" in data.get("text/html", "") for data in shown) == 3
    assert cells[-1].outputs[0].text == "[]\n"
    assert digests(run.path) == before


def test_marking_notebook_ends_with_a_calibration(
    tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows to read, marks, figures and the plot are shown; the run itself stays as it was."""
    run, _ = scored_run(tmp_path)
    before = digests(run.path)
    bad = {i: (int(i.rpartition(":")[2]) - 1) % 3 == 0 for i in sample_to_mark(run, 120)["id"]}
    marks = {i: "bad" if is_bad else "good" for i, is_bad in bad.items()}
    monkeypatch.setenv("CLEAR_RUN", str(run.path))
    monkeypatch.setenv("CLEAR_MARKS", json.dumps(marks))
    monkeypatch.setenv("CLEAR_MARKS_FILE", str(tmp_path / "marks.csv"))
    notebook = nbformat.read(NOTEBOOKS / "02_mark.ipynb", as_version=4)  # type: ignore[no-untyped-call]

    NotebookClient(notebook, kernel_name=kernel, timeout=600).execute()

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    assert not [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    shown = [o.get("data", {}) for cell in cells for o in cell.outputs]
    assert sum("image/svg+xml" in data for data in shown) == 1
    assert Calibration.read(tmp_path / "calibration.json").kind == "probability"
    assert digests(run.path) == before


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_is_committed_without_outputs(path: Path) -> None:
    """Neither outputs nor counts of somebody's session are in the repository."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
