"""What the questions about one row took, as a column of the stage that asked them."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.counted import Counted

TOKENS: Final = ("prompt", "cached", "completion")
"""As `llm.base.Usage` counts them; `cached` is a part of `prompt`."""

USAGE: Final = pa.struct([(name, pa.int64()) for name in ("calls", *TOKENS)])
"""Questions about a row, failed ones included, and the tokens of those that were answered; null
where nothing was asked. An answer from the cache counts as when it was asked."""


def usage_of(model: Counted) -> dict[str, int] | None:
    """What a model was asked about a row, as a value of `USAGE`."""
    if model.calls == 0:
        return None
    used = model.usage or Usage()
    return {"calls": model.calls, **{name: getattr(used, name) for name in TOKENS}}
