"""What `Score` and `Cascade` share: how draws are asked for, and what they are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.answer import DrawForm, final_answer
from clear_pipeline.schema import Example
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.agreement import Similarity, agreement_by, extra_roles
from clear_pipeline.scoring.answers import is_value
from clear_pipeline.scoring.consistency import Consistency, draw, observe
from clear_pipeline.scoring.cross_encoder import DEFAULT_NLI_MODEL
from clear_pipeline.stages.base import Settings

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Sampling(Settings):
    """BSDetector's observed consistency (Chen & Mueller 2023, sec. 3.1), as settings of a stage."""

    draw_form: DrawForm = "reasoned"
    """reasoned: the model is told to think before it responds, as in the paper. plain: the row's
    own conversation, not a word added; shorter, and in the form that the data has."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = bsdetector.PAPER_TEMPERATURE
    """Of the draws."""
    max_answer_tokens: Annotated[int, Field(ge=1)] = 512
    """Room for one draw, reasoning included."""
    draw_for: Literal["all", "values"] = "all"
    """values: only rows whose final answer is a number, a date, a choice, yes or no, or JSON: there
    a draw says the same or does not. all: every row."""
    longest_answer: Annotated[int, Field(ge=1)] | None = None
    """No draws for a row whose final answer has more characters than this: two long texts hardly
    ever say the same, and cost most. None: draws for every row."""
    similarity: Similarity = "llm"
    """Where the agreement of a draw comes from: entailment by the model, shared words, the cosine
    of embeddings by the model of the role `embedder`, or a cross-encoder (extra `nli`)."""
    nli_model: str = DEFAULT_NLI_MODEL
    """For `similarity: nli`: a folder with an ONNX model, or a name on the Hugging Face Hub."""
    alpha: Fraction = bsdetector.PAPER_ALPHA
    """Weight of agreement against exact match within consistency."""

    def require_variety(self, k: int) -> None:
        """Draws at temperature 0 are all the same.

        Raises:
            ValueError: `k` > 1 of them are asked for.
        """
        if k > 1 and self.temperature == 0.0:
            raise ValueError(f"k: {k} draws at temperature 0 are one; set k to 1 or a temperature")

    def sampling_roles(self) -> tuple[str, ...]:
        """The models that are asked besides the scorer."""
        return extra_roles(self.similarity)

    @property
    def sampling_rounds(self) -> int:
        """Questions in a row, each of which waits for the one before: draws, then verdicts."""
        return 2 if self.similarity == "llm" else 1

    @property
    def draws_for_some(self) -> bool:
        """Whether rows may do without draws."""
        return self.draw_for != "all" or self.longest_answer is not None

    def draws_for(self, example: Example) -> bool:
        """Whether draws say anything about this row, by its final answer."""
        answer = final_answer(example.response)
        short = self.longest_answer is None or len(answer) <= self.longest_answer
        return short and (self.draw_for == "all" or is_value(answer))

    async def sample(self, model: ChatModel, example: Example, *, k: int) -> list[str]:
        """Up to `k` >= 1 responses by the model itself; those cut short are left out.

        Raises:
            CallError: The call failed.
            NoDrawError: No draw came to a response.
        """
        return await draw(
            model,
            example,
            k=k,
            form=self.draw_form,
            temperature=self.temperature,
            max_tokens=self.max_answer_tokens,
        )

    async def compare(
        self,
        models: Mapping[str, ChatModel],
        example: Example,
        draws: list[str],
        *,
        via: Literal["logprobs", "text"] = "logprobs",
    ) -> Consistency:
        """How far the draws agree with the row's own response.

        Args:
            models: By role: `scorer`, and those of `sampling_roles`.
            example: The row.
            draws: At least one.
            via: How the scorer's verdicts on pairs are read.

        Raises:
            CallError: A comparison failed.
        """
        agree = agreement_by(self.similarity, models, via=via, nli_model=self.nli_model)
        return await observe(example, draws, alpha=self.alpha, agree=agree)
