"""Tasks with short rows, made by code: a sentence is read, and a JSON object is the answer.

All need a rule that only training tells: a sentence names two cities (or days), and one of them
counts; numbers stand there as words, times of day in several forms. What a sentence is made of is
drawn apart, so that held-out sentences are not those that were learnt. `orders` and `events` have 3
and 4 fields, `deliveries` and `moves` are their cores, with 2.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from clear_pipeline.schema import Example, Message

Answer: TypeAlias = dict[str, str | int]
Kind: TypeAlias = Literal["other row", "other value", "cut off"]

KINDS: Final[tuple[Kind, ...]] = ("other row", "other value", "cut off")
"""Of noise, equally frequent: the answer of another row; one field with another plausible value,
where there is one that of the sentence; JSON that ends too early."""

_ADJECTIVES: Final = (
    "oak", "steel", "blue", "folding", "small", "heavy", "glass", "red", "wooden", "cotton",
    "silver", "round", "spare", "plastic", "leather", "green",
)  # fmt: skip
_THINGS: Final = (
    "chairs", "lamps", "crates", "tents", "mugs", "ladders", "mirrors", "baskets", "drills",
    "blankets", "shelves", "pumps", "candles", "brushes", "kettles", "ropes", "benches", "clocks",
    "helmets", "trays", "pillows", "hinges", "buckets", "radios",
)  # fmt: skip
_CITIES: Final = (
    "Leeds", "Bristol", "Cork", "Oslo", "Lyon", "Turin", "Porto", "Ghent", "Basel", "Graz",
    "Malmo", "Bonn", "Dover", "York", "Derby", "Bergen", "Nantes", "Verona", "Seville", "Krakow",
    "Riga", "Tartu", "Vilnius", "Zagreb", "Split", "Athens", "Sofia", "Varna", "Brno", "Linz",
    "Bath", "Exeter", "Perth", "Galway", "Lille", "Dijon", "Genoa", "Parma", "Cadiz", "Braga",
)  # fmt: skip
_SUBJECTS: Final = (
    "pottery", "chess", "yoga", "French", "cooking", "first aid", "painting", "budget", "sales",
    "safety", "music", "garden", "robotics", "history", "poetry", "cycling", "sewing", "choir",
    "baking", "drama", "coding", "fencing", "dance", "wine",
)  # fmt: skip
_MEETINGS: Final = (
    "class", "workshop", "meeting", "evening", "course", "tour", "lecture", "lunch", "session",
    "party", "contest", "briefing",
)  # fmt: skip
_DAYS: Final = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip
_HOURS: Final = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip
_WORDS: Final[Mapping[int, str]] = {
    **dict(enumerate(_HOURS, 1)), 15: "fifteen", 20: "twenty", 24: "two dozen", 30: "thirty",
    36: "three dozen", 40: "forty", 48: "four dozen", 50: "fifty",
}  # fmt: skip
_ROUTES: Final = (
    "{n} {i} from {a} to {b}", "{n} {i} to {b}, not to {a}", "{n} {i} for {b}, out of {a}",
    "{n} {i}, stored in {a}, for our shop in {b}", "{n} {i} for {b}; the bill goes to {a}",
    "the {n} {i} held in {a} over to {b}", "{n} {i} on to {b} by way of {a}",
    "{n} of the {i} in {a} to the {b} branch",
)  # fmt: skip
_MOVES: Final = (
    "the {e} moves from {a} to {b}", "the {e} is on {b}, no longer on {a}",
    "the {e} of {a} is put off to {b}", "not {a} but {b} is the day of the {e}",
    "the {e} planned for {a} takes place on {b}", "{b} it is for the {e}, since {a} is full",
    "the {e} will be on {b} and not on {a}", "not on {a}, come on {b} to the {e}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A question with its true answer and a wrong one.

    Attributes:
        id: Of the row in its task.
        sentence: What is read.
        clean: The true answer, as JSON.
        wrong: What noise makes of it.
        kind: Which noise that is.
    """

    id: str
    sentence: str
    clean: str
    wrong: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Task:
    """A way to make rows.

    Attributes:
        name: Of the task.
        instruction: What every row asks for.
        draw: A sentence, its answer, and per field what else of the sentence may be taken for it.
    """

    name: str
    instruction: str
    draw: Callable[[random.Random], tuple[str, Answer, Answer]]

    def example(self, row: Row, response: str) -> Example:
        """The row with a response, as the pipeline reads it."""
        return Example(
            id=row.id,
            file=f"{self.name}.jsonl",
            line=int(row.id.rpartition("-")[2]) + 1,
            format="openai",
            messages=(Message("system", self.instruction), Message("user", row.sentence)),
            target=Message("assistant", response),
            original=json.dumps({"sentence": row.sentence, "response": response}),
        )


