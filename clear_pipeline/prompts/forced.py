"""Reading how likely a model finds a given text.

Servers of the llama.cpp family score no given text, but take a grammar: one that allows a single
string makes the model generate that string, with the log-probability it gave each token before the
grammar was applied.

GBNF works on characters, so the model may spell the text in odd pieces ("a", "b", "out" for
"about"), each less likely than the usual token; llguidance keeps to the tokenizer's own tokens.

vLLM scores the prompt itself: with the text as the last turn, left open, the tokens of the prompt
after those of the turns before it are the text's.
"""

from __future__ import annotations

import json
import re
import unicodedata

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.schema import Message, Role

_BMP_END = 0xFFFF
_PREAMBLE = 32
"""Tokens that a chat template may write before a turn's own."""
_ESCAPED = re.compile(r"\\(?:(?P<code>u[0-9A-F]{4}|U[0-9A-F]{8})|(?P<char>.))")
"""What `_escape` writes."""
_SPACE = re.compile(r"\s+")
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


def forced_text(request: ChatRequest) -> str | None:
    """The text that a `forced_request` has said; None if it is none."""
    if request.grammar is None:
        return None
    rule, _, literal = request.grammar.partition('"')
    if rule.startswith("%llguidance"):
        return str(json.loads(f'"{literal}'))
    return _ESCAPED.sub(_unescaped, literal[:-1])


def _unescaped(found: re.Match[str]) -> str:
    code = found["code"]
    return chr(int(code[1:], 16)) if code else found["char"]


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


def length_request(messages: tuple[Message, ...]) -> ChatRequest:
    """How many tokens come before the next turn: its usage says so, the reply means nothing."""
    return ChatRequest(messages=messages, max_output_tokens=1, temperature=0.0, count_only=True)


def scored_request(messages: tuple[Message, ...], text: str, *, start: int) -> ChatRequest:
    """Score `text` as the next turn, whose first token stands at position `start`."""
    turn = Message(role=Role.ASSISTANT, content=text)
    return ChatRequest(
        messages=(*messages, turn), max_output_tokens=1, temperature=0.0, score_from=start
    )


def parse_scored(choice: Choice, text: str) -> tuple[Token, ...]:
    """The tokens of `text` in the reply to `scored_request`.

    Chat templates may write something before the turn's text, such as an empty thought, and trim
    its ends; tokens print spaces and parts of a character in ways of their own. So the tokens are
    those from the first place on where what follows reads as the text, spaces apart.

    Raises:
        CallError: `bad_reply`, if no place does, or nothing was scored.
    """
    if (tokens := choice.tokens) is None:
        raise CallError("bad_reply", "the server scores no prompts", transient=False)
    for place in range(min(len(tokens), _PREAMBLE)):
        if _reads_as("".join(token.text for token in tokens[place:]), text):
            return tokens[place:]
    raise CallError("bad_reply", "the scored tokens are not those of the text", transient=False)


def _reads_as(said: str, text: str) -> bool:
    """Whether two texts are equal but for white space and characters that did not print."""
    wanted, said = (_SPACE.sub("", unicodedata.normalize("NFKC", t)) for t in (text, said))
    first, *rest = said.split(_REPLACEMENT)
    if not wanted.startswith(first):
        return False
    place = len(first)
    for piece in rest:
        place = wanted.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return place == len(wanted) or (bool(rest) and wanted.endswith(rest[-1]))
