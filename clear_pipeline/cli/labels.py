"""Options of the commands that read human labels: how their file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clear_pipeline.evaluate import Labels


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """The columns of the file, and what its labels mean."""

    id_column: Annotated[str, typer.Option("--id", help="Its column of row ids.")] = "id"
    column: Annotated[str, typer.Option(help="Its column of labels.")] = "label"
    weight: Annotated[
        str | None, typer.Option(help="Its column of weights; `weight`, if it has one.")
    ] = None
    bad: Annotated[str | None, typer.Option(help="The label of bad rows.")] = None

    def read(self, path: Path, *, where: Mapping[str, str] | None = None) -> Labels:
        """The labels of a file, see `evaluate.read_labels`."""
        from clear_pipeline.evaluate import read_labels  # scikit-learn: seconds

        return read_labels(
            path,
            id_column=self.id_column,
            label_column=self.column,
            bad=self.bad,
            where=where,
            weight_column=self.weight,
        )
