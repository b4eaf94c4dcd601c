"""A response in another language.

Without a model nothing can be translated, so these are sentences written for this project that
would do as the opening of many answers and say nothing about the request: fluent, in the wrong
language, and beside the point. A model that sees them may have noticed either.
"""

from __future__ import annotations

import re
import unicodedata
from random import Random
from types import MappingProxyType
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import change_content
from clear_pipeline.corruptions.sample import Sample, asked
from clear_pipeline.schema import Example, normalise

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
        "English": "the and is of to what you how are for with this that it does should who when "
        "where which into from your i my about by can or be has have not why",
        "German": "der die das und ist nicht ein eine wie mit für von auf zu den dem ich sie sind",
        "French": "le les et est une des du dans pour que qui quel quelle ce sur avec vous je pas",
        "Spanish": "el los las y es una por con que del para cuál qué cómo está más",
        "Italian": "il gli e è una per con che del della dei sono non cosa quale più",
        "Dutch": "het een en van niet dat op hoe wat ik je voor met naar zijn",
    }
)
"""Words that are common in a language; some are those of another one too."""
_MARKS_OF: Final = MappingProxyType({name: set(marks.split()) for name, marks in _MARKS.items()})

_NAMES: Final = MappingProxyType(
    {
        "English": ("english", "englisch", "anglais", "ingles", "engels"),
        "German": ("german", "deutsch", "allemand", "aleman", "tedesc", "duits"),
        "French": ("french", "franz", "francais", "frances", "frans"),
        "Spanish": ("spanish", "spanisch", "espagnol", "espanol", "spagnol", "spaans", "castel"),
        "Italian": ("italian", "italien", "italiaans"),
        "Dutch": ("dutch", "niederland", "hollan", "neerland", "holand", "oland", "nederlands"),
    }
)
"""How the name of a language begins in all six of them, without accents."""

_FEWEST_MARKS: Final = 2
"""One word alone tells no language: English dies, too."""
_WORD: Final = re.compile(r"[^\W\d_]+")


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    """A language of which the row has no common word and that its prompt does not name.

    None for a row whose own language cannot be told, and for one that mixes or names them all.
    """
    words = _words(f"{asked(example)}\n{example.response}")
    marks = {name: len(common & words) for name, common in _MARKS_OF.items()}
    most = max(marks.values())
    if most < _FEWEST_MARKS or list(marks.values()).count(most) > 1:
        return None
    named = _named("\n".join(turn.text for turn in example.messages))
    strange = [name for name, found in marks.items() if not found and name not in named]
    if not strange:
        return None
    language = rng.choice(strange)
    return change_content(example.response, lambda _: SENTENCES[language])


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(normalise(text))}


def _named(text: str) -> set[str]:
    """The languages that a text names, in any of them, and whatever ending the name has."""
    plain = unicodedata.normalize("NFKD", text)
    words = _words("".join(c for c in plain if not unicodedata.combining(c)))
    return {name for name, stems in _NAMES.items() if any(w.startswith(stems) for w in words)}


WRONG_LANGUAGE = Corruption(
    name="wrong_language",
    plural="responses in the wrong language",
    explanation="a sentence in a language that the row does not use, written for this project",
    change=_change,
    ability="tell which language is asked for",
)
