"""What of a conversation is learnt: its learnt turns, as the chat template writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from transformers import PreTrainedTokenizerBase

from clear_pipeline.finetune.rows import TrainingRow
from clear_pipeline.formats import RowError
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.formats.turns import write_turn
from clear_pipeline.schema import JSON, LONE_SURROGATE, Message

IGNORED: Final = -100
"""Label of a token that is read and not learnt."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as tokens.

    Attributes:
        ids: Of the whole conversation.
        labels: The same id where a token is learnt, else `IGNORED`.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def learnt(self) -> int:
        """How many tokens are."""
        return sum(label != IGNORED for label in self.labels)


def encode(row: TrainingRow, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Tokens of a row. Of a learnt turn, its text and the mark of its end are learnt.

    Raises:
        RowError: The row holds more than text, or the template has no place for one of its turns.
    """
    if row.parsed.unscorable is not None:
        raise RowError(f"holds more than text ({row.parsed.unscorable})")
    whole = _rendered(row, len(row.turns), tokenizer, answering=False)
    if LONE_SURROGATE.search(whole):
        raise RowError("lone surrogate: half of a UTF-16 pair, which is no character")
    _require_tools_told(row, whole, tokenizer)
    spans = [
        _span(row, index, whole, tokenizer) for index, learnt in enumerate(row.learnt) if learnt
    ]
    tokens = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = tokens["input_ids"], tokens["offset_mapping"]
    labels = tuple(
        id_ if any(begin <= at and end <= stop for begin, stop in spans) else IGNORED
        for id_, (at, end) in zip(ids, offsets, strict=True)
    )
    encoded = Encoded(tuple(ids), labels)
    if not encoded.learnt:
        raise RowError(
            "what is learnt is empty, and the chat template marks no end of it"
            if spans
            else "no turn is learnt: every weight is 0"
        )
    return encoded


def _require_tools_told(row: TrainingRow, whole: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Many templates pass over tools without a word; then what is learnt would be nothing."""
    mute = [replace(turn, tool_calls=None) for turn in row.turns]
    without = {
        "tools": replace(row.parsed, tools=None),
        "tool calls": replace(row.parsed, messages=tuple(mute[:-1]), target=mute[-1]),
    }
    for what, parsed in without.items():
        other = replace(row, parsed=parsed)
        if other != row and _rendered(other, len(mute), tokenizer, answering=False) == whole:
            raise RowError(f"the model's chat template has no place for {what}")


def _span(
    row: TrainingRow, index: int, whole: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[int, int]:
    """Where in the text of the whole conversation the turn and the mark of its end stand."""
    before = _rendered(row, index, tokenizer, answering=True)
    after = _rendered(row, index + 1, tokenizer, answering=False)
    if not after.startswith(before):
        raise RowError(
            f"the chat template begins an answer with what it does not write in turn {index + 1} "
            "(a <think>?)"
        )
    if not whole.startswith(after):
        raise RowError(f"the chat template writes turn {index + 1} anew when others follow")
    return len(before), len(after.rstrip())


def _rendered(
    row: TrainingRow, turns: int, tokenizer: PreTrainedTokenizerBase, *, answering: bool
) -> str:
    """The text of the first turns; `answering` adds what stands before an answer."""
    messages = [_for_template(turn) for turn in row.turns[:turns]]
    tools = None if row.parsed.tools is None else json.loads(row.parsed.tools)
    try:
        text = tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=answering
        )
    except Exception as error:  # whatever a template raises
        raise RowError(f"the chat template refuses it: {error}") from error
    assert isinstance(text, str)  # noqa: S101  # tokenize=False, for the type checker
    return text


def _for_template(turn: Message) -> dict[str, JSON]:
    """A turn as chat templates read it, and as servers hand it to them.

    Arguments of a call are an object there, where files have that object's JSON as text; what is no
    object's stays as it is.
    """
    message = write_turn(replace(turn, weight=None))
    message.setdefault("content", "")  # templates read it, whatever else a turn has
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [_call_for_template(call) for call in calls]
    return message


def _call_for_template(call: JSON) -> JSON:
    if not isinstance(call, Mapping) or not isinstance(function := call.get("function"), Mapping):
        return call
    if isinstance(text := function.get("arguments"), str):
        with suppress(RowError):
            if isinstance(arguments := parse(text), Mapping):
                return {**call, "function": {**function, "arguments": arguments}}
    return call
