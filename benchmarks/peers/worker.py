"""What the workers share: JSON lines in and out, settings by environment, and no way off loopback.

A worker runs in the peers' own environment, so it imports nothing of this project but this file,
and this file nothing but the standard library.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

BASE_URL = os.environ.get("PEER_BASE_URL", "")
MODEL = os.environ.get("PEER_MODEL", "")
ANSWER_TOKENS = 512
"""Room for one generated answer: TLM's own default, given to the others too."""

Turn = dict[str, str]
"""`role` and `content`."""


def stay_on_loopback() -> None:
    """Refuse every connection and name look-up but those of this machine, from here on."""
    sys.addaudithook(_refuse)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        host = address[0] if isinstance(address, tuple) else None  # else a local pipe
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host is not None and host not in ("localhost", "::1") and not host.startswith("127."):
        raise PermissionError(f"a peer may not talk to {host}")


def serve(score: Callable[[Sequence[Turn], str], float | None]) -> None:
    """Answer each line `{"messages": [...], "response": "..."}` with its score, until the end.

    Prints `{"ready": true}` first, then per line `{"score": x, "error": null}` or the reverse.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to stderr
    answers.write('{"ready": true}\n')
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            value = score(asked["messages"], asked["response"])
        except Exception as error:  # noqa: BLE001 -- whatever a peer raises is its result
            reply = _failed(f"{type(error).__name__}: {error}")
        else:
            if value is None or not math.isfinite(value):
                reply = _failed("no score")
            else:
                reply = {"score": float(value), "error": None}
        answers.write(json.dumps(reply) + "\n")


def _failed(why: str) -> dict[str, object]:
    return {"score": None, "error": " ".join(why.split())[:300]}


def prompt_text(messages: Sequence[Turn]) -> str:
    """The conversation as one string, for peers that take no turns."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)
