"""One request to an OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp, Ollama ...

The only module that imports `openai`. It turns every failure into one of this package's errors;
retries, concurrency and the cache are layers above it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from clear_pipeline.errors import (
    CallError,
    ClearPipelineError,
    RunFailedError,
    UnreachableError,
    UsageError,
)
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion, Usage
from clear_pipeline.llm.budget import Account
from clear_pipeline.llm.dialect import Dialect, too_long
from clear_pipeline.llm.keys import read_key, without_key, without_secrets
from clear_pipeline.llm.pace import Heard
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.wire import (
    Body,
    parse_completion,
    parse_embedding,
    parse_usage,
    thought_tokens,
    usage_bound,
)

T = TypeVar("T")

_PROBE_SECONDS: Final = 5.0
_MESSAGE_LENGTH: Final = 300

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_FILTER_CODES = {"content_filter", "content_policy_violation"}


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
        self._key_worked = False
        hooks = [] if heard is None else [heard]
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=settings.url,
            max_retries=0,
            timeout=openai.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
            http_client=openai.DefaultAioHttpClient(event_hooks={"response": hooks}),
        )
        if not settings.is_openai:
            # The SDK takes these from the environment; they are OpenAI's business alone.
            self._client.organization = self._client.project = None

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
    def sdk(self) -> openai.AsyncOpenAI:
        """For the endpoint's other paths; await its calls in `translated`."""
        return self._client

    def without_key(self, value: Any) -> Any:  # noqa: ANN401  # any JSON value
        """What the endpoint sent, without the key, which some servers repeat."""
        return without_key(value, self._key)

    async def translated(self, call: Awaitable[T]) -> T:
        """Await a call of `sdk`.

        Raises:
            CallError: It failed.
            RunFailedError: This endpoint answers nothing: refused key, no quota.
        """
        try:
            return await call
        except (openai.APIError, ValueError) as error:
            raise self._translated(error) from None

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
            body, param=_blamed(error), message=self._said(error)
        ):
            return None
        if isinstance(error, openai.NotFoundError):
            return UsageError(f"{self._settings.url} has no model {self._settings.model!r}")
        return self._translated(error)

    async def probe(self) -> None:
        """Learn whether the server runs, and whether it is a llama.cpp.

        Raises:
            UnreachableError: Nothing answers at the address.
        """
        try:
            props = await self._client.get(
                f"{self._root}/props", cast_to=object, options={"timeout": _PROBE_SECONDS}
            )
        except openai.APIConnectionError as error:
            raise UnreachableError(self._unreachable(error)) from None
        except (openai.APIError, ValueError):
            return  # something answers, but it is no llama.cpp
        if isinstance(props, dict) and isinstance(slots := props.get("total_slots"), int):
            self._dialect.is_llama_cpp(slots)

    async def complete(self, request: ChatRequest) -> Completion:
        """Send one request; see the class for how many samples it answers.

        Raises:
            CallError: No usable answer.
            RunFailedError: This endpoint answers nothing: refused key, no quota.
            UsageError: The endpoint does not know the model.
        """
        while True:
            asked = self._dialect.fit(request)
            body = self._dialect.body(asked)
            try:
                reply, usage = await self._post(body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                message = self._said(error)
                if self._dialect.learn_from_refusal(body, param=_blamed(error), message=message):
                    continue
                raise self._translated(error) from None
            except openai.NotFoundError as error:
                raise UsageError(await self._unknown_model(error)) from None
            except (openai.APIError, ValueError) as error:
                raise self._translated(error) from None
            completion = parse_completion(reply, asked, usage)
            thought = thought_tokens(reply)
            if not self._dialect.learn_from_reply(asked, body, completion, thought=thought):
                return completion

    async def embed(self, text: str) -> Completion:
        """The embedding of `text`, as one choice whose text is a JSON list.

        Raises:
            CallError: No usable answer.
            RunFailedError: This endpoint answers nothing: refused key, no quota.
            UsageError: The endpoint does not know the model, or gives no embeddings.
        """
        body = {"model": self._settings.model, "input": text, "encoding_format": "float"}
        try:
            reply, usage = await self._post(body, path="/embeddings")
        except openai.NotFoundError as error:
            raise UsageError(await self._unknown_model(error)) from None
        except (openai.APIError, ValueError) as error:
            raise self._translated(error) from None
        return parse_embedding(reply, usage)

    async def ask_root(self, path: str, body: Body) -> Body:
        """What the server answers at a path outside of the API; {} where it has no such path.

        Raises:
            UnreachableError: Nothing answers at the address.
        """
        try:
            reply: Any = await self._client.post(self._root + path, cast_to=object, body=body)
        except openai.APIConnectionError as error:
            raise UnreachableError(self._unreachable(error)) from None
        except (openai.APIError, ValueError):
            return {}
        return reply if isinstance(reply, dict) else {}

    async def close(self) -> None:
        """Release the connections."""
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
        async with self._account.request(usage_bound(body)) as request:
            try:
                said: Any = await self._client.post(path, cast_to=object, body=body)
            except (openai.APIError, ValueError) as error:
                if _is_unbilled(error):
                    request.refused()
                raise
            self._key_worked = True
            reply = without_key(said, self._key)
            if not isinstance(reply, dict):
                raise CallError("garbled", self._no_api(reply), transient=True)
            usage = parse_usage(reply, per_choice=self._dialect.per_choice_usage)
            request.settle(usage)
        return reply, usage

    def _translated(  # noqa: C901, PLR0911 -- a table: one line per class of failure
        self, error: openai.APIError | ValueError
    ) -> ClearPipelineError:
        """This package's error for one of the SDK's. The only such mapping."""
        said = self._said(error)
        retry_after = _retry_after(error)
        match error:
            case openai.APITimeoutError() if _refusal(error) is None:
                return CallError("timeout", said, transient=True)
            case openai.APIConnectionError():
                return CallError("unreachable", self._unreachable(error), transient=True)
            case openai.PermissionDeniedError() if self._key_worked:
                return CallError("auth", said, transient=False)
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return RunFailedError(self._refused_key(said))
            case openai.RateLimitError(code="insufficient_quota"):
                return RunFailedError(f"{self._settings.url}: the account has no quota: {said}")
            case openai.RateLimitError():
                return CallError("rate_limit", said, transient=True, retry_after=retry_after)
            case openai.APIStatusError(status_code=status):
                if status >= 500 or status in {408, 409}:  # noqa: PLR2004 -- HTTP's own numbers
                    return CallError("outage", said, transient=True, retry_after=retry_after)
                codes = {error.code, error.type}
                if codes & _CONTEXT_CODES or too_long(said):
                    return CallError("context", said, transient=False)
                kind = "content_filter" if codes & _FILTER_CODES else "bad_request"
                return CallError(kind, said, transient=False)
            case UnicodeError():
                return CallError("bad_request", f"not sendable as UTF-8: {said}", transient=False)
            case _:
                return CallError("garbled", f"the reply is no JSON: {said}", transient=True)

    def _said(self, error: Exception) -> str:
        """The message in one line, cut, and without the key, which some servers repeat."""
        body = getattr(error, "body", None)
        said = body.get("message") if isinstance(body, dict) else None
        text = " ".join(str(said or error).split())
        if isinstance(body, dict) and "n_prompt_tokens" in body:
            # Some versions of llama.cpp give the numbers beside the message only.
            text += f" ({body['n_prompt_tokens']} tokens, window {body.get('n_ctx', 'unknown')})"
        text = without_secrets(text, self._key)
        return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + " ..."

    def _unreachable(self, error: Exception) -> str:
        said = self._said(_refusal(error) or error)
        return (
            f"no model server answers at {self._settings.url} ({said}); is it up? "
            "Start one, e.g. `ollama serve`, `llama-server -m MODEL.gguf` or `vllm serve MODEL`, "
            "or check the URL"
        )

    def _refused_key(self, said: str) -> str:
        hint = "set `api_key_env` to the environment variable that holds this server's key"
        if self._settings.key_env is not None:
            hint = f"check the key in the environment variable {self._settings.key_env}"
        if self._settings.api_key_file is not None:
            hint = f"check the key in {self._settings.api_key_file}"
        return f"{self._settings.url} refuses access: {hint} ({said})"

    def _no_api(self, reply: object) -> str:
        start = " ".join(str(reply).split())[:60]
        return (
            f"{self._settings.url} gave no JSON object but {start!r}; is an OpenAI-compatible API "
            "there (its URL usually ends in /v1)?"
        )

    async def _unknown_model(self, error: openai.NotFoundError) -> str:
        """What to tell about a 404: the models that are there, or that no API is."""
        model, url = self._settings.model, self._settings.url
        try:
            listed: Any = await self._client.get("/models", cast_to=object)
            names = sorted(without_key(str(entry["id"]), self._key) for entry in listed["data"])
        except (openai.APIError, ValueError, KeyError, TypeError):
            return (
                f"no OpenAI-compatible API at {url} (its URL usually ends in /v1): "
                f"{self._said(error)}"
            )
        return f"{url} has no model {model!r}; it has {', '.join(names[:20]) or 'none'}"


def _is_unbilled(error: openai.APIError | ValueError) -> bool:
    """Whether a failed request is known not to be billed: never sent, or refused unread.

    A content filter and a window that is too small work on the prompt first, which some providers
    charge for; of a time-out, a reset and a 5xx nobody knows.
    """
    if isinstance(error, UnicodeEncodeError):
        return True
    if isinstance(error, openai.APIStatusError):
        read = {error.code, error.type} & (_CONTEXT_CODES | _FILTER_CODES)
        status = error.status_code
        return 400 <= status < 500 and status != 408 and not (read or too_long(str(error)))  # noqa: PLR2004
    return isinstance(
        _refusal(error), aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    )


def _blamed(error: openai.APIStatusError) -> str | None:
    """The parameter that a refusal names: `param`, or the last name of FastAPI's `loc`."""
    if error.param:
        return error.param
    details = error.body.get("detail") if isinstance(error.body, dict) else None
    for detail in details if isinstance(details, list) else ():
        place = detail.get("loc") if isinstance(detail, dict) else None
        names = [name for name in place or () if isinstance(name, str) and name != "body"]
        if names:
            return names[-1]
    return None


def _refusal(error: Exception) -> OSError | None:
    """Why no connection came about; the SDK's aiohttp transport calls it a time-out."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, TimeoutError):
            return cause
        cause = cause.__cause__
    return None


def _retry_after(error: Exception) -> float | None:
    """Seconds of a Retry-After header; its date form is not used by model servers."""
    if not isinstance(error, openai.APIStatusError):
        return None
    for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(error.response.headers[header]) * unit)
        except (KeyError, ValueError):
            continue
    return None
