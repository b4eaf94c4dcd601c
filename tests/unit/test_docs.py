"""The documentation names everything that a user can type, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from clear_pipeline.cli import app
from clear_pipeline.config import Config, EngineSettings
from clear_pipeline.corruptions import CORRUPTIONS
from clear_pipeline.evaluate.models.arms import Arm, EvaluationSettings, JudgeSettings
from clear_pipeline.evaluate.models.metrics import LABELS
from clear_pipeline.export import EXPORT_FORMATS, ExportSettings
from clear_pipeline.finetune import TRAINERS, Balance, Mix, Source
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.finetune.search import SearchSettings
from clear_pipeline.finetune.search.space import Range
from clear_pipeline.formats import FORMATS
from clear_pipeline.llm.batch.settings import BatchSettings
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings, Prices
from clear_pipeline.load import LoadSettings
from clear_pipeline.loop import LoopSettings
from clear_pipeline.schema import Fate
from clear_pipeline.stages import cascade, second_opinion
from clear_pipeline.stages.calibrate import Calibrate
from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.decontaminate.stage import COLUMNS as CONTAMINATION
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.embed import COLUMNS as EMBED_COLUMNS
from clear_pipeline.stages.embed import Embed
from clear_pipeline.stages.filter import Filter
from clear_pipeline.stages.presets import PRESETS
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.score import Score
from clear_pipeline.stages.score_row import COLUMNS

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
SETTINGS: list[type[BaseModel]] = [
    Config, BatchSettings, BudgetSettings, ModelSettings, Prices, LoadSettings, Embed, Dedup, Score,
    Calibrate, Decontaminate, Filter, Rectify, ExportSettings, cascade.Cascade,
    second_opinion.SecondOpinion, EngineSettings, Lora, OpenAIJobs, LoopSettings,
    Balance, Mix, Source, SearchSettings, Range,
    Arm, EvaluationSettings, JudgeSettings,
]  # fmt: skip


def commands() -> list[str]:
    """Every command path, as it is typed."""
    found = []
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found += [f"{name} {sub}" for sub in below] if below else [name]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    """A command that no page shows is a command that nobody finds."""
    assert f"clear-pipeline {command}" in TEXT


@pytest.mark.parametrize(
    "name", [f"{m.__name__}.{field}" for m in SETTINGS for field in m.model_fields]
)
def test_every_setting_is_documented(name: str) -> None:
    """Every field of every settings model stands in the documentation."""
    assert re.search(rf"\b{name.partition('.')[2]}\b", TEXT)


REFINING = (
    *EMBED_COLUMNS.names, *cascade.COLUMNS.names, *second_opinion.COLUMNS.names,
    *CONTAMINATION.names,
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        *FORMATS,
        *EXPORT_FORMATS,
        *PRESETS,
        *COLUMNS.names,
        *REFINING,
        *Fate,
        *CORRUPTIONS,
        *LABELS,
        *TRAINERS,
    ],
)
def test_every_name_is_documented(name: str) -> None:
    """Formats, presets, score columns, fates and corruptions are explained somewhere."""
    assert f"`{name}`" in TEXT or f"{name}:" in TEXT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links point to files that exist."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def shown_commands() -> list[str]:
    """Every `clear-pipeline ...` line of the code blocks and tables, without its comment."""
    lines = re.findall(r"clear-pipeline (?!run`)([a-z]+ [^`\n]*)", TEXT)
    return sorted({line.partition("  #")[0].strip() for line in lines})


@pytest.mark.parametrize("line", shown_commands())
def test_shown_options_exist(line: str) -> None:
    """Every option in a shown command is one that the command has."""
    words = shlex.split(line)
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known | {"--help"}


def test_readme_first_line_names_the_paper() -> None:
    """Other tools use the acronym; the first line says which CLEAR this is."""
    assert "CLEAR (Chen & Mueller 2024)" in (ROOT / "README.md").read_text().splitlines()[0]


REACHING = {
    "engine": "`--engine ray`",
    "finetune/lora": "Hugging Face Hub",
    "finetune/openai_jobs": "`--trainer openai-jobs`",
    "llm": "`clear-pipeline model pull`",
    "llm/batch": "`--mode batch`",
    "remote": "`s3://bucket/dir`",
    "scoring": "`similarity: nli`",
}
"""Packages whose modules may reach another machine, and a word with which SECURITY.md says so."""
NETWORK = re.compile(
    r"^\s*(import|from) (aiohttp|fsspec|huggingface_hub|openai|pyarrow\.fs|ray|urllib\.request"
    r"|clear_pipeline\.llm\.endpoint)\b",
    re.MULTILINE,
)


def test_security_tells_all_that_leaves_the_machine() -> None:
    """What can reach another machine stands in the table of SECURITY.md, which ends "nothing"."""
    package = ROOT / "clear_pipeline"
    modules = [p for p in package.rglob("*.py") if NETWORK.search(p.read_text(encoding="utf-8"))]
    assert {path.parent.relative_to(package).as_posix() for path in modules} == set(REACHING)
    told = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("| everything else |")[0]
    assert [word for word in REACHING.values() if word not in told] == []
