"""An endpoint's paths beside those at which a model answers: calls that are tried again, files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from clear_pipeline.errors import CallError, RunFailedError
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.limits import retrying
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend

if TYPE_CHECKING:
    from clear_pipeline.llm.openai_chat import SDK, OpenAIChat

T = TypeVar("T")

Purpose: TypeAlias = Literal["batch", "fine-tune"]
"""What a file is uploaded for."""

PAGE = 100
"""Entries of a list that are asked for at once."""


def client_of(settings: ModelSettings, *, offline: bool = False) -> OpenAIChat:
    """The client of a model; that of an offline one sends nothing, and so needs no key.

    Raises:
        UsageError: The key that the endpoint needs is not in the environment.
    """
    # Here, because `import openai` takes longer than all of a command that asks no model.
    from clear_pipeline.llm.openai_chat import OpenAIChat

    keyless = settings.model_copy(update={"api_key_env": None, "api_key_file": None})
    # What it asks by itself costs nothing; what its work there took is counted in its record.
    account = Budget(BudgetSettings(), Spend()).account(settings.model, None, Meter())
    return OpenAIChat(keyless if offline else settings, account=account)


class Endpoint:
    """The API around one model.

    Args:
        chat: The model's client; it is not closed with this.
        settings: How often a call is tried, and where.
    """

    def __init__(self, chat: OpenAIChat, settings: ModelSettings) -> None:
        self._chat = chat
        self._settings = settings
        self._retrying = retrying(settings)

    @property
    def sdk(self) -> SDK:
        """For calls that are awaited in `once`, `tried` or `patiently`."""
        return self._chat.sdk

    def without_key(self, value: Any) -> Any:  # noqa: ANN401  # any JSON value
        """What the endpoint sent, without the key, which some servers repeat."""
        return self._chat.without_key(value)

    async def once(self, call: Awaitable[T]) -> T:
        """Await a call of `sdk`, see `OpenAIChat.translated`."""
        try:
            return await self._chat.translated(call)
        except (AttributeError, TypeError) as error:
            # How the SDK fails where it is answered with something else than was asked for.
            raise self._garbled() from error

    async def id_from(self, call: Awaitable[Any]) -> str:
        """The id of what a call of `sdk` shows or creates.

        Raises:
            CallError: It failed, or what came has no id.
        """
        id_ = getattr(await self.once(call), "id", None)
        if not isinstance(id_, str) or not id_:
            raise self._garbled()
        return id_

    async def tried(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds, the error is final or the attempts are used up.

        Raises:
            CallError: The last attempt's.
            RunFailedError: The endpoint answers nothing: refused key, no quota.
        """

        async def called() -> T:
            return await call()

        return await self._retrying.copy()(called)

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """As `tried`, where any failure stops the work.

        Raises:
            RunFailedError: It cannot be had now.
        """
        try:
            return await self.tried(call)
        except CallError as error:
            raise self.stopped(error) from error

    def stopped(self, error: CallError) -> RunFailedError:
        """What to tell where a failure stops the work."""
        return RunFailedError(
            f"{self._settings.url}: {error}; nothing is lost or paid twice: the same command goes "
            "on from here"
        )

    async def uploaded(self, path: Path, name: str, purpose: Purpose) -> str | None:
        """The id of a file that an earlier try uploaded under this name, if all has arrived.

        Raises:
            CallError: It did not say.
        """
        size = _size(path)

        async def look() -> str | None:
            async for listed in self.sdk.files.list(purpose=purpose, limit=PAGE):
                if listed.filename == name and listed.bytes == size:
                    return listed.id
            return None

        return await self.once(look())

    async def upload(self, path: Path, name: str, purpose: Purpose) -> str:
        """Upload a file under a name; returns its id.

        Raises:
            CallError: It was not taken, or nobody knows whether it was.
        """
        return await self.id_from(self.sdk.files.create(file=(name, path), purpose=purpose))

    def _garbled(self) -> CallError:
        return CallError(
            "garbled",
            f"{self._settings.url} answered with something else than it was asked for",
            transient=True,
        )


def _size(path: Path) -> int:
    return path.stat().st_size
