"""Making a model say a given text, to read how likely it finds it.

Servers of the llama.cpp family score no given text, but take a grammar: one that allows a single
string makes the model generate that string, with the log-probability it gave each token before the
grammar was applied.

GBNF works on characters, so the model may spell the text in odd pieces ("a", "b", "out" for
"about"), each less likely than the usual token; llguidance keeps to the tokenizer's own tokens.
"""

from __future__ import annotations

import json

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.schema import Message

FORCED_VERSION = 1

_BMP_END = 0xFFFF
_REPLACEMENT = "\ufffd"
"""What a server prints for the first bytes of a character that the token limit cut."""


def exact_gbnf(text: str) -> str:
    """A GBNF grammar whose only sentence is `text`. Everything but plain ASCII is escaped."""
    return f'root ::= "{"".join(map(_escape, text))}"'


def exact_llguidance(text: str) -> str:
    """An llguidance grammar whose only sentence is `text`: its literals are JSON strings."""
    return f"%llguidance {{}}\nstart: {json.dumps(text)}"


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\u{code:04X}" if code <= _BMP_END else f"\\U{code:08X}"


def forced_request(
    messages: tuple[Message, ...], text: str, *, max_tokens: int, llguidance: bool
) -> ChatRequest:
    """Say `text` as the next turn, at most `max_tokens` tokens of it."""
    return ChatRequest(
        messages=messages,
        max_output_tokens=max_tokens,
        temperature=0.0,
        top_logprobs=1,  # llama.cpp takes 0 for "no log-probabilities"
        grammar=exact_llguidance(text) if llguidance else exact_gbnf(text),
    )


def parse_forced(choice: Choice, text: str) -> tuple[Token, ...]:
    """The tokens of `text`, or of its beginning if the token limit cut it.

    Raises:
        CallError: `bad_reply`, if the server gave no log-probabilities or said another text.
    """
    tokens = tuple(t for t in choice.tokens or () if t.text != "")
    said = choice.text.rstrip(_REPLACEMENT) if choice.finish_reason == "length" else choice.text
    kept_to_it = text.startswith(said) if choice.finish_reason == "length" else said == text
    if not tokens or not kept_to_it:
        raise CallError(
            "bad_reply",
            "the server did not keep to the grammar, or gave no log-probabilities",
            transient=False,
        )
    return tokens
