"""The language stays the same, as far as it can be told.

Scripts are compared where both texts have a few letters. Languages are compared where both have a
sentence's worth of letters and the identifier (py3langid, 97 languages) is sure of each: shorter
answers, names and figures say nothing about their language. Code blocks do not count, and of JSON
only its strings do.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from clear_pipeline.schema import JSON, Example, Message
from clear_pipeline.scoring.answers.code import is_program, without_blocks
from clear_pipeline.scoring.form.json_keys import json_value

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

FEWEST_FOR_SCRIPT: Final = 4
"""Letters of each text."""
FEWEST_FOR_LANGUAGE: Final = 20
SURE: Final = 0.95
"""Probability of the likeliest language of each text."""
_LONGEST: Final = 4_000
"""Characters that are looked at: more of a text tell no more about its language."""
_JAPANESE: Final = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}
"""Scripts that stand in one text with another."""


def lost_language(example: Example, target: Message) -> str | None:
    """Which language or script the new target has instead of the original's; None if the same."""
    old, new = _prose(example.target.content), _prose(target.content)
    scripts = script_of(old), script_of(new)
    if None not in scripts and scripts[0] != scripts[1]:
        return f"it is in {scripts[1]} script, the original in {scripts[0]}"
    languages = language_of(old), language_of(new)
    if None not in languages and languages[0] != languages[1]:
        return f"it is in another language ({languages[1]}) than the original ({languages[0]})"
    return None


def script_of(text: str) -> str | None:
    """The script of most letters, as Unicode names them; None of fewer than four letters."""
    names = (unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha())
    scripts = Counter(_JAPANESE.get(name, name) for name in names)
    if scripts.total() < FEWEST_FOR_SCRIPT:
        return None
    name: str = max(sorted(scripts), key=scripts.__getitem__)
    return name if name == "CJK" else name.capitalize()


def language_of(text: str) -> str | None:
    """ISO 639 code of the language; None where the text is too short or could be several."""
    if sum(c.isalpha() for c in text) < FEWEST_FOR_LANGUAGE:
        return None
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE else None


def _prose(content: str | None) -> str:
    text = without_blocks(content or "")
    value = json_value(text)
    if value is not None:
        text = "\n".join(_strings(value))
    elif is_program(text):
        text = ""
    return unicodedata.normalize("NFKC", text[:_LONGEST])


def _strings(value: JSON) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # reads its model: a second

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
