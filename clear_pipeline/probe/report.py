"""`probe.json`: everything that a probe found, versioned, enough to draw it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from clear_pipeline.errors import DamagedRunError, UsageError
from clear_pipeline.evaluate.pairs import Sight
from clear_pipeline.evaluate.statistics import Estimate

REPORT: Final = "probe.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Part):
    """One corruption under one preset."""

    corruption: str
    plural: str
    explanation: str
    ability: str
    planted: int
    """Rows that were spoiled in this way; 0 where it applies to none of the sample."""
    n: int
    """Pairs of which both rows were scored."""
    win_rate: Estimate | None
    auroc: Estimate | None
    auroc_corrected: Estimate | None
    """With the noise rate; None where it is not known."""
    sight: Sight


class Cost(_Part):
    """Per 1,000 rows, from the originals of the sample."""

    prompt_tokens: float
    cached_tokens: float
    completion_tokens: float
    usd: float | None
    """None = the price is not known."""
    minutes: float | None
    """At the speed of this probe; None = every answer came from the cache."""


class PresetReport(_Part):
    """One preset."""

    preset: str
    settings: dict[str, Any]
    originals: int
    scored_originals: int
    unscored: dict[str, int]
    """Rows without a score, originals and spoiled ones, by reason."""
    findings: tuple[Finding, ...]
    cost: Cost
    noise_at_most: float | None
    """No more of the originals than this can be as bad as responses of other rows."""


class ProbeReport(_Part):
    """The whole probe."""

    schema_version: Literal[1] = 1
    package_version: str
    dataset: str
    rows_read: int
    usable: int
    model: str
    endpoint: str
    identity: str
    settings: dict[str, Any]
    noise_rate: float | None
    """As it was given; None = not known, and nothing is corrected."""
    presets: tuple[PresetReport, ...]
    recommended: str | None
    """The preset to use; None if the model sees nothing with any of them."""
    verdict: tuple[str, ...]
    """In words, a sentence or two per line."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json")


def read_report(directory: str | Path) -> ProbeReport:
    """The report of a finished probe.

    Raises:
        UsageError: There is none in the directory.
        DamagedRunError: It cannot be read.
    """
    path = Path(directory) / REPORT
    try:
        return ProbeReport.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{directory}: no probe here; start one: clear-pipeline probe DATA"
        ) from None
    except ValidationError as error:
        raise DamagedRunError(
            f"{path}: not a probe of this version; run the same command again, "
            "no answer is asked for twice"
        ) from error
