"""One request to an OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp, Ollama ...

Every failure is one of this package's errors, see `openai_errors`: no other module imports
`openai`. Retries, concurrency and the cache are layers above it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai

from clear_pipeline.errors import (
    CallError,
    ClearPipelineError,
    UnreachableError,
    UsageError,
)
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion, Usage
from clear_pipeline.llm.budget import Account
from clear_pipeline.llm.dialect import Dialect
from clear_pipeline.llm.keys import read_key, spelled_without_key, without_key
from clear_pipeline.llm.openai_errors import (
    FAILURES,
    EndpointErrors,
    blamed,
    is_late,
    is_unbilled,
    is_unconnected,
)
from clear_pipeline.llm.pace import Heard
from clear_pipeline.llm.post import Poster, http_client
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.vectors import parse_embeddings
from clear_pipeline.llm.wire import (
    Body,
    NoAnswerError,
    body_text,
    parse_completion,
    parse_usage,
    thought_tokens,
    usage_bound,
)

T = TypeVar("T")

SDK: TypeAlias = openai.AsyncOpenAI
"""What speaks to an endpoint; its name elsewhere."""

_EXTRA_SECONDS: Final = 5.0
"""To connect for a question beside those to the model, and again for each part of its answer. Such
answers are not computed by the model, so they come at once or do not come."""

_MOST_FORMS: Final = 16
"""In so many forms one question is asked at most: more than there are parameters to change. A
server may refuse either of two forms in favour of the other."""


class OpenAIChat:
    """The client of one endpoint.

    `complete` answers the first samples of a request, at least one and as many as the server
    gives at once; the layer above asks again for the rest.

    Args:
        settings: Which model, and where.
        account: Every request passes it, and is settled there by what the server counted.
        identity: What stands for the model in cache keys; None = `settings.identity`.
        heard: Told of every response, also of a refusal.

    Raises:
        UsageError: The key that the endpoint needs is not in the environment.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        account: Account,
        identity: str | None = None,
        heard: Heard | None = None,
    ) -> None:
        self._settings = settings
        self._account = account
        self._identity = identity or settings.identity
        self._dialect = Dialect(settings)
        self._key = read_key(settings)
        self._errors = EndpointErrors(settings, self._key)
        self._silent: set[str] = set()
        self._spoken: set[str] = set()
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=settings.url,
            max_retries=0,
            timeout=openai.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
            http_client=http_client(heard),
        )
        if not settings.is_openai:
            # The SDK takes these from the environment; they are OpenAI's business alone.
            self._client.organization = self._client.project = None
            self._client._custom_headers = {}  # noqa: SLF001  # OPENAI_CUSTOM_HEADERS
        self._send = Poster(self._client, heard)

    @property
    def identity(self) -> str:
        """Host, path, model and revision, or as given."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """What is known of the endpoint so far."""
        return self._dialect.capabilities

    @property
    def dialect(self) -> Dialect:
        """What the endpoint understands."""
        return self._dialect

    @property
    def sdk(self) -> SDK:
        """For the endpoint's other paths; await its calls in `translated`."""
        return self._client

    def without_key(self, value: Any) -> Any:  # noqa: ANN401  # any JSON value
        """What the endpoint sent, without the key, which some servers repeat."""
        return without_key(value, self._key)

    def parsed(self, reply: Body, request: ChatRequest, usage: Usage) -> Completion:
        """See `wire.parse_completion`; without the key, also where the reply has it in pieces."""
        try:
            completion = parse_completion(reply, request, usage)
        except NoAnswerError as error:
            raise self._errors.no_answer(reply) from error
        return spelled_without_key(completion, self._key)

    async def translated(self, call: Awaitable[T]) -> T:
        """Await a call of `sdk`.

        Raises:
            CallError: It failed.
            RunFailedError: This endpoint answers nothing: refused key, no quota.
        """
        try:
            return await call
        except FAILURES as error:
            raise self._errors.translated(error) from None

    def refusal(self, body: Body, status: int, reply: object) -> ClearPipelineError | None:
        """What an HTTP error means that came for `body` in a file, as `complete` would take it.

        Returns:
            None if asking again, with a body that is made anew, may go better.
        """
        request = httpx2.Request("POST", f"{self._settings.url}/chat/completions")
        response = httpx2.Response(status, request=request)
        error = self._client._make_status_error(str(reply), body=reply, response=response)  # noqa: SLF001
        kinds = (openai.BadRequestError, openai.UnprocessableEntityError)
        if isinstance(error, kinds) and self._dialect.learn_from_refusal(
            body, param=blamed(error), message=self._errors.said(error)
        ):
            return None
        if isinstance(error, openai.NotFoundError):
            return UsageError(f"{self._settings.url} has no model {self._settings.model!r}")
        return self._errors.translated(error)

    async def probe(self) -> None:
        """Learn whether the server runs, and whether it is a llama.cpp.

        A server that accepts the connection and then breaks it off or says nothing may have an
        API all the same: whether it has is told by the first question to the model.

        Raises:
            UnreachableError: Nothing listens at the address.
        """
        try:
            props = await self._client.get(
                f"{self._root}/props", cast_to=object, options={"timeout": _EXTRA_SECONDS}
            )
        except FAILURES as error:
            if is_unconnected(error):
                raise UnreachableError(self._errors.unreachable(error)) from None
            return
        if isinstance(props, dict) and isinstance(slots := props.get("total_slots"), int):
            self._dialect.is_llama_cpp(slots)

    async def complete(self, request: ChatRequest) -> Completion:
        """Send one request; see the class for how many samples it answers.

        Raises:
            CallError: No usable answer.
            RunFailedError: This endpoint answers nothing: refused key, no quota.
            UsageError: The endpoint does not know the model, or is no API.
        """
        forms = 0
        while True:
            forms += 1
            asked = self._dialect.fit(request)
            body = self._dialect.body(asked)
            try:
                reply, usage = await self._post(body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                message = self._errors.said(error)
                learnt = self._dialect.learn_from_refusal(
                    body, param=blamed(error), message=message
                )
                if learnt and forms < _MOST_FORMS:
                    continue
                raise self._errors.translated(error) from None
            except openai.NotFoundError as error:
                raise UsageError(await self._unknown_model(error)) from None
            except FAILURES as error:
                raise self._errors.translated(error) from None
            completion = self.parsed(reply, asked, usage)
            thought = thought_tokens(reply)
            if not self._dialect.learn_from_reply(asked, body, completion, thought=thought):
                return completion

    async def embed(self, texts: Sequence[str]) -> list[Completion | CallError]:
        """The embeddings of `texts` in one request, see `vectors.parse_embeddings`.

        Raises:
            CallError: No usable answer.
            RunFailedError: This endpoint answers nothing: refused key, no quota.
            UsageError: The endpoint does not know the model, gives no embeddings, or is no API.
        """
        given = texts[0] if len(texts) == 1 else list(texts)
        body = {"model": self._settings.model, "input": given, "encoding_format": "float"}
        try:
            reply, usage = await self._post(body, path="/embeddings")
        except openai.NotFoundError as error:
            raise UsageError(await self._unknown_model(error)) from None
        except FAILURES as error:
            raise self._errors.translated(error) from None
        try:
            return parse_embeddings(reply, usage, texts)
        except NoAnswerError as error:
            raise self._errors.no_answer(reply, wanted="embedding") from error

    async def ask_root(self, path: str, body: Body) -> Body:
        """What the server answers at a path outside of the API; {} if that is nothing of use.

        Such paths are extras: one that is missing or fails tells nothing about the API. One that
        does not answer in time is not asked again; one that has answered may take as long as a
        question to the model.
        """
        if path in self._silent:
            return {}
        patience: Any = {} if path in self._spoken else {"timeout": _EXTRA_SECONDS}
        try:
            reply: Any = await self._client.post(
                self._root + path, cast_to=object, body=body, options=patience
            )
        except FAILURES as error:
            if is_late(error):
                self._silent.add(path)
            return {}
        self._spoken.add(path)
        return reply if isinstance(reply, dict) else {}

    async def close(self) -> None:
        """Release the connections."""
        await self._send.close()
        await self._client.close()

    @property
    def _root(self) -> str:
        parts = urlsplit(self._settings.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def _post(self, body: Body, *, path: str = "/chat/completions") -> tuple[Body, Usage]:
        """One request: reserved before it is sent, settled by what the server counted.

        Of a failure that may have been billed, and of a reply that counts nothing, the whole
        bound counts.
        """
        text = body_text(body)
        async with self._account.request(usage_bound(body, text)) as request:
            try:
                reply: Any = without_key(await self._send(path, text), self._key)
            except FAILURES as error:
                no_api = self._errors.no_api(error)
                if no_api is not None or is_unbilled(error):
                    request.refused()
                if no_api is not None:
                    raise no_api from None
                raise
            self._errors.key_worked = True
            if not isinstance(reply, dict):
                wanted = "embedding" if path == "/embeddings" else "chat completion"
                raise self._errors.no_answer(reply, wanted=wanted)
            usage = parse_usage(reply, per_choice=self._dialect.per_choice_usage)
            request.settle(usage)
        return reply, usage

    async def _unknown_model(self, error: openai.NotFoundError) -> str:
        """What to tell about a 404: the models that are there, or that no API is.

        Of a model that is listed, what the server said.
        """
        model, url = self._settings.model, self._settings.url
        try:
            listed: Any = await self._client.get(
                "/models", cast_to=object, options={"timeout": _EXTRA_SECONDS}
            )
            names = sorted(without_key(str(entry["id"]), self._key) for entry in listed["data"])
        except (*FAILURES, KeyError, TypeError):
            return (
                f"no OpenAI-compatible API at {url} (its URL usually ends in /v1): "
                f"{self._errors.said(error)}"
            )
        if model in names:
            return f"{url} lists {model!r} but answers 404: {self._errors.said(error)}"
        return f"{url} has no model {model!r}; it has {', '.join(names[:20]) or 'none'}"
