"""What fates, scores and reasons mean, in words for people; one place for all views."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from clear_pipeline.schema import Fate


class Words(NamedTuple):
    """A label for headings and a sentence that says what it means."""

    label: str
    meaning: str


FATES: Final[Mapping[Fate, Words]] = {
    Fate.QUARANTINED: Words("quarantined", "The row could not be read as a training example."),
    Fate.CONTAMINATED: Words(
        "contaminated", "The row overlaps with a benchmark that is kept for testing."
    ),
    Fate.DUPLICATE: Words("duplicate", "Another row teaches the same; that one stands for it."),
    Fate.UNSCORED: Words("unscored", "The model gave no usable answer, so there is no score."),
    Fate.RECTIFIED: Words("rectified", "A better response replaced the one in the dataset."),
    Fate.FILTERED: Words(
        "filtered", "The confidence is too low, and no better response took its place."
    ),
    Fate.KEPT: Words("kept", "The row goes into the training set as it is."),
}
"""Every fate, in order of precedence."""

COLOURS: Final[Mapping[Fate, str]] = {
    Fate.KEPT: "#2a9d8f",
    Fate.RECTIFIED: "#4c78dd",
    Fate.FILTERED: "#e8963a",
    Fate.UNSCORED: "#8d96a3",
    Fate.DUPLICATE: "#9b7fc4",
    Fate.CONTAMINATED: "#c2558f",
    Fate.QUARANTINED: "#d1495b",
}
"""One colour per fate, legible on white and on black."""

EXPORTED: Final = (Fate.KEPT, Fate.RECTIFIED)
"""Fates that reach the training file."""

PARTS: Final[Mapping[str, Words]] = {
    "p_bad": Words("P(bad)", "Probability that the row is bad, from marks; higher is worse."),
    "p_good_low": Words(
        "P(good) at least", "Lower 95 % bound of the probability that the row is good."
    ),
    "reflection": Words(
        "Self-reflection", "How surely the model calls the given response correct."
    ),
    "reflection_whole": Words(
        "… of the whole", "The same for the whole response; the lowest over its parts counts."
    ),
    "consistency": Words(
        "Observed consistency", "How well the response agrees with what the model says itself."
    ),
    "entailment": Words(
        "Entailment", "How little the response and the model's own samples contradict each other."
    ),
    "exact_match": Words("Exact match", "Share of the model's samples that equal the response."),
    "likelihood": Words(
        "Likelihood", "How likely the response is after the prompt, or how much likelier for it."
    ),
    "cascade_consistency": Words(
        "Cascade: consistency", "Observed consistency of a row near the threshold."
    ),
    "cascade_entailment": Words("Cascade: entailment", "The same as above, of its samples."),
    "cascade_exact_match": Words("Cascade: exact match", "The same as above, of its samples."),
    "second_confidence": Words(
        "Second opinion", "How surely another model calls the given response correct."
    ),
    "similarity": Words("Similarity", "Likeness of this duplicate to the row that stands for it."),
    "contamination": Words(
        "Contamination", "Largest share of a benchmark text's n-grams that the row has."
    ),
    "preference": Words("Preference", "Confidence of the judge that the candidate is better."),
    "preference_first": Words(
        "… original shown first", "The same, when the judge read the original first."
    ),
    "preference_second": Words("… candidate shown first", "The same, in the other order."),
    "choice_mass": Words(
        "Choice mass",
        "Probability that fell on any of the offered answers; below 0.5 the reflection is noise.",
    ),
}
"""Ledger columns in [0, 1]; higher is better, but for `p_bad` and `contamination`."""

SCORE_PARTS: Final = (
    *("reflection", "consistency", "entailment", "exact_match", "likelihood"),
    "cascade_consistency",
)
"""The parts that the confidence combines."""

USAGE_COLUMNS: Final[Mapping[str, str]] = {
    "reflection_usage": "reflection",
    "consistency_usage": "consistency",
    "likelihood_usage": "likelihood",
}
"""Ledger columns with what a part of the score took, and the part."""

DETAILS: Final[Mapping[str, Words]] = {
    "reflection_via": Words("Reflection read from", "logprobs, grammar, schema or text."),
    "reflection_view": Words("Lowest verdict on", "The part of the response that decided."),
    "logp_given_prompt": Words("log p(response | prompt)", "Natural logarithm, sum over tokens."),
    "logp_alone": Words("log p(response)", "The same without the prompt."),
    "response_tokens": Words("Response tokens", "As the model counts them."),
    "embed_error": Words("Embedding error", "Why there is no vector of this row."),
    "score_error": Words("Scoring error", "What the model or its server said."),
    "cascade_step": Words(
        "Cascade", "sampled: the confidence counts the model's own samples; cheap: it does not."
    ),
    "cascade_error": Words("Cascade error", "Why the confidence is still the cheap one."),
    "disagreement": Words(
        "Disagreement", "Between the scorer and the second model; 1 = one says good, one bad."
    ),
    "second_error": Words("Second opinion error", "What the model or its server said."),
    "verdict": Words("Verdict", "Of the judge over both orders."),
    "rectify_outcome": Words(
        "Rectify", "replaced, not_preferred, confirmed (the model says the same), refused, failed."
    ),
    "candidate_draws": Words("Candidates", "How many were drawn, and what became of them."),
}
"""Ledger columns that explain a score but are none."""

_CHANGING = re.compile(
    r"""
    (?P<quoted> "[^"]*" | '[^']*' | `[^`]*` )
    | (?P<id> (?<!\S) \S+? : \d+ (?!\w) )
    | (?P<number> (?<![\w.]) [-+]? \d [\d.,_]* (?: e[-+]?\d+ )? )
    """,
    re.VERBOSE,
)


def reason_kind(reason: str) -> str:
    """What many rows' reasons have in common: quoted text, row ids and numbers become `…`."""
    return " ".join(_CHANGING.sub("…", reason[:400]).split())
