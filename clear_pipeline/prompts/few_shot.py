"""Examples before a question, as turns of the conversation that the model goes on with."""

from __future__ import annotations

from collections.abc import Sequence

from clear_pipeline.schema import Example, Message, Role

_INSTRUCTING = (Role.SYSTEM, Role.DEVELOPER)


def few_shot_messages(example: Example, shots: Sequence[Example]) -> tuple[Message, ...]:
    """The row's own conversation, with the turns of other rows and their responses before it.

    The row's own instructions (system, developer) stay first. Those of the examples are left out,
    so that a conversation has one set of them. Without examples, the row's own turns as they are.
    """
    first = [turn for turn in example.messages if turn.role in _INSTRUCTING] if shots else []
    shown = [
        turn
        for shot in shots
        for turn in (*shot.messages, shot.target)
        if turn.role not in _INSTRUCTING
    ]
    own = [turn for turn in example.messages if turn not in first]
    return (*first, *shown, *own)
