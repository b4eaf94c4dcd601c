"""How right an answer is, beside the reference of its row. All figures are in [0, 1].

Sources: exact match and token F1 are the two metrics of SQuAD (Rajpurkar et al. 2016, arXiv
1606.05250); accuracy and the share of valid JSON are those of Chen & Mueller 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from clear_pipeline.schema import JSON, Example
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.scoring.answers.structures import read_structure, same_json
from clear_pipeline.scoring.similarity import canonical_text, token_f1
from clear_pipeline.scoring.tool_calls import both_calls, calls_agreement, same_calls

Values: TypeAlias = dict[str, float | None]
"""By metric; None where it says nothing about the row."""

LABELS: Final[Mapping[str, str]] = {
    "exact_match": "exact match",
    "token_f1": "token F1",
    "json_valid": "valid JSON",
    "json_keys": "same keys",
    "json_fields": "right fields",
    "judge": "judge",
}
"""Every metric, in the order of tables, with its name for people."""


def measure(row: Example, answer: str) -> Values:
    """All metrics of one answer but the judge's.

    Returns:
        exact_match: 1 if the final answers say the same: dates, numbers, letters, JSON and code by
            value, all else by its words; tool calls by what they call.
        token_f1: Overlap of the words, articles and punctuation left out; of the facts of the
            calls, where the response calls tools.
        json_valid: Where the reference is a JSON object or list: 1 if the answer is one and
            nothing else. A code block around it counts only if the reference has one too.
        json_keys: Where the reference is an object: 1 if the answer has the same keys.
        json_fields: Where the reference is an object that is not empty: the share of its fields
            that the answer has with the same value, whatever else it has.
    """
    ours, theirs = both_calls(row, answer)
    if ours is not None and theirs is not None:
        exact, shared = float(same_calls(ours, theirs)), calls_agreement(ours, theirs)
    elif ours is not None or theirs is not None:
        exact = shared = 0.0
    else:
        exact = float(exact_match(row.response, answer))
        shared = token_f1(row.response, answer)
    form: Values = dict.fromkeys(("json_valid", "json_keys", "json_fields"))
    if ours is None:
        form |= _json(row.response, answer)
    return {"exact_match": exact, "token_f1": shared, **form}


def missing(row: Example) -> Values:
    """What a row without an answer counts where that counts as wrong: 0 in every metric."""
    return {name: None if v is None else 0.0 for name, v in measure(row, "").items()}


def _json(reference: str, answer: str) -> Values:
    wanted = read_structure(reference)
    if wanted is None:
        return {}
    given = read_structure(answer)
    bare = _is_fenced(reference) or not _is_fenced(answer)
    valid: Values = {"json_valid": float(given is not None and bare)}
    if not isinstance(wanted, Mapping):
        return valid
    there: Mapping[str, JSON] = given if isinstance(given, Mapping) else {}
    same_keys = isinstance(given, Mapping) and there.keys() == wanted.keys()
    valid["json_keys"] = float(same_keys)
    if wanted:
        right = sum(
            name in there and same_json(value, there[name], text=canonical_text)
            for name, value in wanted.items()
        )
        valid["json_fields"] = right / len(wanted)
    return valid


def _is_fenced(text: str) -> bool:
    return text.lstrip().startswith("```")
