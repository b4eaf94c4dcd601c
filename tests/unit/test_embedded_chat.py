"""The end of a model inside this process."""

from __future__ import annotations

import asyncio
import threading

from clear_pipeline.llm.base import Capabilities
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.embedded import EmbeddedChat
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.openai_chat import OpenAIChat
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend


class Server:
    """Ends as llama.cpp's does: it waits until the event loop has closed a connection."""

    def __init__(self, closed: threading.Event, ended: list[bool]) -> None:
        self._closed = closed
        self._ended = ended

    def __del__(self) -> None:
        self._ended.append(self._closed.wait(timeout=20))


async def closed_chat(closed: threading.Event, ended: list[bool]) -> None:
    settings = ModelSettings(model="any", base_url="http://127.0.0.1:9/v1")
    account = Budget(BudgetSettings(), Spend()).account("any", None, Meter())
    chat = EmbeddedChat(
        OpenAIChat(settings, account=account), Server(closed, ended), Capabilities()
    )
    asyncio.get_running_loop().call_later(0.05, closed.set)
    await chat.close()


def test_the_event_loop_goes_on_while_the_server_ends() -> None:
    """A server that waits for connections to be closed ends, since the loop can close them."""
    closed, ended = threading.Event(), list[bool]()
    asyncio.run(closed_chat(closed, ended))
    assert ended == [True]
