"""What a failed request means: this package's error for each of the SDK's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import openai

from clear_pipeline.errors import CallError, ClearPipelineError, RunFailedError, UsageError
from clear_pipeline.llm.dialect import too_long
from clear_pipeline.llm.keys import without_secrets
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import JSON

Failure: TypeAlias = openai.APIError | aiohttp.ClientError | ValueError | RecursionError
FAILURES: Final = (openai.APIError, aiohttp.ClientError, ValueError, RecursionError)
"""What a call of the SDK raises: its own errors; aiohttp's, of an answer that is no HTTP; and the
decoder's, of an answer that is no JSON or nested too deeply to be read."""

_MESSAGE_LENGTH: Final = 300
_SHOWN: Final = 100
"""Characters of a reply that is no answer."""

_CHECK_URL: Final = "check base_url: that of an OpenAI-compatible API usually ends in /v1"
_NO_QUESTIONS: Final = {405, 501}
"""HTTP's numbers for a path, or a server, that takes no POST."""

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_FILTER_CODES = {"content_filter", "content_policy_violation"}


class EndpointErrors:
    """The failures of one endpoint, in this package's errors and words.

    Args:
        settings: Which model, and where.
        key: Stands in no message; None = the endpoint has none.

    Attributes:
        key_worked: Whether the endpoint has answered: a refusal is of one request from then on.
    """

    def __init__(self, settings: ModelSettings, key: str | None) -> None:
        self._settings = settings
        self._key = key
        self.key_worked = False

    def translated(  # noqa: C901, PLR0911 -- a table: one line per class of failure
        self, error: Failure
    ) -> ClearPipelineError:
        """This package's error for one of the SDK's. The only such mapping."""
        said = self.said(error)
        retry_after = _retry_after(error)
        match error:
            case openai.APIConnectionError():
                return self._unanswered(error)
            case openai.PermissionDeniedError() if self.key_worked:
                return CallError("auth", said, transient=False)
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return RunFailedError(self._refused_key(said))
            case (
                openai.RateLimitError(code="insufficient_quota")
                | openai.APIStatusError(status_code=402)
            ):
                return RunFailedError(
                    f"{self._settings.url}: the account has no quota or credit left ({said}); once "
                    "it has some, the same command goes on"
                )
            case openai.RateLimitError():
                return CallError("rate_limit", said, transient=True, retry_after=retry_after)
            case openai.APIStatusError(status_code=status) if 300 <= status < 400:  # noqa: PLR2004
                return RunFailedError(self._redirected(error))
            case openai.APIStatusError(status_code=status):
                if status >= 500 or status in {408, 409}:  # noqa: PLR2004 -- HTTP's own numbers
                    return CallError("outage", said, transient=True, retry_after=retry_after)
                codes = {error.code, error.type}
                if codes & _CONTEXT_CODES or too_long(said):
                    return CallError("context", said, transient=False)
                kind = "content_filter" if codes & _FILTER_CODES else "bad_request"
                return CallError(kind, said, transient=False)
            case UnicodeEncodeError():
                return CallError("bad_request", f"not sendable as UTF-8: {said}", transient=False)
            case _:
                return self._garbled(error)

    def said(self, error: BaseException) -> str:
        """The message in one line, cut, and without the key, which some servers repeat."""
        body = getattr(error, "body", None)
        said = body.get("message") if isinstance(body, dict) else None
        text = " ".join(str(said or error).split())
        if isinstance(body, dict) and "n_prompt_tokens" in body:
            # Some versions of llama.cpp give the numbers beside the message only.
            text += f" ({body['n_prompt_tokens']} tokens, window {body.get('n_ctx', 'unknown')})"
        text = without_secrets(text, self._key)
        return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + " ..."

    def _unanswered(self, error: openai.APIConnectionError) -> CallError:
        """No connection came about, it was lost, or nothing came on it in time."""
        if _cause(error, aiohttp.ClientConnectorError):
            return CallError("unreachable", self.unreachable(error), transient=True)
        if is_late(error):
            return CallError("timeout", self.said(error), transient=True)
        why = self.said(_cause(error, aiohttp.ClientError) or error.__cause__ or error)
        return CallError("outage", f"the connection broke off ({why})", transient=True)

    def unreachable(self, error: Exception) -> str:
        """What to tell where no connection came about, and how to get one."""
        said = self.said(_cause(error, aiohttp.ClientError) or error)
        if self._settings.is_openai:
            return (
                f"{self._settings.url} cannot be reached ({said}); check this machine's network "
                "and its proxy (HTTPS_PROXY)"
            )
        return (
            f"no model server answers at {self._settings.url} ({said}); is it up? "
            "Start one, e.g. `ollama serve`, `llama-server -m MODEL.gguf` or `vllm serve MODEL`, "
            "or check the URL"
        )

    def no_answer(self, reply: JSON, *, wanted: str = "chat completion") -> CallError:
        """A reply that no such API gives.

        Args:
            reply: Text, or another JSON value that came.
            wanted: What should have come.
        """
        text = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
        return self._no_answer(f"this: {self._start(text)}" if text else "nothing", wanted=wanted)

    def no_api(self, error: Failure) -> UsageError | None:
        """What to tell where nothing at the path takes questions; None for any other failure.

        An endpoint that has answered before is an API whatever it says now, and so is one that
        gives a reason as an API does.
        """
        if not isinstance(error, openai.APIStatusError) or error.status_code not in _NO_QUESTIONS:
            return None
        if self.key_worked or (isinstance(error.body, dict) and "message" in error.body):
            return None
        asked, reason = error.request.url.path, self._start(error.response.reason_phrase)
        return UsageError(
            f"no OpenAI-compatible API at {self._settings.url}: a question to {asked} is answered "
            f"with HTTP {error.status_code} ({reason}); {_CHECK_URL}"
        )

    def _garbled(self, error: Failure) -> CallError:
        if isinstance(error, json.JSONDecodeError):
            start = self._start(error.doc)
            return self._no_answer(f"what is no JSON: {start}" if start else "nothing")
        if isinstance(error, UnicodeDecodeError):
            text = error.object.decode("utf-8", "backslashreplace")
            return self._no_answer(f"what is no UTF-8: {self._start(text)}")
        protocol = "HTTP" if isinstance(error, aiohttp.ClientError) else "JSON"
        return self._no_answer(f"what is no {protocol} ({self.said(error)})")

    def _no_answer(self, what: str, *, wanted: str = "chat completion") -> CallError:
        return CallError(
            "garbled",
            f"{self._settings.url} answered no {wanted} but {what}; {_CHECK_URL}",
            transient=True,
        )

    def _start(self, text: str) -> str:
        """The first characters of what a server sent, without the key, harmless to a terminal."""
        text = without_secrets(text, self._key)
        start = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_SHOWN])
        return start if len(text) <= _SHOWN else f"{start} ..."

    def _redirected(self, error: openai.APIStatusError) -> str:
        """Where a redirect leads, as a base URL without user, password and query."""
        url, status = self._settings.url, error.status_code
        followed = error.response.next_request
        if followed is None:
            return f"{url} answers with a redirect to nowhere (HTTP {status}); check the URL"
        target, path = followed.url, urlsplit(url).path
        asked = error.request.url.path.removeprefix(path)
        base = f"{target.scheme}://{target.netloc.decode('ascii')}"
        base += target.path.rstrip("/").removesuffix(asked)
        text = (
            f"{url} redirects to {target.host} (HTTP {status}), where nothing was sent; if that is "
            f"the server you mean, give it as --base-url {base}"
        )
        return without_secrets(text, self._key)

    def _refused_key(self, said: str) -> str:
        hint = "set `api_key_env` to the environment variable that holds this server's key"
        if self._settings.key_env is not None:
            hint = f"check the key in the environment variable {self._settings.key_env}"
        if self._settings.api_key_file is not None:
            hint = f"check the key in {self._settings.api_key_file}"
        return f"{self._settings.url} refuses access: {hint} ({said})"


