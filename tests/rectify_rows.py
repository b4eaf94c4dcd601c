"""Rows, a judge and one shard for the tests of rectify."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Reply, Script, ScriptedChat
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.rectify import Rectify


def row(line: int, *, answer: str = "five") -> Example:
    return Example(
        id=f"x:{line}",
        file="x",
        line=line,
        format="openai",
        messages=(Message("system", "Be brief."), Message("user", f"question {line}")),
        target=Message("assistant", answer, name="bot", weight=1.0),
        original="{}",
        tools='[{"function":{"name":"look"},"type":"function"}]',
    )


def judge_prefers(probability: float) -> Script:
    """A judge that gives the candidate, `four`, this probability in both orders."""

    def script(request: ChatRequest, _: int) -> Reply:
        text = request.messages[0].text
        first = text.index("\nfour\n") < text.index("\nfive\n")
        one, other = ("A", "B") if first else ("B", "A")
        top = ((one, math.log(probability)), (other, math.log(1 - probability)))
        return Choice(one, "length", (Token(*top[0], top),))

    return script


def run(
    stage: Rectify,
    rows: Sequence[Example],
    *,
    candidate: Script | Reply = "four",
    judge: Script | None = None,
    keep: Sequence[bool] | None = None,
    alive: Sequence[bool] | None = None,
) -> tuple[list[dict[str, Any]], ScriptedChat, ScriptedChat]:
    """Annotate one shard; the rows, the writer and the judge."""
    writer = ScriptedChat(candidate if callable(candidate) else lambda *_: candidate)
    judging = ScriptedChat(judge or judge_prefers(0.95))
    table = rows_table(rows).append_column("keep", pa.array(keep or [False] * len(rows)))
    ctx = Context(models={"candidate": writer, "judge": judging})
    made = asyncio.run(stage.annotate(Shard("s", table), alive or [True] * len(rows), None, ctx))
    assert made.schema == stage.adds()
    return made.to_pylist(), writer, judging


letters = partial(Rectify, form="one-token")
"""The form whose judge is scripted with one reply."""
