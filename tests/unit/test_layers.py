"""Imports point one way: from the command line down to schema and errors."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "clear_pipeline"

LAYERS = [
    {"__main__"},
    {"cli"},
    {"loop"},
    {"probe"},
    {"training_data"},
    {"marking", "finetune"},
    {"answer_key", "evaluate"},
    {"pipeline"},
    {"stage_runs"},
    {"foresight"},
    {"work"},
    {"estimate"},
    {"outputs"},
    {"report", "card"},
    {"run"},
    {"ingest", "resume", "model_pool", "rounds"},
    {"engine"},
    {"config"},
    {"config_chain"},
    {"config_errors", "config_keys", "config_values"},
    {"aside", "export"},
    {"claim", "earlier", "ledger", "row_files", "target"},
    {"run_log", "store"},
    {"stages"},
    {"corruptions", "calibration"},
    {"scoring"},
    {"load"},
    {"formats"},
    {"prompts"},
    {"llm"},
    {"manifest", "remote", "yaml_source"},
    {"journal"},
    {"durable", "own_loop", "parquet_rows", "repeats"},
    {"settings"},
    {"schema"},
    {"errors"},
]
"""Top to bottom. A module imports from its own unit and from layers below, never beside or up."""

DEPTH = {unit: depth for depth, layer in enumerate(LAYERS) for unit in layer}


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The units of this package that a module imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "clear_pipeline":
                names = [f"clear_pipeline.{a.name}" for a in node.names if a.name != "__version__"]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "clear_pipeline" and rest:
                yield rest.split(".")[0]


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """No module imports from beside or above its layer."""
    unit = unit_of(path)
    assert unit in DEPTH, f"{unit} has no layer: add it to LAYERS"
    wrong = {other for other in imports(path) if other != unit and DEPTH[other] <= DEPTH[unit]}
    assert not wrong


def test_the_design_draws_the_same_layers() -> None:
    """The table of docs/design.md has every unit, layer by layer."""
    text = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    table = text.partition("## Layers")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if "`" in line and "|" in line]
    layers = [layer for row in rows for layer in row.split(" then ")]
    assert [set(re.findall(r"`(\w+)`", layer)) for layer in layers] == LAYERS


def test_only_the_client_and_its_errors_import_openai() -> None:
    """The openai client has one owner, beside it what posts for it and the table of its errors."""
    pattern = re.compile(r"^\s*(import|from) openai\b", re.MULTILINE)
    owners = {path.name for path in MODULES if pattern.search(path.read_text(encoding="utf-8"))}
    assert owners == {"openai_chat.py", "openai_errors.py", "post.py"}


def test_a_command_starts_without_the_heavy_libraries() -> None:
    """They take seconds to import; what needs one imports it where it is used."""
    code = "import sys, clear_pipeline.cli; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "scipy.stats", "sklearn", "pandas", "plotly", "openai", "datasketch", "xllamacpp", "ray",
        "torch", "transformers", "peft", "gguf", "optuna",
    }  # fmt: skip
    assert not heavy & set(told.stdout.split())
