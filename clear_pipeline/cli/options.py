"""Options that several commands have, and what they say as sections of a config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clear_pipeline.errors import UsageError

Data = Annotated[Path, typer.Argument(help="File or directory of mixed formats.")]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML, see docs/config.md.")]
ModelName = Annotated[str | None, typer.Option(help="Model name at the endpoint.")]
BaseUrl = Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint.")]
Preset = Annotated[str | None, typer.Option(help="fast, best, paper or likelihood.")]
Stages = Annotated[str | None, typer.Option(help="For example load,dedup,export.")]
Columns = Annotated[str | None, typer.Option("--map", help="prompt=question,response=answer")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")]
CalibrationFile = Annotated[Path | None, typer.Option(help="File of `clear-pipeline calibrate`.")]
Mode = Annotated[str | None, typer.Option(help="live, batch (half the price) or offline (files).")]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="a.b=value, as in score.k=3")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before priced work.")]


def stages_of(names: str | None) -> list[str] | None:
    """The names between the commas; None if the option is not given.

    Raises:
        UsageError: It names none.
    """
    if names is None:
        return None
    named = [s.strip() for s in names.split(",") if s.strip()]
    if not named:
        raise UsageError("--stages names no stage; for example --stages load,dedup,export")
    return named


def flags_of(
    model: str | None,
    base_url: str | None,
    mapping: str | None,
    limit: int | None,
    mode: str | None = None,
    *,
    has_config: bool,
) -> dict[str, Any]:
    """What the options about model, input and mode say, as sections of a config.

    Raises:
        UsageError: They contradict each other.
    """
    if base_url is not None and model is None and not has_config:
        raise UsageError("--base-url needs --model NAME, the name that the endpoint serves")
    flags: dict[str, Any] = {}
    scorer = {"model": model, "base_url": base_url}
    if given := {name: value for name, value in scorer.items() if value is not None}:
        flags["models"] = {"scorer": given}
    load: dict[str, Any] = {}
    if mapping is not None:
        pairs = [pair.partition("=") for pair in mapping.split(",")]
        if not all(key and value for key, _, value in pairs):
            raise UsageError(f"--map {mapping}: expected prompt=COLUMN,response=COLUMN")
        load["map"] = {key.strip(): value.strip() for key, _, value in pairs}
    if limit is not None:
        load["limit"] = limit
    if load:
        flags["load"] = load
    if mode is not None:
        flags["mode"] = mode
    return flags
