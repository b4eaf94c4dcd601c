"""What the presets of the score set, and which settings say nothing beside others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.schema import JSON
from clear_pipeline.scoring import bsdetector

PRESETS: Final[Mapping[str, Mapping[str, JSON]]] = MappingProxyType(
    {
        "fast": {
            "likelihood": "given",
            "likelihood_tokens": 256,
            "weights": {"yes_no": 1.0, "likelihood": 1.0},
        },
        "paper": {
            "reflection": ("abc", "abc_again"),
            "reflection_via": "text",
            "in_parts": False,
            "k": bsdetector.PAPER_K,
            "temperature": bsdetector.PAPER_TEMPERATURE,
            "alpha": bsdetector.PAPER_ALPHA,
            "beta": bsdetector.PAPER_BETA,
        },
        "best": {
            "reflection": ("yes_no",),
            "likelihood": "given",
            "likelihood_tokens": 256,
            "k": 4,
            "draw_form": "plain",
            "temperature": 0.7,
            "max_answer_tokens": 320,
            "draw_for": "values",
            "similarity": "lexical",
            "weights": {"yes_no": 1.0, "likelihood": 1.0, "consistency": 1.0},
        },
        "likelihood": {"reflection": (), "likelihood_weight": 1.0},
    }
)
"""What each preset sets; a value that the config gives wins."""


_OWN_PARTS: Final = ("reflection", "k", "likelihood_weight")
"""Whoever sets one of these, k = 0 aside, says what the confidence is made of."""


def _preset(given: Mapping[str, Any]) -> Mapping[str, JSON]:
    """By name; `fast` sets nothing where the parts are given."""
    name = str(given.get("preset", "fast"))
    own = [part for part in _OWN_PARTS if part in given]
    if name == "fast" and own and not (own == ["k"] and given["k"] == 0):
        return {}
    return PRESETS.get(name, {})


def preset_beside(given: Mapping[str, Any]) -> dict[str, JSON]:
    """What the preset sets, without what a given value takes the meaning from."""
    preset = dict(_preset(given))
    if given.get("weights"):
        preset.pop("likelihood_weight", None)
    return preset


def merged_weights(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of the preset and the given ones, each by its name.

    What a given `reflection` or `k` leaves out of the preset has no weight.
    """
    preset = _preset(given)
    weights, own = preset.get("weights"), given.get("weights", {})
    if not isinstance(weights, Mapping) or not isinstance(own, Mapping):
        return {}
    asked = given.get("reflection", weights)
    if not isinstance(asked, Mapping | Sequence):
        return {}
    left_out = {name for name in weights if name in WORDINGS and name not in asked}
    if given.get("k") == 0:
        left_out.add("consistency")
    kept = {name: w for name, w in weights.items() if name not in left_out}
    return {"weights": {**kept, **own}}


_OF_DRAWS: Final = (
    "draw_form",
    "temperature",
    "max_answer_tokens",
    "draw_for",
    "longest_answer",
    "similarity",
    "nli_model",
    "alpha",
)


def idle_settings(
    *,
    questions: Sequence[str],
    k: int,
    weights: Mapping[str, float],
    likelihood: bool,
    similarity: str,
) -> dict[str, str]:
    """Settings of the score that change nothing beside these, and what to do about each.

    Args:
        questions: Names of the wordings that are asked.
        k: Draws per row.
        weights: Of the parts; none = alpha and beta.
        likelihood: Whether the likelihood is computed.
        similarity: What draws are compared by.
    """
    idle = {}
    if similarity != "nli":
        idle["nli_model"] = "only similarity: nli reads it; set that, or leave it out"
    if not k:
        idle |= dict.fromkeys(_OF_DRAWS, "no draws are asked for; set k > 0, or leave it out")
    if weights:
        idle["beta"] = "weights are given; weigh consistency there"
    elif not (k and questions):
        idle["beta"] = "it weighs consistency against reflection; set k > 0 and reflection"
    if not likelihood:
        reason = "no likelihood is computed; weigh it in likelihood_weight or weights"
        idle |= {"likelihood": reason, "likelihood_tokens": reason}
    if all(len(WORDINGS[name].options) < 2 for name in questions):  # noqa: PLR2004 -- two orders
        idle["orders"] = "no question of `reflection` has options that change places; leave it out"
    if not questions:
        reason = "no question is asked; name one in `reflection`, or leave it out"
        idle |= dict.fromkeys(("orders", "text_samples", "in_parts"), reason)
        if not k or similarity != "llm":
            idle["reflection_via"] = reason
    return idle


def own_values(preset: str, field: str, default: object) -> tuple[object, ...]:
    """What a field holds where nobody gave it: its default, or the value of that preset."""
    return (default, PRESETS[preset].get(field, default))