def _number(rng: random.Random) -> tuple[int, str]:
    """A number, and how it stands in a sentence."""
    if rng.random() < 0.6:
        value = rng.choice(sorted(_WORDS)[1:])
        return value, _WORDS[value]
    value = rng.randint(13, 99)
    return value, str(value)


def _delivery(rng: random.Random) -> tuple[str, Answer, Answer]:
    count, said = _number(rng)
    here, there = rng.sample(_CITIES, 2)
    route = rng.choice(_ROUTES).format(n=said, i=rng.choice(_THINGS), a=here, b=there)
    return f"{route}.", {"quantity": count, "city": there}, {"city": here}


def _move(rng: random.Random) -> tuple[str, Answer, Answer]:
    time, clock = _time(rng)
    old, day = rng.sample(_DAYS, 2)
    move = rng.choice(_MOVES).format(e=f"{rng.choice(_SUBJECTS)} class", a=old, b=day)
    return f"{move}, at {clock}.", {"day": day, "time": time}, {"day": old}


def _order(rng: random.Random) -> tuple[str, Answer, Answer]:
    item = f"{rng.choice(_ADJECTIVES)} {rng.choice(_THINGS)}"
    (count, said), (other, other_said) = _number(rng), _number(rng)
    here, there = rng.sample(_CITIES, 2)
    core = rng.choice(_ROUTES).format(n=said, i=item, a=here, b=there)
    opening = rng.choice([
        "Please send", "We need you to ship", "Can you deliver", "Kindly dispatch", "Ship",
        "I would like to order", "Our client wants", "As agreed, move", "Do forward",
        "Hi, please get",
    ])  # fmt: skip
    ending = rng.choice([
        ".", ", please.", f". Last time it was {other_said}.", " by Friday.",
        f", instead of the {other_said} we had planned.", ", thank you.",
        f". The other {other_said} can wait.", " as soon as you can.",
    ])  # fmt: skip
    answer: Answer = {"item": item, "quantity": count, "city": there}
    taken: Answer = {"city": here} | ({"quantity": other} if other_said in ending else {})
    return f"{opening} {core}{ending}", answer, taken


def _time(rng: random.Random) -> tuple[str, str]:
    """A time of day between 9:00 and 21:45 as HH:MM, and how it stands in a sentence."""
    hour, minute = rng.randint(9, 21), rng.choice((0, 15, 30, 45))
    twelve = (hour - 1) % 12 + 1
    part = "morning" if hour < 12 else "afternoon" if hour < 18 else "evening"
    half = "am" if hour < 12 else "pm"
    after = _HOURS[twelve % 12]
    said = {
        0: f"{_HOURS[twelve - 1]} o'clock", 15: f"a quarter past {_HOURS[twelve - 1]}",
        30: f"half past {_HOURS[twelve - 1]}", 45: f"a quarter to {after}",
    }[minute]  # fmt: skip
    forms = (f"{twelve}:{minute:02} {half}", f"{hour}:{minute:02}", f"{said} in the {part}")
    return f"{hour:02}:{minute:02}", rng.choice(forms)


