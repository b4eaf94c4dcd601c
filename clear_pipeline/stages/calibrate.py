"""Calibrate: the parts of the score combined as a calibration file says. Makes no model call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator

from clear_pipeline.calibration import Calibration
from clear_pipeline.errors import UsageError
from clear_pipeline.schema import JSON
from clear_pipeline.scoring.parts import F64, numbers, parts
from clear_pipeline.stages.base import Context, Settings, Shard, Shards
from clear_pipeline.stages.confidence import REFINED


def _content(value: object) -> object:
    return Calibration.read(Path(value)) if isinstance(value, str | Path) else value


def signals(table: pa.Table) -> dict[str, F64]:
    """What a calibration may weigh: the parts of the score, and the run's own confidence."""
    own = [name for name in REFINED if name != "calibrated" and name in table.column_names]
    return parts(table) | {name: numbers(table[name]) for name in own}


class Calibrate(Settings):
    """Combine the parts of each row's score by fitted weights.

    A config gives the path of a file that `clear-pipeline calibrate` wrote; what is kept, and what
    decides whether the stage runs again, is the file's content.
    """

    name: ClassVar[str] = "calibrate"
    version: ClassVar[int] = 1

    kind: Literal["calibrate"] = "calibrate"
    file: Annotated[Calibration, BeforeValidator(_content)]
    """Path of a calibration file, or its content."""

    def refuse_other_scorer(self, scorer: str) -> None:
        """Compare the model that the file was fitted for with the one that scores.

        Args:
            scorer: Identity of the run's scorer.

        Raises:
            UsageError: They differ; names both.
        """
        fitted = self.file.scored_by
        if fitted is not None and fitted.model != scorer:
            raise UsageError(
                f"calibrate: the file was fitted for {fitted.model}, but {scorer} would score this "
                "run: name the model that it was fitted for (--model and --base-url, or --config "
                "RUN/config.yaml of the run that was marked), or fit it for this one: "
                "clear-pipeline calibrate"
            )

    def require_signal_of_cascade(self) -> None:
        """`calibrated` takes the place of `cascaded`, so the file must have seen it.

        Raises:
            ValueError: The draws of a cascade would have no effect; says what to do instead.
        """
        if not self.file.tried("cascaded"):
            whose = "a ranking from corruptions" if self.file.corruptions else "the marks' fit"
            raise ValueError(
                f"the draws of the cascade would be paid for and change nothing: {whose} never "
                "weighs `cascaded`, and `calibrated` takes its place. Leave one of the two stages "
                "out, or run the cascade without a calibration and fit one on marks of that run: "
                "clear-pipeline calibrate RUN --marks FILE --out calibration.json"
            )

    def needs(self) -> tuple[str, ...]:
        """The columns of score."""
        return ("confidence", "score_status")

    def adds(self) -> pa.Schema:
        """`calibrated`; from marks also `p_bad` and `p_good_low`. All float64 in [0, 1]."""
        names = ["calibrated"]
        if self.file.kind == "probability":
            names += ["p_bad", "p_good_low"]
        return pa.schema([(name, pa.float64()) for name in names])

    def roles(self) -> tuple[str, ...]:
        """None."""
        return ()

    def _counts(self, shard: Shard, alive: Sequence[bool]) -> dict[str, int]:
        """How many rows are alive, under "", and how many of them have each signal."""
        found = _alive(signals(shard.table), alive)
        return {"": sum(alive)} | {
            name: int(np.isfinite(values).sum()) for name, values in found.items()
        }

    def survey(self, shards: Shards, ctx: Context) -> list[JSON]:
        """Check that the file fits this run. No shard needs a state.

        Raises:
            UsageError: The run lacks a signal.
        """
        counts: Counter[str] = Counter()
        for partial in shards.map(self._counts):
            counts.update(partial)
        score = ctx.records.get("score")
        if score is not None:
            self._tell_settings(score.settings, ctx)
        rows = counts.pop("")
        weighed = {f.name for f in self.file.features if f.transform == "missing"}
        for name in dict.fromkeys(feature.name for feature in self.file.features):
            there = counts[name]
            if rows and not there:
                raise UsageError(
                    f"calibrate: the file weighs {name}, which no row of this run has "
                    f"(there are {', '.join(sorted(name for name in counts if counts[name]))}); "
                    "score with the preset that it was fitted for, or fit it for this one"
                )
            if there < rows:
                too = ", and that it is missing is weighed too" if name in weighed else ""
                ctx.progress.note(
                    f"calibrate: {rows - there} of {rows} rows have no {name}; "
                    f"there it counts as its mean{too}"
                )
        if self.file.kind == "ranking-only":
            ctx.progress.note("calibrate: fitted on corruptions; an order of rows, no probability")
        return [None] * len(shards)

    def _tell_settings(self, settings: Mapping[str, Any], ctx: Context) -> None:
        fitted = {} if self.file.scored_by is None else self.file.scored_by.settings
        other = [
            f"{name} {fitted[name]} then, {settings[name]} now"
            for name in sorted(fitted.keys() & settings.keys())
            if fitted[name] != settings[name]
        ]
        if other:
            ctx.progress.note(
                f"calibrate: fitted with other settings of score ({'; '.join(other)}); "
                "its figures may not hold here"
            )

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],
        state: JSON,  # noqa: ARG002 - it is in the settings
        ctx: Context,
    ) -> pa.Table:
        """Combine the signals of the rows that are alive."""
        found = _alive(signals(shard.table), alive)
        none = np.full(sum(alive), np.nan)
        given = {f.name: found.get(f.name, none) for f in self.file.features}
        good = self.file.calibrated(given)
        columns = {"calibrated": good}
        if self.file.kind == "probability":
            columns |= {"p_bad": 1 - good, "p_good_low": self.file.lower_bound(given)}
        ctx.progress.advance(shard.rows)
        return pa.table(
            {name: _spread(values, alive) for name, values in columns.items()}, schema=self.adds()
        )


def _alive(found: Mapping[str, F64], alive: Sequence[bool]) -> dict[str, F64]:
    there = np.array(alive, bool)
    return {name: values[there] for name, values in found.items()}


def _spread(values: F64, alive: Sequence[bool]) -> pa.Array:
    """One value per row, null for the rows that are not alive."""
    given = iter(values.tolist())
    return pa.array([next(given) if lives else None for lives in alive], pa.float64())
