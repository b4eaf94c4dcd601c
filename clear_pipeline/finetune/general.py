"""What a training did to general rows: their loss before and after, and whether it rose."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.settings import Settings

LEAST: Final = 20
"""Rows that an interval needs."""


class GeneralCheck(Settings):
    """Losses of general rows that were not trained on: means of -log p over their learnt tokens.

    In nats. The same rows are measured by the model before the training and by the one that came
    out, and both are drawn together in each resample of the interval. Of fewer rows than `LEAST`
    there is none: resamples of a few rows that all rose a little would never show a fall.
    """

    rows: int
    tokens: int
    before: float
    after: float
    low: float | None = None
    """Of the 95 % interval of `after - before`; None = too few rows to tell."""
    high: float | None = None
    """Of the same interval."""

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float], tokens: Sequence[int]) -> Self:
        """From the sums of -log p of each row, at least one, and how many tokens they are of."""
        from clear_pipeline.evaluate.bootstrap import ratio_estimate  # scikit-learn: seconds

        whole = sum(tokens)
        found = cls(
            rows=len(tokens), tokens=whole, before=sum(before) / whole, after=sum(after) / whole
        )
        if found.rows < LEAST:
            return found
        change = [one - other for one, other in zip(after, before, strict=True)]
        rise = ratio_estimate(change, tokens)
        return found.model_copy(update={"low": rise.low, "high": rise.high})

    @property
    def is_worse(self) -> bool:
        """Whether the loss rose by more than the choice of rows explains."""
        return self.low is not None and self.low > 0

    def shown(self) -> str:
        """The change for people, as in "+0.041 [+0.020, +0.062]"."""
        change = f"{self.after - self.before:+.3f}"
        if self.low is None or self.high is None:
            return f"{change} (too few general rows to tell)"
        return f"{change} [{self.low:+.3f}, {self.high:+.3f}]"

    def warning(self) -> str:
        """What to say where it is worse."""
        return (
            f"the model has become worse on general rows: their loss rose from {self.before:.3f} "
            f"to {self.after:.3f} nats, by {self.shown()} over {self.rows:,} rows. A larger share "
            "of general rows (--mix, --mix-share), a lower learning_rate or fewer epochs may help"
        )


def answers_command(rows: Path, before: str, after: ModelSettings) -> str:
    """The command that compares what both models answer to general rows.

    Args:
        rows: The file of the check, in the folder of the data of a training.
        before: The model that was trained, by its name for `--arm`.
        after: What came out, asked where the one before is, with the same key.
    """
    words = ["clear-pipeline", "evaluate", "model", str(rows)]
    words += ["--out", str(rows.parent.parent / "general")]
    words += ["--arm", f"before={before}", "--arm", f"after={after.model}"]
    route = {
        "--base-url": after.base_url,
        "--api-key-env": after.api_key_env,
        "--api-key-file": after.api_key_file,
    }
    for option, value in route.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)
