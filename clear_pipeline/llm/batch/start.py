"""Whether a model can be asked with batches, and the client that it is asked through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.batch.provider import Provider
from clear_pipeline.llm.batch.settings import Mode
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend

if TYPE_CHECKING:
    from clear_pipeline.llm.openai_chat import OpenAIChat


def client_of(settings: ModelSettings, *, offline: bool) -> OpenAIChat:
    """The client of a model; that of an offline one sends nothing, and so needs no key."""
    # Here, because `import openai` takes longer than all of a command that asks no model.
    from clear_pipeline.llm.openai_chat import OpenAIChat

    keyless = settings.model_copy(update={"api_key_env": None, "api_key_file": None})
    # What it asks by itself costs nothing; what its batches took is counted in their record.
    account = Budget(BudgetSettings(), Spend()).account(settings.model, None, Meter())
    return OpenAIChat(keyless if offline else settings, account=account)


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
            chat = client_of(settings, offline=False)
            try:
                await Provider(chat, settings, window="").check()
            finally:
                await chat.close()
