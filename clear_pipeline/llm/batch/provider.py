"""The Batch API of an endpoint: /v1/files and /v1/batches, through its client's SDK."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clear_pipeline.errors import CallError, UsageError
from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.carrier import ENDED, UNKNOWN, Entered, Seen
from clear_pipeline.llm.batch.lines import PATH
from clear_pipeline.llm.endpoint import PAGE, Endpoint, Purpose
from clear_pipeline.llm.settings import ModelSettings

if TYPE_CHECKING:
    from clear_pipeline.llm.openai_chat import OpenAIChat

TAG: Final = "clear_pipeline_tag"
"""Key of a batch's tag in its metadata."""

_FILES: Final[Purpose] = "batch"
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
        self._endpoint = Endpoint(chat, settings)

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
            await self._endpoint.tried(self._newest)
        except CallError as error:
            if error.transient:
                raise self._endpoint.stopped(error) from error
            raise UsageError(self._no_batches(error.message)) from None

    async def find(self, batch: Batch) -> str | None:
        """The batch with that tag."""
        return await self._endpoint.patiently(lambda: self._found(batch))

    async def submit(self, batch: Batch, path: Path, entered: Entered, *, again: bool) -> Batch:
        """Upload the file and create the batch, unless either is there already."""

        async def attempt() -> Batch:
            nonlocal batch, again
            batch_id = await self._found(batch) if again else None
            if batch_id is None:
                if batch.file_id is None:
                    name = f"clear-pipeline-{batch.tag}.jsonl"
                    found = await self._endpoint.uploaded(path, name, _FILES) if again else None
                    again = True
                    file_id = found or await self._endpoint.upload(path, name, _FILES)
                    batch = replace(batch, file_id=file_id)
                    entered(batch)
                again = True
                batch_id = await self._create(batch)
            batch = replace(batch, batch_id=batch_id, state="validating")
            entered(batch)
            return batch

        return await self._endpoint.patiently(attempt)

    async def look(self, batch: Batch) -> Seen:
        """Its state, counts and files."""
        try:
            return await self._endpoint.tried(lambda: self._retrieved(batch))
        except CallError as error:
            if error.transient:
                raise self._endpoint.stopped(error) from error
            return Seen(UNKNOWN, reason=error.message)

    async def results(self, seen: Seen) -> Iterable[bytes]:
        """The lines of the output file and of the error file."""
        return [line for file in seen.files for line in await self._lines(file)]

    async def cancel(self, batch: Batch) -> None:
        """Ask the provider to cancel it; one that has ended stays as it is."""
        if (await self.look(batch)).state not in (*ENDED, "cancelling", UNKNOWN):
            await self._endpoint.patiently(
                lambda: self._endpoint.once(self._endpoint.sdk.batches.cancel(str(batch.batch_id)))
            )

    async def _retrieved(self, batch: Batch) -> Seen:
        found = await self._endpoint.once(self._endpoint.sdk.batches.retrieve(str(batch.batch_id)))
        counts, errors = found.request_counts, found.errors
        said = [error.message or error.code or "" for error in (errors and errors.data) or ()]
        files = (found.output_file_id, found.error_file_id) if found.status in ENDED else ()
        return Seen(
            found.status,
            counts.completed if counts else 0,
            counts.failed if counts else 0,
            tuple(file for file in files if file),
            str(self._endpoint.without_key("; ".join(said[:_REASONS]))),
        )

    async def _newest(self) -> None:
        await self._endpoint.once(self._page())

    async def _page(self) -> None:
        await self._endpoint.sdk.batches.list(limit=1)

    async def _found(self, batch: Batch) -> str | None:
        async def look() -> str | None:
            async for listed in self._endpoint.sdk.batches.list(limit=PAGE):
                if (listed.metadata or {}).get(TAG) == batch.tag:
                    return listed.id
            return None

        return await self._endpoint.once(look())

    async def _create(self, batch: Batch) -> str:
        return await self._endpoint.id_from(
            self._endpoint.sdk.batches.create(
                input_file_id=str(batch.file_id),
                endpoint=PATH,
                completion_window=self._window,
                metadata={TAG: batch.tag, "clear_pipeline_stage": batch.stage},
            )
        )

    async def _lines(self, file: str) -> list[bytes]:
        content = await self._endpoint.patiently(
            lambda: self._endpoint.once(self._endpoint.sdk.files.content(file))
        )
        return content.content.splitlines()

    def _no_batches(self, why: str) -> str:
        return (
            f"{self._settings.url} has no batch endpoint ({why}): leave out --mode batch, or use "
            "--mode offline, which writes files for `vllm run-batch`"
        )
