"""A response in another language.

Without a model nothing can be translated, so these are sentences written for this project that
would do as the opening of many answers and say nothing about the request: fluent, in the wrong
language, and beside the point. A model that sees them may have noticed either.
"""

from __future__ import annotations

import re
from random import Random
from types import MappingProxyType
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import change_content
from clear_pipeline.corruptions.sample import Sample, asked
from clear_pipeline.schema import Example

SENTENCES: Final = MappingProxyType(
    {
        "English": "That is a good question, and the answer depends on a few things that you can "
        "check yourself.",
        "German": "Das ist eine gute Frage, und die Antwort hängt von einigen Dingen ab, die man "
        "selbst prüfen kann.",
        "French": "C'est une bonne question, et la réponse dépend de quelques points que vous "
        "pouvez vérifier vous-même.",
        "Spanish": "Es una buena pregunta, y la respuesta depende de algunas cosas que usted mismo "
        "puede comprobar.",
        "Italian": "È una buona domanda, e la risposta dipende da alcune cose che si possono "
        "verificare da soli.",
        "Dutch": "Dat is een goede vraag, en het antwoord hangt af van een paar dingen die je zelf "
        "kunt nagaan.",
    }
)
"""One sentence, the same in each language."""

_MARKS: Final = MappingProxyType(
    {
        "English": {"the", "and", "is", "of", "to", "what", "you"},
        "German": {"der", "die", "das", "und", "ist", "nicht", "ein"},
        "French": {"le", "les", "et", "est", "une", "des", "du"},
        "Spanish": {"el", "los", "y", "es", "una", "por", "con"},
        "Italian": {"il", "gli", "e", "è", "una", "per", "con"},
        "Dutch": {"het", "een", "en", "van", "niet", "dat", "op"},
    }
)
_WORD: Final = re.compile(r"[^\W\d_]+")


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    """A language of which the row has no common word; None for a row that mixes them all."""
    words = {word.lower() for word in _WORD.findall(f"{asked(example)}\n{example.response}")}
    strange = [name for name, marks in _MARKS.items() if not marks & words]
    if not any(marks & words for marks in _MARKS.values()):
        strange.remove("English")  # no language can be told: rather not English
    if not strange:
        return None
    language = rng.choice(strange)
    return change_content(example.response, lambda _: SENTENCES[language])


WRONG_LANGUAGE = Corruption(
    name="wrong_language",
    plural="responses in the wrong language",
    explanation="a sentence in a language that the row does not use, written for this project",
    change=_change,
    ability="tell which language is asked for",
)
