"""Groups of options: each field is an option, and the command gets them as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from clear_pipeline.cli.groups import grouped


@dataclass(frozen=True, kw_only=True)
class Fruit:
    name: Annotated[str, typer.Option(help="Which.")]
    pieces: Annotated[int, typer.Option("--count", min=1)] = 2


@dataclass(frozen=True, kw_only=True)
class Sized(Fruit):
    large: Annotated[bool, typer.Option("--large")] = False


app = typer.Typer()


@app.command()
@grouped
def buy(place: str, *, fruit: Sized, again: bool = False) -> None:
    """Buy fruit."""
    typer.echo(f"{place} {fruit} {again}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here", "--name", "fig"], "here Sized(name='fig', pieces=2, large=False) False"),
        (
            ["here", "--name", "fig", "--count", "3", "--large", "--again"],
            "here Sized(name='fig', pieces=3, large=True) True",
        ),
    ],
)
def test_the_options_of_a_group_come_as_one(words: list[str], said: str) -> None:
    """Under their own names, with their defaults, those of a wider group too."""
    assert CliRunner().invoke(app, words).output.strip() == said


@pytest.mark.parametrize(
    ("words", "wrong"), [(["x"], "'--name'"), (["x", "--name", "fig", "--count", "0"], "'--count'")]
)
def test_an_option_of_a_group_is_checked_like_any_other(words: list[str], wrong: str) -> None:
    """One without a default is required, and ranges hold."""
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert wrong in result.output
