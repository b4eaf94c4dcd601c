"""What `benchmarks/confidence.py` compares: this package's presets, its peers, trivial scores.

A system scores one row at a time; higher is better. It keeps no answer from one row, or from
another system, to the next, so that what it costs is what it asks.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from benchmarks.rectify import Case
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.scores import prompt_overlap
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import rows_table
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score

WORKERS: Final = Path(__file__).parent / "peers"


class NoScoreError(Exception):
    """The system gave this row no score; the message says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the systems ask, and how long they may take.

    Attributes:
        base_url: Of the counting proxy.
        model: As the server knows it.
        peers: Where `benchmarks/peers/install.sh` put the peers; None where none is measured.
        seconds: After so long a row of a peer is given up.
        workers: Folder of the peers' worker programs.
    """

    base_url: str
    model: str
    peers: Path | None = None
    seconds: float = 900.0
    workers: Path = WORKERS


class System(Protocol):
    """One way to score a row."""

    async def score(self, case: Case) -> float:
        """How far the row's own response is to be trusted; any finite number.

        Raises:
            NoScoreError: It could not say.
        """
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


class Ours:
    """The stage `Score` on a row of its own, as a run computes it."""

    def __init__(self, endpoint: Endpoint, stage: Score) -> None:
        self._endpoint = endpoint
        self._stage = stage.model_copy(update={"max_failed_fraction": 1.0})
        self._model: ChatModel | None = None

    async def score(self, case: Case) -> float:
        """`confidence`."""
        if self._model is None:
            settings = ModelSettings(model=self._endpoint.model, base_url=self._endpoint.base_url)
            self._model = await open_model(settings, cache_path=None, meter=Meter())
        shard = Shard("row", rows_table([case.example]))
        table = await self._stage.annotate(shard, [True], None, Context({"scorer": self._model}))
        (row,) = table.to_pylist()
        if row["confidence"] is None:
            raise NoScoreError(row["score_error"])
        return float(row["confidence"])

    async def close(self) -> None:
        """Close the model."""
        if self._model is not None:
            await self._model.close()


@dataclass(frozen=True, slots=True)
class Trivial:
    """A score that asks no model."""

    value: Callable[[Case], float]

    async def score(self, case: Case) -> float:
        """The value."""
        return self.value(case)

    async def close(self) -> None:
        """Nothing to release."""


class Peer:
    """A worker process of `benchmarks/peers`, started at its first row and after each failure.

    Args:
        endpoint: What the worker is told; it gets no other environment, so no key.
        peer: Which peer: name of its environment, and of its worker.
        model: The name by which the peer is told the model.
        arguments: Of the worker.
    """

    def __init__(self, endpoint: Endpoint, peer: str, model: str, *arguments: str) -> None:
        self._endpoint = endpoint
        self._peer = peer
        self._model = model
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def score(self, case: Case) -> float:
        """What the worker answers."""
        turns = [{"role": m.role, "content": m.text} for m in case.example.messages]
        asked = json.dumps({"messages": turns, "response": case.example.response})
        try:
            async with asyncio.timeout(self._endpoint.seconds):
                reply = await self._ask(asked)
        except TimeoutError:
            await self.close()
            raise NoScoreError(f"no score after {self._endpoint.seconds:g} s") from None
        except (OSError, ValueError) as error:
            await self.close()
            raise NoScoreError(f"the worker ended: {error}") from None
        score = reply["score"]
        if not isinstance(score, float):
            raise NoScoreError(str(reply["error"]))
        return score

    async def start(self) -> None:
        """Start the worker and wait until it is ready, so that no row pays for its imports.

        Raises:
            UsageError: It does not start.
        """
        if self._process is not None:
            return
        python = (self._endpoint.peers or Path()) / self._peer / "bin" / "python"
        command = (
            str(python),
            str(self._endpoint.workers / f"{self._peer}_worker.py"),
            *self._arguments,
        )
        passed_on = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={
                    **passed_on,
                    "PEER_BASE_URL": self._endpoint.base_url,
                    "PEER_MODEL": self._model,
                },
            )
            await self._line()
        except (OSError, ValueError) as error:
            raise UsageError(f"its worker does not start: {' '.join(command)}") from error

    async def _ask(self, asked: str) -> Mapping[str, object]:
        await self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(asked.encode() + b"\n")
        await self._process.stdin.drain()
        return await self._line()

    async def _line(self) -> Mapping[str, object]:
        assert self._process is not None
        assert self._process.stdout is not None
        reply: Mapping[str, object] = json.loads(await self._process.stdout.readline())
        return reply

    async def close(self) -> None:
        """End the worker."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None


def _random(case: Case) -> float:
    return random.Random(case.example.id).random()


def _length(case: Case) -> float:
    return float(len(case.example.response))


def _overlap(case: Case) -> float:
    prompt = "\n".join(message.text for message in case.example.messages)
    return prompt_overlap(prompt, case.example.response)


SYSTEMS: Final[Mapping[str, Callable[[Endpoint], System]]] = {
    "fast": lambda at: Ours(at, Score(preset="fast")),
    "tlm": lambda at: Peer(at, "tlm", f"openai/{at.model}"),
    "best": lambda at: Ours(at, Score(preset="best")),
    "question": lambda at: Ours(at, Score(reflection=("yes_no",))),
    "uqlm": lambda at: Peer(at, "uqlm", at.model, "ensemble"),
    "likelihood": lambda at: Ours(at, Score(preset="likelihood")),
    "uqlm-judge": lambda at: Peer(at, "uqlm", at.model, "judge"),
    "rating": lambda at: Ours(at, Score(reflection=("rating",), in_parts=False)),
    "tlm-logprobs": lambda at: Peer(at, "tlm", "gpt-4.1-mini"),
    "paper": lambda at: Ours(at, Score(preset="paper")),
    "length": lambda _: Trivial(_length),
    "overlap": lambda _: Trivial(_overlap),
    "random": lambda _: Trivial(_random),
}
"""By name, in the order in which a row is scored: presets and peers in turn.

`question` is that of `fast` without how likely the response is.
`rating` is the 1-5 judge: this package's wording, read as the expected digit of one token.
`tlm-logprobs` is TLM under the name of its own default model, for which it asks log-probabilities.
"""

OURS: Final = ("fast", "best", "question", "likelihood", "paper")
TRIVIAL: Final = ("length", "overlap", "random")
PEERS: Final = ("tlm", "tlm-logprobs", "uqlm", "uqlm-judge")