def is_unbilled(error: Failure) -> bool:
    """Whether a failed request is known not to be billed: never sent, or refused unread.

    A content filter and a window that is too small work on the prompt first, which some providers
    charge for; of a time-out, a reset and a 5xx nobody knows.
    """
    if isinstance(error, UnicodeEncodeError):
        return True
    if isinstance(error, openai.APIStatusError):
        read = {error.code, error.type} & (_CONTEXT_CODES | _FILTER_CODES)
        status = error.status_code
        return 300 <= status < 500 and status != 408 and not (read or too_long(str(error)))  # noqa: PLR2004
    return is_unconnected(error)


def is_unconnected(error: Failure) -> bool:
    """Whether no connection came about, refused or not in time: nothing was sent."""
    return bool(_cause(error, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))


def is_late(error: Failure) -> bool:
    """Whether no answer came in time, or no connection."""
    return bool(_cause(error, TimeoutError))


def blamed(error: openai.APIStatusError) -> str | None:
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


def _cause(error: Exception, *kinds: type[Exception]) -> BaseException | None:
    """The first of these kinds behind an error.

    The SDK's aiohttp transport calls a refused and a closed connection time-outs as well.
    """
    cause = error.__cause__
    while cause is not None and not isinstance(cause, kinds):
        cause = cause.__cause__
    return cause


def _retry_after(error: Exception) -> float | None:
    """Seconds of a Retry-After header; until a date, by the server's own clock if it tells."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[header]) * unit)
        except (KeyError, ValueError):
            continue
    then, now = (_moment(headers.get(name)) for name in ("retry-after", "date"))
    if then is None:
        return None
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())


def _moment(text: str | None) -> datetime | None:
    """An HTTP date; None for anything else."""
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
