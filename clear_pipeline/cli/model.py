"""`clear-pipeline model`: the models that run inside this process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import Json, errors, next_command, output, print_json
from clear_pipeline.llm.catalog import CATALOG, CatalogModel
from clear_pipeline.llm.pull import find, present, pull

model_app = typer.Typer(help="Models that need no server.", no_args_is_help=True)


@model_app.command("list")
def list_models(*, as_json: Json = False) -> None:
    """What can be pulled: licence, size, checksum, source, and what it is good for."""
    if as_json:
        print_json([asdict(model) for model in CATALOG.values()])
        return
    for model in CATALOG.values():
        table = Table(title=model.name, title_justify="left", show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        for name, value in _facts(model):
            table.add_row(name, Text(value))
        path = present(model)
        table.add_row("on this machine", Text("no" if path is None else str(path)))
        output.print(table)
    next_command("clear-pipeline model pull NAME")


def _facts(model: CatalogModel) -> list[tuple[str, str]]:
    sources = [model.hub_url]
    if model.wheel is not None:
        sources.append(f"{model.wheel.member} in {model.wheel.requirement} (PyPI)")
    return [
        ("licence", model.licence),
        ("size", f"{model.size:,} bytes"),
        ("sha256", model.sha256),
        ("source", "\n".join(sources)),
        ("good for", model.good_for),
        ("limits", model.limits),
        ("preset", model.default_preset),
    ]


@model_app.command("pull")
def pull_model(name: Annotated[str, typer.Argument(help="As `model list` shows it.")]) -> None:
    """Bring a model's weights into the user's cache, checksum verified."""
    model = find(name)
    path = pull(name, note=lambda text: errors.print(Text(text)))
    output.print(Text(f"{model.name}: {path}"), soft_wrap=True)
    next_command("clear-pipeline run DATA --out RUN")
