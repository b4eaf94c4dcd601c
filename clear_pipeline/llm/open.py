"""The one place where the layers of a model are put together."""

from __future__ import annotations

import logging
from pathlib import Path

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import Capabilities, ChatModel
from clear_pipeline.llm.budget import Account, Budget
from clear_pipeline.llm.cache import Cached
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.dialect import Dialect
from clear_pipeline.llm.limits import Limited
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.pace import Heard, Pace
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.pull import Note
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend

logger = logging.getLogger(__name__)


def model_identity(settings: ModelSettings, *, embeds: bool = False) -> str:
    """The identity that `open_model` will give the model; nothing is opened."""
    model = embedded_model(settings)
    identity = settings.identity if model is None else model.identity
    return f"{identity}#embeddings" if embeds else identity


async def known_capabilities(settings: ModelSettings) -> Capabilities:
    """What is known of an endpoint before it is asked anything: nothing is fetched or started.

    Raises:
        UnreachableError: No server answers at `base_url`.
    """
    from clear_pipeline.llm.embedded import capabilities_of
    from clear_pipeline.llm.openai_chat import OpenAIChat

    if (model := embedded_model(settings)) is not None:
        return capabilities_of(model)
    if settings.is_openai:
        return Dialect(settings).capabilities
    client = OpenAIChat(settings, account=_uncapped().account(settings.model, None, Meter()))
    try:
        await client.probe()
        return client.capabilities
    finally:
        await client.close()


async def open_model(
    settings: ModelSettings,
    *,
    cache_path: Path | None,
    meter: Meter,
    budget: Budget | None = None,
    note: Note = logger.info,
    embeds: bool = False,
) -> Cached:
    """Connect to a model: cache, then limits, then the client. Close it when done.

    Every request of the client, each retry and each second try with other parameters, passes the
    budget. A name of the catalogue without `base_url` starts that model in this process.

    Args:
        settings: Which model, and where.
        cache_path: SQLite file for answers; None keeps them in memory.
        meter: Counts what the model does.
        budget: The caps; None for none.
        note: Told, a line each, what is fetched before the embedded model can start.
        embeds: Whether it is asked for embeddings and not for words, see `llm.embeddings`.

    Raises:
        UnreachableError: No server answers at `base_url`.
        UsageError: The key that the endpoint needs is not in the environment, or embeddings are
            wanted of the embedded model, or a cap in dollars of a model whose price is not known.
        MissingExtraError: The embedded model needs the extra `local`, or `train`.
        WeightsError: The embedded model's weights could not be had.
        DamagedRunError: `cache_path` is no cache.
    """
    account = (budget or _uncapped()).account(settings.model, prices(settings), meter)
    pace = Pace(settings)
    client = await _client(settings, account=account, note=note, embeds=embeds, heard=pace.heard)
    try:
        limited = Limited(client, settings=settings, meter=meter, pace=pace)
        return Cached(limited, path=cache_path, meter=meter, client=client)
    except BaseException:
        await client.close()
        raise


def _uncapped() -> Budget:
    return Budget(BudgetSettings(), Spend())


async def _client(
    settings: ModelSettings, *, account: Account, note: Note, embeds: bool, heard: Heard
) -> ChatModel:
    # Here, because `import openai` takes longer than all of a command that asks no model.
    from clear_pipeline.llm.embedded import EmbeddedChat
    from clear_pipeline.llm.embeddings import EmbeddingModel
    from clear_pipeline.llm.openai_chat import OpenAIChat

    if (model := embedded_model(settings)) is not None:
        if embeds:
            raise UsageError(
                f"the embedded model {model.name} gives no embeddings: name a server that has "
                "/v1/embeddings with models.embedder: {model: NAME, base_url: URL}"
            )
        return await EmbeddedChat.start(settings, model, account=account, note=note)
    client = OpenAIChat(settings, account=account, heard=heard)
    try:
        if not settings.is_openai:
            await client.probe()
    except BaseException:
        await client.close()
        raise
    if embeds:
        return EmbeddingModel(client, model_identity(settings, embeds=True))
    return client
