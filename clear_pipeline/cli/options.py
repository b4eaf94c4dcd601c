"""Options that several commands have, and what they say as a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import UsageError

Data = Annotated[
    str, typer.Argument(help="File or directory of mixed formats, here or at s3://, gs://, hf://.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before priced work.")]
ColumnMap = Annotated[
    list[str] | None,
    typer.Option("--map", help="prompt=question,response=answer; may be given several times."),
]
MaxUsd = Annotated[float | None, typer.Option(min=0, help="Stop before more dollars are spent.")]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Of every command that reads DATA and asks a model: who is asked, and about which rows."""

    config: Annotated[Path | None, typer.Option(help="YAML, see docs/config.md.")] = None
    model: Annotated[str | None, typer.Option(help="Model name at the endpoint.")] = None
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint.")] = None
    mapping: ColumnMap = None
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")] = None
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="a.b=value, as in score.k=3")
    ] = None

    @property
    def assignments(self) -> list[str]:
        """As they were typed."""
        return self.assign or []

    def flags(self) -> dict[str, Any]:
        """What the options about model and input say, as sections of a config.

        Raises:
            UsageError: They contradict each other.
        """
        if self.base_url is not None and self.model is None and self.config is None:
            raise UsageError("--base-url needs --model NAME, the name that the endpoint serves")
        scorer = _given(model=self.model, base_url=self.base_url)
        load = _given(map=column_map(self.mapping), limit=self.limit)
        return _given(models={"scorer": scorer} if scorer else None, load=load or None)


def column_map(mapping: Sequence[str] | None) -> dict[str, str] | None:
    """What `--map` says, however often it is given, by field; None if it is not.

    Raises:
        UsageError: It is no list of FIELD=COLUMN, or names a field twice.
    """
    if not mapping:
        return None
    text = ",".join(mapping)
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(key and value for key, _, value in pairs):
        raise UsageError(f"--map {text}: expected prompt=COLUMN,response=COLUMN")
    columns = {key.strip(): value.strip() for key, _, value in pairs}
    if len(columns) < len(pairs):
        raise UsageError(f"--map {text}: names a field twice; give each one column")
    return columns


@dataclass(frozen=True, kw_only=True)
class ChainOptions(SourceOptions):
    """Of the commands about a whole chain."""

    preset: Annotated[str | None, typer.Option(help="fast, best, paper or likelihood.")] = None
    stages: Annotated[str | None, typer.Option(help="For example load,dedup,export.")] = None
    calibration: Annotated[
        Path | None, typer.Option(help="File of `clear-pipeline calibrate`.")
    ] = None
    decontaminate: Annotated[
        list[Path] | None,
        typer.Option(help="Benchmark whose rows are kept out; may be given several times."),
    ] = None
    mode: Annotated[
        str | None, typer.Option(help="live, batch (half the price) or offline (files).")
    ] = None

    def flags(self) -> dict[str, Any]:
        """Those about model and input, and the mode."""
        return super().flags() | _given(mode=self.mode)

    def settings(self, **sections: Any) -> Config:  # noqa: ANN401  # sections of a config
        """The config that they make.

        Args:
            sections: From other options.

        Raises:
            UsageError: They contradict each other, or say what no config can be.
        """
        return build_config(self.config, assignments=self.assignments, **self.chain(**sections))

    def chain(self, **sections: Any) -> dict[str, Any]:  # noqa: ANN401  # sections of a config
        """The same as arguments of `build_config`, without its file and its assignments.

        Raises:
            UsageError: They contradict each other.
        """
        return {
            "flags": self.flags() | sections,
            "stages": self._stages(),
            "preset": self.preset,
            "calibration": self.calibration,
            "decontaminate": self.decontaminate or (),
        }

    def _stages(self) -> list[str] | None:
        """The names between the commas; None if the option is not given."""
        if self.stages is None:
            return None
        named = [s.strip() for s in self.stages.split(",") if s.strip()]
        if not named:
            raise UsageError("--stages names no stage; for example --stages load,dedup,export")
        return named


@dataclass(frozen=True, kw_only=True)
class CapOptions:
    """What a command may spend."""

    max_usd: MaxUsd = None
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="Stop before more tokens are spent.")
    ] = None
    max_calls: Annotated[
        int | None, typer.Option(min=0, help="Stop before more calls are made.")
    ] = None

    def flags(self) -> dict[str, Any]:
        """As sections of a config."""
        caps = _given(max_usd=self.max_usd, max_tokens=self.max_tokens, max_calls=self.max_calls)
        return _given(budget=caps or None)


def _given(**values: Any) -> dict[str, Any]:  # noqa: ANN401  # of any option
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}
