"""What is told of batches: how far they are, what to run by hand, and why one came to nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from clear_pipeline.errors import RunFailedError
from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.carrier import Seen, growing_path, requests_path, results_path

_SHOWN: Final = 5


def progress_of(batches: Sequence[Batch]) -> str:
    """State and counts of open batches, in one line."""
    shown = [
        f"batch {b.number}: {b.state}, {b.answered + b.failed:,} of {b.requests:,} done"
        for b in batches[:_SHOWN]
    ]
    rest = len(batches) - len(shown)
    return "; ".join([*shown, *([f"{rest:,} more"] if rest else [])])


def commands_for(batches: Sequence[Batch], directory: Path) -> list[str]:
    """What to run by hand for those that are offline, a command each.

    The results get the name under which they are taken in once the engine has written them all.

    Args:
        batches: Open ones.
        directory: Where their files are.
    """
    return [_command(batch, directory) for batch in batches if batch.offline]


def _command(batch: Batch, directory: Path) -> str:
    growing = str(growing_path(directory, batch))
    ask = [
        "vllm", "run-batch", "-i", str(requests_path(directory, batch)),
        "-o", growing, "--model", batch.model.model,
    ]  # fmt: skip
    keep = ["mv", growing, str(results_path(directory, batch))]
    return f"{shlex.join(ask)} && {shlex.join(keep)}"


def failed(batch: Batch, seen: Seen) -> RunFailedError:
    """The provider took none of the batch."""
    return RunFailedError(
        f"batch {batch.number} ({batch.batch_id}) of {batch.stage} has failed as a whole: "
        f"{seen.reason or 'no reason given'}. The same command submits its {batch.requests:,} "
        "requests again; where the provider's limit on enqueued tokens is the cause, set "
        "batch.max_enqueued_tokens to it"
    )


def unknown(batch: Batch, seen: Seen, run: Path) -> RunFailedError:
    """The provider does not know the batch."""
    return RunFailedError(
        f"{batch.model.url} does not know batch {batch.number} ({batch.batch_id}): {seen.reason}. "
        "Is the key that of the account that submitted it? To give the batch up and ask its "
        f"{batch.requests:,} requests anew: clear-pipeline batch cancel {shlex.quote(str(run))}"
    )
