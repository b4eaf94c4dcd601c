"""Who is asked before priced work, and what is proposed where nobody can be."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clear_pipeline.cli import app
from clear_pipeline.errors import UsageError


def command(name: str) -> Any:  # noqa: ANN401  # a class of typer's own copy of click
    group: Any = typer.main.get_command(app)
    return group.commands[name]


@pytest.mark.parametrize("engine", [["--engine", "ray"], ["--engine=ray"]])
def test_the_price_of_a_refused_run_is_told_by_a_command_that_exists(
    monkeypatch: pytest.MonkeyPatch, engine: list[str]
) -> None:
    """The same words, less those that only a run knows."""
    shared = ["DATA", "--out", "RUN", "--model", "gpt-x", "--set", "score.k=3", "--max-calls", "2"]
    words = ["run", *shared[:3], *engine, *shared[3:]]
    monkeypatch.setattr(sys, "argv", ["clear-pipeline", *words])
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, UsageError)
    _, _, told = str(refused).partition("its price: ")
    assert shlex.split(told) == ["clear-pipeline", "estimate", *shared]
    command("estimate").make_context("estimate", shlex.split(told)[2:])


def test_an_estimate_knows_all_options_of_a_run_but_two() -> None:
    """A new option of `run` alone has to be left out of the proposed command as well."""
    run, estimate = (
        {option for each in command(name).params for option in each.opts}
        for name in ("run", "estimate")
    )
    assert run - estimate == {"--engine", "--yes"}