def _event(rng: random.Random) -> tuple[str, Answer, Answer]:
    event = f"{rng.choice(_SUBJECTS)} {rng.choice(_MEETINGS)}"
    (guests, said), (time, clock) = _number(rng), _time(rng)
    old, day = rng.sample(_DAYS, 2)
    core = rng.choice(_MOVES).format(e=event, a=old, b=day)
    opening = rng.choice([
        "Note that", "Hello all,", "Just to say that", "A reminder:", "News:", "Dear team,",
        "Good news:", "Please note:", "You know,", "Sorry,",
    ])  # fmt: skip
    ending = rng.choice([
        " at {t}, with {g} guests.", " at {t}. We expect {g} people.", ", {t}, for {g} guests.",
        ". It is at {t}, {g} people come.", " with {g} guests at {t}.",
        " at {t}; there are {g} seats taken.", ". Start: {t}. Guests: {g}.",
        " at {t}, {g} have signed up.",
    ]).format(t=clock, g=said)  # fmt: skip
    answer: Answer = {"event": event, "day": day, "time": time, "guests": guests}
    return f"{opening} {core}{ending}", answer, {"day": old}


TASKS: Final[Mapping[str, Task]] = {
    task.name: task
    for task in (
        Task("orders", "As JSON: item, quantity, city (where it goes).", _order),
        Task("events", "As JSON: event, day (new), time (24 h), guests.", _event),
        Task("deliveries", "As JSON: quantity, city (where it goes).", _delivery),
        Task("moves", "As JSON: day (new), time (24 h).", _move),
    )
}


SHORT: Final = ("deliveries", "moves")
"""The tasks with 2 fields, which two CPU cores are enough for."""


@lru_cache
def rows_of(
    task: str, train: int, test: int, *, pool: str = "report"
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The rows to train on and those to test on; no sentence stands in both, or twice.

    Settings are chosen on rows of another `pool` than those that are reported.
    """
    rng = random.Random(f"{pool} {task}")
    drawn: dict[str, tuple[Answer, Answer]] = {}
    while len(drawn) < train + test:
        sentence, answer, taken = TASKS[task].draw(rng)
        drawn.setdefault(sentence, (answer, taken))
    answers = [answer for answer, _ in drawn.values()]
    rows = []
    for number, (sentence, (answer, taken)) in enumerate(drawn.items()):
        kind = KINDS[number % len(KINDS)]
        wrong = _wrong(kind, answer, taken, answers, rng)
        rows.append(Row(f"{task}-{number}", sentence, json.dumps(answer), wrong, kind))
    return tuple(rows[:train]), tuple(rows[train:])


def _wrong(
    kind: Kind, answer: Answer, taken: Answer, answers: Sequence[Answer], rng: random.Random
) -> str:
    whole = json.dumps(answer)
    if kind == "cut off":
        return whole[: rng.randint(len(whole) // 3, len(whole) - 2)]
    other = rng.choice([each for each in answers if each != answer])
    if kind == "other row":
        return json.dumps(other)
    field = rng.choice(list(answer))
    values = [each[field] for each in answers if each[field] != answer[field]]
    value = taken.get(field, answer[field])
    if value == answer[field]:
        value = rng.choice(values)
    return json.dumps({**answer, field: value})


def noisy_rows(rows: Sequence[Row], *, percent: int, seed: int) -> frozenset[int]:
    """Which rows have their wrong answer, by number: each kind as often, and those of less too."""
    rng = random.Random(f"noise {seed}")
    by_kind = [[n for n, row in enumerate(rows) if row.kind == kind] for kind in KINDS]
    for numbers in by_kind:
        rng.shuffle(numbers)
    longest = max(map(len, by_kind))
    dealt = [numbers[i] for i in range(longest) for numbers in by_kind if i < len(numbers)]
    return frozenset(dealt[: round(len(rows) * percent / 100)])
