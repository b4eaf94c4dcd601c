"""The settings of the score: what is asked about each row, and which of them go together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.scoring import bsdetector
from clear_pipeline.scoring.likelihood import Form
from clear_pipeline.stages.presets import idle_settings, merged_weights, own_values, preset_beside
from clear_pipeline.stages.sampling import Fraction, Sampling


class ScoreSettings(Sampling):
    """What the confidence of a row is made of.

    `preset` fills what is not given, so that the settings of a run name every value that was
    used. A setting that has no effect beside the others is an error.
    """

    kind: Literal["score"] = "score"
    preset: Literal["fast", "paper", "best", "likelihood"] = "fast"
    """fast: one question, one token, and how likely the response is where the endpoint scores text.
    best: the same, and draws where the final answer is a value. paper: the constants of the paper.
    likelihood: no question, what the request adds to the probability of the response; needs an
    endpoint that scores text."""
    reflection: tuple[str, ...] = ("yes_no",)
    """Names of the questions, see `prompts.reflection.WORDINGS`; none = no reflection."""
    reflection_via: Literal["logprobs", "text"] = "logprobs"
    """How verdicts are read; `logprobs` falls back to grammar, then text, where it must."""
    orders: Annotated[int, Field(ge=1, le=5)] = 1
    """Each question is asked in so many orders of its options, and averaged: a model that prefers
    a place cancels itself out. One call more for each, all but its end in the server's cache."""
    text_samples: Annotated[int, Field(ge=1, le=64)] = 1
    """Where verdicts are read as text: one at temperature 0, or the share of so many at 1."""
    in_parts: bool = True
    """A response of several sentences is judged whole and part by part, and without what may speak
    to the judge; the lowest verdict counts (`prompts.views`)."""
    k: Annotated[int, Field(ge=0, le=64)] = 0
    """Draws per row for observed consistency; the paper's is 5."""
    beta: Fraction = bsdetector.PAPER_BETA
    """Weight of consistency against reflection, where both are computed."""
    likelihood_weight: Fraction = 0.0
    """Weight of likelihood against the two others; 0 = not computed."""
    weights: Mapping[str, float] = Field(default_factory=dict)
    """Weights of the parts in the log-odds of the confidence, by name: a question, `consistency`
    or `likelihood`; negative ones turn a part. None given: BSDetector's alpha and beta."""
    likelihood: Form = "gain_per_token"
    """What the likelihood is made of: what the request adds to the log-probability of the
    response, or how likely the response is after it; per token, or the sum."""
    likelihood_tokens: Annotated[int, Field(ge=1)] = 16
    """The first so many tokens of the response enter the likelihood."""
    max_failed_fraction: Fraction = 0.05
    """A run stops when more of its rows than this have failed."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:  # noqa: ANN401 - what pydantic hands over
        if not isinstance(data, Mapping):
            return data
        return {**preset_beside(data), **data, **merged_weights(data)}

    @field_validator("reflection")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in WORDINGS:
                raise ValueError(f"unknown wording {name!r}; known: {', '.join(WORDINGS)}")
        return names

    @model_validator(mode="after")
    def _weighted_parts_exist(self) -> Self:
        asked = (*self.reflection, *(("consistency",) if self.k else ()))
        for name in self.weights:
            if name not in (*asked, "likelihood"):
                raise ValueError(
                    f"weights: {name!r} is not computed; name a question of `reflection`, "
                    "consistency (with k > 0) or likelihood"
                )
        for name in asked:
            if self.weights and name not in self.weights:
                raise ValueError(
                    f"weights: {name!r} would be asked for and not counted; give it a weight"
                )
        for name, weight in self.weights.items():
            if weight == 0.0 or not math.isfinite(weight):
                raise ValueError(f"weights: {name}: {weight:g} is no weight; {self._without(name)}")
        return self

    @model_validator(mode="after")
    def _every_part_counts(self) -> Self:
        """What is asked for is paid for."""
        self.require_variety(self.k)
        if self.weights and self.likelihood_weight:
            raise ValueError("likelihood_weight: weights are given; name likelihood there")
        if not self.weights and self.likelihood_weight == 1.0 and (self.reflection or self.k):
            whose = ", as preset likelihood sets it," if self.preset == "likelihood" else ""
            raise ValueError(
                f"likelihood_weight: at 1{whose} reflection and k would be asked for and not "
                "counted; lower it, or leave them out"
            )
        return self

    @model_validator(mode="after")
    def _every_setting_counts(self) -> Self:
        idle = idle_settings(
            questions=self.reflection,
            k=self.k,
            weights=self.weights,
            likelihood=self.wants_likelihood,
            similarity=self.similarity,
        )
        for name, reason in idle.items():
            default = type(self).model_fields[name].default
            if getattr(self, name) not in own_values(self.preset, name, default):
                raise ValueError(f"{name}: has no effect: {reason}")
        return self

    @model_validator(mode="after")
    def _rows_without_draws_have_a_part(self) -> Self:
        by_weight = set(self.weights) - {"consistency", "likelihood"}  # not every endpoint has it
        other = by_weight if self.weights else self.reflection or self.likelihood_weight == 1.0
        if self.k > 0 and self.draws_for_some and not other:
            raise ValueError(
                "longest_answer, draw_for: a row without draws would have no confidence; add a "
                "question to `reflection`, or leave both out"
            )
        return self

    @model_validator(mode="after")
    def _something_to_compute(self) -> Self:
        if self.weights:
            return self
        if not self.reflection and self.k == 0 and self.likelihood_weight == 0.0:
            raise ValueError("nothing to compute: set reflection, k or likelihood_weight")
        if not self.reflection and self.k == 0 and self.likelihood_weight < 1.0:
            raise ValueError("without reflection and k, likelihood_weight must be 1")
        return self

    def _without(self, name: str) -> str:
        """What to do about a part that counts 0: what a preset weighs comes back if left out."""
        if name not in merged_weights({"preset": self.preset}).get("weights", {}):
            return "leave out what counts 0"
        return (
            f"preset {self.preset} weighs it; without it: preset fast with `reflection`, k and "
            "weights of your own"
        )

    @property
    def wants_likelihood(self) -> bool:
        """Whether any weight falls on the likelihood."""
        return self.likelihood_weight > 0.0 or "likelihood" in self.weights

    @property
    def rests_on_likelihood(self) -> bool:
        """Whether an endpoint that scores no text cannot serve at all."""
        return self.wants_likelihood and not set(self.weights) - {"likelihood"}
