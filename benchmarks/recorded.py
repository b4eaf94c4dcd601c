"""HTTP clients that note what is asked and answered; the command line with one.

    python -m benchmarks.recorded BODIES run DATA --out RUN ...

runs `clear-pipeline run DATA --out RUN ...`. BODIES gets the body of every chat request, a line
each, in the order in which they were sent, and BODIES.json the tokens and seconds, see `Traffic`.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from openai import DefaultAioHttpClient


@dataclass
class Traffic:
    """What has gone through one client.

    Attributes:
        bodies: Of the chat requests, in the order in which they were sent.
        tokens: Of prompts and completions, by the `usage` of the replies.
        began: When the first was sent, on the monotonic clock.
        ended: When the last was answered.
    """

    bodies: list[bytes] = field(default_factory=list)
    tokens: int = 0
    began: float = 0.0
    ended: float = 0.0

    def client(self, **options: Any) -> DefaultAioHttpClient:  # noqa: ANN401  # httpx's own
        """A client of `openai` whose chat requests are noted."""
        traffic = self

        class Client(DefaultAioHttpClient):
            async def send(self, request: Any, **more: Any) -> Any:  # noqa: ANN401
                if not request.url.path.endswith("/chat/completions"):
                    return await super().send(request, **more)
                traffic.sent(request.content)
                reply = await super().send(request, **more)
                traffic.came(await reply.aread() if reply.is_success else b"{}")
                return reply

        return Client(**options)

    def note_sessions(self) -> None:
        """From now on note the chat requests of every session of aiohttp that is read at once."""
        traffic, request = self, aiohttp.ClientSession._request  # noqa: SLF001

        async def noted(
            session: aiohttp.ClientSession,
            method: str,
            url: str,
            **options: Any,  # noqa: ANN401  # aiohttp's own
        ) -> aiohttp.ClientResponse:
            if not str(url).endswith("/chat/completions"):
                return await request(session, method, url, **options)
            traffic.sent(options["data"])
            reply = await request(session, method, url, **options)
            traffic.came(await reply.read() if reply.ok else b"{}")
            return reply

        aiohttp.ClientSession._request = noted  # type: ignore[assignment]  # noqa: SLF001

    def sent(self, body: bytes) -> None:
        """A chat request leaves."""
        self.began = self.began or time.monotonic()
        self.bodies.append(body)

    def came(self, reply: bytes) -> None:
        """Its answer is there."""
        self.ended = time.monotonic()
        usage = json.loads(reply).get("usage", {})
        self.tokens += usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)

    def write(self, path: Path) -> None:
        """The bodies there, the sums beside them."""
        path.write_bytes(b"".join(body + b"\n" for body in self.bodies))
        sums = Sums(len(self.bodies), self.tokens, self.ended - self.began)
        path.with_suffix(".json").write_text(json.dumps(asdict(sums)), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Sums:
    """Chat requests, their tokens, and the seconds from the first one sent to the last answer."""

    requests: int
    tokens: int
    seconds: float


def read_sums(path: Path) -> Sums:
    """What `Traffic.write` has put beside the bodies."""
    return Sums(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))


def main() -> None:
    """Run the command line with a client that notes."""
    path, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]
    from clear_pipeline.__main__ import main as command_line

    traffic = Traffic()
    traffic.note_sessions()
    try:
        command_line()
    finally:
        traffic.write(path)


if __name__ == "__main__":
    main()
