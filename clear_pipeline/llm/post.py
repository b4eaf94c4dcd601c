"""One POST of JSON, as the SDK sends it and with its errors, at a third of its computing time.

`AsyncOpenAI.post` makes and checks models of options, headers and address anew for each request.
Here they are made once: a run asks the same path a million times.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai


class Poster:
    """Posts to the paths of one endpoint.

    Args:
        sdk: Tells address, key, headers and times, and makes the errors.
        http: The client that `sdk` sends with.
    """

    def __init__(self, sdk: openai.AsyncOpenAI, http: httpx2.AsyncClient) -> None:
        self._sdk = sdk
        self._http = http
        self._addressed: dict[str, tuple[httpx2.URL, httpx2.Headers]] = {}
        self._extensions = {"timeout": openai.Timeout(sdk.timeout).as_dict()}

    async def __call__(self, path: str, body: object) -> object:
        """The decoded answer; its text where the server does not call it JSON.

        Args:
            path: Below the base URL, with a slash at its start.
            body: A JSON value.

        Raises:
            openai.APIError: As of the SDK's own `post`.
            aiohttp.ClientError: The answer is no HTTP.
            ValueError: The answer is no JSON, or the body not sendable as UTF-8.
        """
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        url, headers = self._addressed.get(path) or self._address(path)
        request = httpx2.Request(
            "POST", url, headers=headers, content=content.encode(), extensions=self._extensions
        )
        try:
            response = await self._http.send(request)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except httpx2.RequestError as error:
            raise openai.APIConnectionError(request=request) from error
        if not response.is_success:
            raise self._sdk._make_status_error_from_response(response) from None  # noqa: SLF001
        kind = response.headers.get("content-type", "*").partition(";")[0]
        return response.json() if kind.endswith("json") else response.text

    def _address(self, path: str) -> tuple[httpx2.URL, httpx2.Headers]:
        base = self._sdk.base_url
        url = httpx2.URL(str(base.copy_with(raw_path=base.raw_path.rstrip(b"/") + path.encode())))
        given: dict[str, Any] = {**self._sdk.default_headers, **self._sdk.auth_headers}
        headers = httpx2.Headers(self._http.headers)
        headers.update({n: v for n, v in given.items() if not isinstance(v, openai.Omit)})
        headers["host"] = url.netloc.decode("ascii")
        self._addressed[path] = url, headers
        return url, headers
