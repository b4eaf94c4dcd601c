"""Prompt and completion under any of their usual names."""

from __future__ import annotations

from clear_pipeline.formats.pair import Pair

PROMPT_COMPLETION = Pair(
    name="prompt-completion",
    terms=("prompt", "response", "context"),
    prompts=("prompt", "instruction", "question", "query", "input"),
    instructions=frozenset({"instruction", "question", "query"}),
    contexts=("context", "input"),
    responses=("completion", "response", "answer", "output"),
)
