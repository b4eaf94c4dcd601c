"""The checks in the order in which they are made, and the first thing that is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, Literal, TypeAlias, get_args

from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.form.code import lost_code
from clear_pipeline.scoring.form.json_keys import lost_json
from clear_pipeline.scoring.form.language import lost_language
from clear_pipeline.scoring.form.tool_calls import lost_call

FormCheck: TypeAlias = Literal["json", "code", "tools", "language"]

CHECKS: Final[Mapping[FormCheck, Callable[[Example, Message], str | None]]] = {
    "tools": lost_call,
    "json": lost_json,
    "code": lost_code,
    "language": lost_language,
}
"""Each says what a new target lost that the row's own has; None if nothing. None of them raises."""

ALL_FORMS: Final[tuple[FormCheck, ...]] = get_args(FormCheck)


def lost_form(example: Example, target: Message, checks: Collection[FormCheck]) -> str | None:
    """What a new target lost, in words that go on after "candidate refused:"; None if nothing.

    Args:
        example: The row with the response that would be replaced.
        target: The new one.
        checks: Those to make.
    """
    lost = (check(example, target) for name, check in CHECKS.items() if name in checks)
    return next((why for why in lost if why is not None), None)
