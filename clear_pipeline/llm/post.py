"""One POST of JSON with the errors of the SDK's own `post`, at a fifth of its computing time.

`AsyncOpenAI.post` makes and checks models of options, headers, address and reply for each request.
A run asks the same path a million times, so here they are made once, and what sends is the SDK's
own aiohttp without the layers between.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
import openai

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.pace import Heard

_KEPT_S: Final = 5.0
"""So long an idle connection is kept; servers close theirs after five seconds or more."""

_UNPACKED: Final = {"content-encoding", "content-length", "transfer-encoding"}
"""Headers that no longer hold for an answer that is read."""

_UNANSWERED: Final = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientHttpProxyError,
)
"""No connection came about, through the proxy if there is one, or it was lost."""


class Poster:
    """Posts to the paths of one endpoint; no redirect is followed, no cookie kept.

    Args:
        sdk: Tells address, key, headers and times, and makes the errors.
        heard: Told of every response, also of a refusal.
    """

    def __init__(self, sdk: openai.AsyncOpenAI, heard: Heard | None) -> None:
        self._sdk = sdk
        self._heard = heard
        self._base = str(sdk.base_url).rstrip("/")
        self._proxy = proxy_of(self._base)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, path: str, text: str) -> object:
        """The decoded answer; its text where the server does not call it JSON.

        Args:
            path: Below the base URL, with a slash at its start.
            text: The JSON to send.

        Raises:
            openai.APIError: As of the SDK's own `post`.
            aiohttp.ClientError: The answer is no HTTP.
            ValueError: The answer is no JSON, or the body not sendable as UTF-8.
        """
        session = self._session or self._open()
        try:
            async with session.post(
                self._base + path, data=text.encode(), proxy=self._proxy, allow_redirects=False
            ) as response:
                if self._heard is not None:
                    await self._heard(response)
                content = await response.read()
        except TimeoutError as error:
            raise openai.APITimeoutError(request=self._request(path)) from error
        except _UNANSWERED as error:
            raise openai.APIConnectionError(request=self._request(path)) from error
        kind = response.headers.get("content-type", "*").partition(";")[0]
        if response.status < 300 and kind.endswith("json"):  # noqa: PLR2004
            return json.loads(content)
        return self._told(self._request(path), response, content)

    async def close(self) -> None:
        """Release the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        given: dict[str, Any] = {**self._sdk.default_headers, **self._sdk.auth_headers}
        timeout = openai.Timeout(self._sdk.timeout)
        self._session = aiohttp.ClientSession(
            # How many are open at once is decided elsewhere.
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEPT_S, ssl=httpx2.create_ssl_context()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={n: v for n, v in given.items() if not isinstance(v, openai.Omit)},
            timeout=aiohttp.ClientTimeout(
                # The whole way to the server, through a proxy too, and one address of it.
                connect=timeout.pool,
                sock_connect=timeout.connect,
                sock_read=timeout.read,
            ),
        )
        return self._session

    def _request(self, path: str) -> httpx2.Request:
        """For an error: what was asked, without the key."""
        return httpx2.Request("POST", self._base + path)

    def _told(
        self, request: httpx2.Request, response: aiohttp.ClientResponse, content: bytes
    ) -> str:
        """The text of an answer that is not called JSON.

        Raises:
            openai.APIStatusError: The answer is a refusal or a redirect.
        """
        headers = [
            (name, value)
            for name, value in response.raw_headers
            if name.decode("latin-1").lower() not in _UNPACKED
        ]
        told = httpx2.Response(
            response.status,
            headers=headers,
            content=content,
            request=request,
            extensions={"reason_phrase": (response.reason or "").encode("ascii", "replace")},
        )
        if told.is_success:
            return told.text
        if told.has_redirect_location:
            with suppress(httpx2.InvalidURL):  # that leads nowhere
                told.next_request = httpx2.Request(
                    "POST", request.url.join(told.headers["location"])
                )
        raise self._sdk._make_status_error_from_response(told)  # noqa: SLF001


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an address, as curl reads it: HTTPS_PROXY, NO_PROXY.

    None if it is asked directly.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def http_client(heard: Heard | None) -> httpx2.AsyncClient:
    """What sends requests: through the proxy that the environment names, and to no other host.

    Raises:
        UsageError: The environment names no proxy that can be.
    """
    hooks = [] if heard is None else [heard]
    try:
        # A redirect would take rows to a host that nobody named.
        return openai.DefaultAioHttpClient(event_hooks={"response": hooks}, follow_redirects=False)
    except httpx2.InvalidURL:  # its words hold a part of the password
        raise UsageError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY in the environment is no URL; a / or @ in its "
            "password is written %2F or %40"
        ) from None
