"""Counting tokens without paying for an answer."""

from __future__ import annotations

import asyncio

import pytest

from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.tokens import ByLength, counter_for
from clear_pipeline.schema import Message


def request(*texts: str) -> ChatRequest:
    return ChatRequest(tuple(Message("user", text) for text in texts), 1, 0.0)


def test_without_anything_better_four_bytes_are_a_token() -> None:
    """16 bytes are 4; two turns of "user" and 10 letters, 31 bytes, are 8, 8 and 3 around them."""
    counter = ByLength()
    assert asyncio.run(counter.text("sixteen letters!")) == 4
    assert asyncio.run(counter.prompt(request("a" * 10, "b" * 10))) == 8 + 2 * 4 + 3


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4.1-mini", "o200k_base"),
        ("gpt-4o", "o200k_base"),
        ("gpt-5-mini", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("ft:gpt-4.1-mini:us::x", "o200k_base"),
        ("openai/gpt-oss-20b", "o200k_harmony"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen3"),
        ("qwen3:8b", "qwen3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3"),
        ("llama3.2", "llama3"),
    ],
)
def test_a_known_model_is_counted_in_its_own_vocabulary(model: str, vocabulary: str) -> None:
    """On this machine, by the name."""
    counter = asyncio.run(counter_for(model, None, llama_cpp=False))
    assert vocabulary in counter.how


@pytest.mark.parametrize("model", ["mistral", "claude-sonnet-4-5", "smollm2", "my-gpt-4o", "o"])
def test_another_model_is_counted_by_length(model: str) -> None:
    """No vocabulary is taken for another."""
    assert isinstance(asyncio.run(counter_for(model, None, llama_cpp=False)), ByLength)


def test_a_vocabulary_counts_as_the_model_reads() -> None:
    """OpenAI's own example: "tiktoken is great!" has 6 tokens; one user turn has 8 more around."""
    counter = asyncio.run(counter_for("gpt-4o", None, llama_cpp=False))
    assert asyncio.run(counter.text("tiktoken is great!")) == 6
    assert asyncio.run(counter.prompt(request("tiktoken is great!"))) == 6 + 2 + 4 + 3
    assert asyncio.run(counter.text("half \ud83d")) > 0
