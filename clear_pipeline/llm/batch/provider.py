"""The Batch API of an endpoint: /v1/files and /v1/batches, through its client's SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from clear_pipeline.errors import CallError, RunFailedError, UsageError
from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.carrier import ENDED, UNKNOWN, Entered, Seen
from clear_pipeline.llm.batch.lines import PATH
from clear_pipeline.llm.limits import retrying
from clear_pipeline.llm.settings import ModelSettings

if TYPE_CHECKING:
    from clear_pipeline.llm.openai_chat import OpenAIChat

T = TypeVar("T")

TAG: Final = "clear_pipeline_tag"
"""Key of a batch's tag in its metadata."""

_PAGE: Final = 100
_REASONS: Final = 3


class Provider:
    """Carries batches to one endpoint.

    Args:
        chat: The endpoint's client; it is not closed with this.
        settings: Which model, and how often a call is tried.
        window: After which time a batch expires.
    """

    def __init__(self, chat: OpenAIChat, settings: ModelSettings, *, window: str) -> None:
        self._chat = chat
        self._settings = settings
        self._window: Any = window
        self._retrying = retrying(settings)

    async def check(self) -> None:
        """Make sure that the endpoint takes batches.

        Raises:
            UsageError: It does not.
            RunFailedError: It did not say.
        """
        try:
            if not self._settings.is_openai:
                await self._chat.probe()
                if self._chat.capabilities.slots is not None:
                    raise UsageError(self._no_batches("it is a llama.cpp"))
            await self._retrying.copy()(self._newest)
        except CallError as error:
            if error.transient:
                raise self._stopped(error) from error
            raise UsageError(self._no_batches(error.message)) from None

    async def find(self, batch: Batch) -> str | None:
        """The batch with that tag."""
        return await self._patiently(lambda: self._found(batch))

    async def submit(self, batch: Batch, path: Path, entered: Entered, *, again: bool) -> Batch:
        """Upload the file and create the batch, unless either is there already."""

        async def attempt() -> Batch:
            nonlocal batch, again
            batch_id = await self._found(batch) if again else None
            if batch_id is None:
                if batch.file_id is None:
                    file_id = await self._uploaded(batch, path) if again else None
                    again = True
                    batch = replace(batch, file_id=file_id or await self._upload(batch, path))
                    entered(batch)
                again = True
                batch_id = await self._create(batch)
            batch = replace(batch, batch_id=batch_id, state="validating")
            entered(batch)
            return batch

        return await self._patiently(attempt)

    async def look(self, batch: Batch) -> Seen:
        """Its state, counts and files."""
        try:
            return await self._retrying.copy()(self._retrieved, batch)
        except CallError as error:
            if error.transient:
                raise self._stopped(error) from error
            return Seen(UNKNOWN, reason=error.message)

    async def results(self, seen: Seen) -> Iterable[bytes]:
        """The lines of the output file and of the error file."""
        return [line for file in seen.files for line in await self._lines(file)]

    async def cancel(self, batch: Batch) -> None:
        """Ask the provider to cancel it; one that has ended stays as it is."""
        if (await self.look(batch)).state not in (*ENDED, "cancelling", UNKNOWN):
            await self._patiently(
                lambda: self._chat.translated(self._chat.sdk.batches.cancel(str(batch.batch_id)))
            )

    async def _retrieved(self, batch: Batch) -> Seen:
        found = await self._chat.translated(self._chat.sdk.batches.retrieve(str(batch.batch_id)))
        counts, errors = found.request_counts, found.errors
        said = [error.message or error.code or "" for error in (errors and errors.data) or ()]
        files = (found.output_file_id, found.error_file_id) if found.status in ENDED else ()
        return Seen(
            found.status,
            counts.completed if counts else 0,
            counts.failed if counts else 0,
            tuple(file for file in files if file),
            str(self._chat.without_key("; ".join(said[:_REASONS]))),
        )

    async def _newest(self) -> None:
        await self._chat.translated(self._page())

    async def _page(self) -> None:
        await self._chat.sdk.batches.list(limit=1)

    async def _found(self, batch: Batch) -> str | None:
        async def look() -> str | None:
            async for listed in self._chat.sdk.batches.list(limit=_PAGE):
                if (listed.metadata or {}).get(TAG) == batch.tag:
                    return listed.id
            return None

        return await self._chat.translated(look())

    async def _uploaded(self, batch: Batch, path: Path) -> str | None:
        """The file of an earlier try, if all of it has arrived."""
        size = _size(path)

        async def look() -> str | None:
            async for listed in self._chat.sdk.files.list(purpose="batch", limit=_PAGE):
                if listed.filename == _name(batch) and listed.bytes == size:
                    return listed.id
            return None

        return await self._chat.translated(look())

    async def _upload(self, batch: Batch, path: Path) -> str:
        created = await self._chat.translated(
            self._chat.sdk.files.create(file=(_name(batch), path), purpose="batch")
        )
        return created.id

    async def _create(self, batch: Batch) -> str:
        created = await self._chat.translated(
            self._chat.sdk.batches.create(
                input_file_id=str(batch.file_id),
                endpoint=PATH,
                completion_window=self._window,
                metadata={TAG: batch.tag, "clear_pipeline_stage": batch.stage},
            )
        )
        return created.id

    async def _lines(self, file: str) -> list[bytes]:
        content = await self._patiently(
            lambda: self._chat.translated(self._chat.sdk.files.content(file))
        )
        return content.content.splitlines()

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds or its attempts are used up."""

        async def called() -> T:
            return await call()

        try:
            return await self._retrying.copy()(called)
        except CallError as error:
            raise self._stopped(error) from error

    def _stopped(self, error: CallError) -> RunFailedError:
        return RunFailedError(
            f"{self._settings.url}: {error}; nothing is lost or paid twice: the same command goes "
            "on from here"
        )

    def _no_batches(self, why: str) -> str:
        return (
            f"{self._settings.url} has no batch endpoint ({why}): leave out --mode batch, or use "
            "--mode offline, which writes files for `vllm run-batch`"
        )


def _size(path: Path) -> int:
    return path.stat().st_size


def _name(batch: Batch) -> str:
    return f"clear-pipeline-{batch.tag}.jsonl"
