"""An arm answers the test rows: at temperature 0, each row once, a failure with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from clear_pipeline.errors import CallError
from clear_pipeline.evaluate.models.outcomes import Outcomes
from clear_pipeline.llm.base import ChatModel, ChatRequest
from clear_pipeline.prompts.few_shot import few_shot_messages
from clear_pipeline.schema import LONE_SURROGATE, Example, Message
from clear_pipeline.scoring.choice import withheld
from clear_pipeline.stages.base import map_rows

TEMPERATURE: Final = 0.0
"""The model's one best answer, as in the paper."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What came of one row.

    Attributes:
        text: The answer, tool calls as JSON; "" is one too. None if there is none.
        error: Why there is none.
        cut: Whether the answer ends at the token limit.
    """

    text: str | None
    error: str | None = None
    cut: bool = False

    @property
    def reason(self) -> str | None:
        """The kind of error in one word, such as `timeout`."""
        return None if self.error is None else self.error.partition(":")[0]


async def predict(
    model: ChatModel,
    rows: Sequence[Example],
    *,
    shots: Sequence[Example],
    max_tokens: int,
    rows_in_flight: int,
    advance: Callable[[], None],
) -> list[Prediction]:
    """One prediction per row, in order.

    The row's own conversation is sent as a chat, with examples before it. Nothing is added, and no
    form is enforced: whether the answer is JSON is for the model to know.

    Raises:
        RunFailedError: The server is gone, or no row gets an answer.
        BudgetExceededError: A cap was reached.
    """
    outcomes = Outcomes(len(rows), wanted="rows got an answer")

    async def one(row: Example) -> Prediction:
        made = await _predict(model, row, shots, max_tokens)
        outcomes.enter(made.error)
        advance()
        return made

    return await map_rows(one, rows, limit=rows_in_flight)


async def _predict(
    model: ChatModel, row: Example, shots: Sequence[Example], max_tokens: int
) -> Prediction:
    request = ChatRequest(
        messages=few_shot_messages(row, shots),
        max_output_tokens=max_tokens,
        temperature=TEMPERATURE,
        tools=row.tools,
    )
    try:
        choices = (await model.complete(request)).choices
    except CallError as error:
        return Prediction(None, str(error))
    if (refused := withheld(choices)) is not None:
        return Prediction(None, str(refused))
    said = Message("assistant", choices[0].text, tool_calls=choices[0].tool_calls).text
    # Half of a character cannot be written to a file.
    return Prediction(LONE_SURROGATE.sub("\ufffd", said), cut=choices[0].finish_reason == "length")
