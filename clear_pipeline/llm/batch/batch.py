"""One batch: a file of requests that an engine answers as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from clear_pipeline.llm.meter import Amount
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import JSON

INTENDED: Final = "intended"
"""State of a batch that the provider may not know yet."""


def usage_name(model: str) -> str:
    """Under which name what a model's batches took stands in the usage of a run."""
    return f"{model}, batches"


@dataclass(frozen=True, slots=True)
class Batch:
    """One file of requests.

    Attributes:
        number: Counts the files of a run from 1; `requests-NUMBER.jsonl` is this one's.
        tag: Marks it at the provider, as `clear_pipeline_tag` in the batch's metadata and in the
            name of the uploaded file.
        stage: Whose questions these are.
        round: The how many-th round of that stage it belongs to, from 1.
        offline: Whether an engine that is started by hand answers.
        model: Who is asked.
        requests: How many.
        tokens: About how many prompt tokens they have.
        sha256: Of the file.
        state: `intended`, then the provider's word for it.
        file_id: Of the uploaded file, once it is known.
        batch_id: Of the batch, once it is known.
        answered: Requests that the provider has answered so far.
        failed: Requests that failed there so far.
        most: Upper bound of what it can take; counts under the caps of the run until it ends.
    """

    number: int
    tag: str
    stage: str
    round: int
    offline: bool
    model: ModelSettings
    requests: int
    tokens: int
    sha256: str
    state: str
    file_id: str | None = None
    batch_id: str | None = None
    answered: int = 0
    failed: int = 0
    most: Amount = field(default_factory=Amount)

    def to_json(self) -> dict[str, JSON]:
        """For a script: what people want to know of it."""
        names = ("number", "stage", "state", "requests", "answered", "failed", "batch_id", "tag")
        return {"model": self.model.model, **{name: getattr(self, name) for name in names}}
