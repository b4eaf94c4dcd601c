"""Whether a model can be asked with batches."""

from __future__ import annotations

from collections.abc import Iterable

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.batch.provider import Provider
from clear_pipeline.llm.batch.settings import Mode
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.endpoint import client_of
from clear_pipeline.llm.settings import ModelSettings


async def require_batches(models: Iterable[ModelSettings], mode: Mode) -> None:
    """Make sure that these models can be asked in that mode, before any work.

    Raises:
        UsageError: One cannot; says why and what to do.
        RunFailedError: Its server does not answer.
    """
    for settings in models:
        if (entry := embedded_model(settings)) is not None:
            raise UsageError(
                f"--mode {mode} needs an endpoint: the embedded model {entry.name} answers at once "
                "and has no batches. Leave --mode out, or give --model NAME"
            )
        if mode == "offline" and settings.is_openai:
            raise UsageError(
                f"--mode offline needs the --base-url under which {settings.model} would be asked "
                "live, such as http://localhost:8000/v1: answers are kept under it, and nothing "
                "is sent there"
            )
        if mode == "batch":
            chat = client_of(settings)
            try:
                await Provider(chat, settings, window="").check()
            finally:
                await chat.close()
