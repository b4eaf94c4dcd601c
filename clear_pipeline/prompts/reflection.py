"""The model is asked whether the dataset's response is right: one question, one word.

Which wording works depends on the model and the data; benchmarks/parts.py asks all of them,
benchmarks/results/ensembles.md and reflection_wordings.md hold the figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from clear_pipeline.prompts.base import ask, render_row
from clear_pipeline.schema import Example, Message


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to ask.

    Attributes:
        question: Stands after the row; asks for one word.
        values: Per choice, how good the response then is, in [0, 1].
        options: What `question` offers for the choices, in their order: what stands behind each
            letter, its bracket included, or the words themselves. Each occurs once in it. Empty:
            the order is fixed.
    """

    question: str
    values: Mapping[str, float]
    options: tuple[str, ...] = ()

    def ordered(self, sample: int) -> tuple[str, dict[str, str]]:
        """The question with its options moved on by `sample` places, round and round.

        Letters stay in their order and phrases move; words change places. Over as many samples
        as there are options, each stands once in every place.

        Returns:
            The question, and for each choice that it offers the one of `values` that is meant.
        """
        names = list(self.values)
        if not self.options:
            return self.question, dict(zip(names, names, strict=True))
        places = range(len(names))
        moved = [(place + sample) % len(names) for place in places]
        shown = {self.options[place]: self.options[moved[place]] for place in places}
        offered = re.compile("|".join(map(re.escape, self.options)))
        question = offered.sub(lambda found: shown[found[0]], self.question)
        if names == list(self.options):
            return question, {names[place]: names[place] for place in moved}
        return question, {names[place]: names[moved[place]] for place in places}


_ABC = {"A": 1.0, "B": 0.0, "C": 0.5}
_YES = {"Yes": 1.0, "No": 0.0}
_NO = {"Yes": 0.0, "No": 1.0}
_TRUE = {"True": 1.0, "False": 0.0}

WORDINGS: Final[Mapping[str, Wording]] = MappingProxyType(
    {
        # The paper's two follow-ups (Chen & Mueller 2023, sec. 3.2), in our words.
        "abc": Wording(
            "Is the response (A) correct, (B) incorrect, or (C) are you not sure? "
            "Reply with one letter: A, B or C.",
            _ABC,
            (") correct", ") incorrect", ") are you not sure"),
        ),
        "abc_again": Wording(
            "Are you really sure that the response is correct? Choose again: (A) correct, "
            "(B) incorrect, (C) not sure. Reply with one letter: A, B or C.",
            _ABC,
            (") correct", ") incorrect", ") not sure"),
        ),
        "bac": Wording(
            "Is the response (A) incorrect, (B) correct, or (C) are you not sure? "
            "Reply with one letter: A, B or C.",
            {"A": 0.0, "B": 1.0, "C": 0.5},
        ),
        "yes_no": Wording(
            "Does the response answer the request correctly and completely? "
            "Reply with one word: Yes or No.",
            _YES,
            ("Yes", "No"),
        ),
        "no_yes": Wording(
            "Does the response answer the request correctly and completely? "
            "Reply with one word: No or Yes.",
            _YES,
        ),
        "true_false": Wording(
            "True or False: the response is a correct and direct answer to the request. "
            "Reply with one word.",
            _TRUE,
        ),
        "rating": Wording(
            "Rate the response from 1 (wrong or useless) to 5 (correct and complete). "
            "Reply with one digit.",
            {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0},
        ),
        "expert": Wording(
            "An expert solves the request alone, then compares. Would the expert say that this "
            "response is right? Reply with one word: Yes or No.",
            _YES,
        ),
        "belongs": Wording(
            "Does this response belong to this request, and is what it says right? "
            "Reply with one word: Yes or No.",
            _YES,
        ),
        "right_wrong": Wording(
            "Is the response right or wrong? Reply with one word: Right or Wrong.",
            {"Right": 1.0, "Wrong": 0.0},
        ),
        "same_answer": Wording(
            "If you answered the request yourself, would your answer say the same as this "
            "response? Reply with one word: Yes or No.",
            _YES,
        ),
        "keep": Wording(
            "Should this request and response be kept as an example to train an assistant on? "
            "Reply with one word: Yes or No.",
            _YES,
        ),
        "good_bad": Wording(
            "Is this a good or a bad response to the request? Reply with one word: Good or Bad.",
            {"Good": 1.0, "Bad": 0.0},
        ),
        "chance": Wording(
            "How likely is it that the response is correct, from 0 (surely not) to 9 (surely)? "
            "Reply with one digit.",
            {str(digit): digit / 9 for digit in range(10)},
        ),
        # Asked the other way round: Yes means a bad response.
        "error": Wording(
            "Does the response contain an error? Reply with one word: Yes or No.", _NO
        ),
        "elsewhere": Wording(
            "Is the response the answer to another question than the one that is asked? "
            "Reply with one word: Yes or No.",
            _NO,
        ),
        "correction": Wording(
            "Would a careful editor have to correct this response before it is used? "
            "Reply with one word: Yes or No.",
            _NO,
        ),
    }
)
"""By name. A name never changes its text: a new text is a new name, or a new version."""


def reflection_prompt(
    example: Example, wording: Wording, *, sample: int = 0
) -> tuple[Message, ...]:
    """Ask about the row's own response; the reply is parsed by `prompts.choices`."""
    return ask(render_row(example), wording.ordered(sample)[0])


def reflection_orders(
    example: Example, wording: Wording, *, samples: int
) -> list[tuple[tuple[Message, ...], dict[str, str]]]:
    """The question in the orders of samples 0 .. `samples` - 1, for `scoring.choice.ask_orders`.

    Orders that would come again are left out; so is all but one of a wording whose order is
    fixed.
    """
    row = render_row(example)
    orders = map(wording.ordered, range(min(samples, max(len(wording.options), 1))))
    return [(ask(row, question), meant) for question, meant in orders]
