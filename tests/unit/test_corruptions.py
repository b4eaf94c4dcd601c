"""What each corruption does to a row, shown on rows."""

from __future__ import annotations

import json
import re

import pytest

from clear_pipeline.corruptions import CORRUPTIONS, Sample, plant
from clear_pipeline.corruptions.refusal import REFUSALS
from clear_pipeline.corruptions.wrong_language import SENTENCES
from clear_pipeline.schema import Example, Message


def row(line: int, prompt: str, response: str) -> Example:
    return Example(
        id=f"a:{line}",
        file="a",
        line=line,
        format="chat",
        messages=(Message("system", "Be brief."), Message("user", prompt)),
        target=Message("assistant", response),
        original="{}",
    )


GARDEN = row(1, "How deep should I plant potatoes?", "About ten centimetres deep.")
TULIPS = row(2, "How deep should I plant tulips?", "Twice as deep as the bulb is high.")
CAPITAL = row(3, "What is the capital of Canada?", "The capital of Canada is Ottawa.")
TOWER = row(4, "Who built the tower, and when?", '{"by": "Gustave Eiffel", "year": 1889}')
SAMPLE = Sample([GARDEN, TULIPS, CAPITAL, TOWER])


def spoiled(name: str, example: Example, sample: Sample = SAMPLE, seed: int = 0) -> str:
    found = plant(CORRUPTIONS[name], example, sample, seed=seed)
    assert found is not None
    assert found.id == f"{example.id}#{name}"
    return found.response


def test_other_row_keeps_to_the_form() -> None:
    """A prose row gets prose; the only JSON row finds no other JSON row."""
    assert spoiled("other_row", GARDEN) in {TULIPS.response, CAPITAL.response}
    assert plant(CORRUPTIONS["other_row"], TOWER, SAMPLE, seed=0) is None


def test_similar_row_has_the_nearest_prompt() -> None:
    """Potatoes get the answer about tulips, not the one about Canada."""
    assert spoiled("similar_row", GARDEN) == TULIPS.response


def test_nearly_equal_responses_are_not_taken() -> None:
    """A similar row with nearly the same words would be no error."""
    twin = row(5, "How deep should I plant my potatoes?", "About ten centimetres deep, roughly.")
    assert spoiled("similar_row", GARDEN, Sample([GARDEN, twin, TULIPS])) == TULIPS.response


def test_prompt_sentence_is_of_the_request() -> None:
    """The sentence is the user's, never the system prompt's, and goes into a JSON value."""
    assert spoiled("prompt_sentence", GARDEN) == GARDEN.messages[1].content
    changed = json.loads(spoiled("prompt_sentence", TOWER))
    assert changed == {"by": "Who built the tower, and when?", "year": 1889}


@pytest.mark.parametrize(
    ("response", "pattern"),
    [
        ("It costs $1,560.50.", r"It costs \$(?!1,560\.50)[1-9],\d{3}\.\d{2}\."),
        ("18", r"(?!18)[12]\d"),
        ("Exactly 0", "Exactly 1"),
        ("007 is here", r"00(?!7)\d is here"),
        ("6 x 4, so 6 times", r"(?!6)\d x 4, so \d times|6 x (?!4)\d, so 6 times"),
        ("It has Eight legs", "It has (?!Eight)[A-Z][a-z]+ legs"),
        ("1. Go\n2. Wait 5 minutes", r"1\. Go\n2\. Wait (?!5)\d minutes"),
        ('{"year": 1889}', r'\{"year": (?!1889)\d{4}\}'),
    ],
)
def test_changed_number_keeps_the_form(response: str, pattern: str) -> None:
    """Separators, digits, leading zeros, words and list items stay; the value does not."""
    for seed in range(8):
        assert re.fullmatch(pattern, spoiled("changed_number", row(9, "?", response), seed=seed))


def test_every_mention_of_a_number_changes() -> None:
    """A number that stands twice is changed in both places, so that the text agrees with itself."""
    changed = spoiled("changed_number", row(9, "?", "It is 42. Yes, 42."))
    first, second = re.findall(r"\d+", changed)
    assert first == second != "42"


def test_no_number_no_change() -> None:
    """A response without a number is left out; "one" and "B2" are none."""
    example = row(9, "?", "No one lives in B2.")
    assert plant(CORRUPTIONS["changed_number"], example, SAMPLE, seed=0) is None


def test_changed_entity_changes_what_was_asked_for() -> None:
    """Canada stands in the prompt, so Ottawa is the fact; the new name is another row's."""
    sample = Sample([CAPITAL, TOWER, row(5, "Who?", "It was drawn by Marie Curie.")])
    assert spoiled("changed_entity", CAPITAL, sample) == "The capital of Canada is Marie Curie."
    assert json.loads(spoiled("changed_entity", TOWER))["by"] in {"Ottawa", "Canada"}


def test_what_only_stands_alone_enters_no_sentence() -> None:
    """Among answers of one word a sentence keeps its name; an answer of one word takes any."""
    author = row(
        5, "Who wrote it, and in which city?", "It was written by Johann Goethe in Weimar."
    )
    rome, oslo = row(6, "Capital of Italy?", "Rome"), row(7, "Capital of Norway?", "Oslo.")
    sample = Sample([author, rome, oslo])
    assert plant(CORRUPTIONS["changed_entity"], author, sample, seed=0) is None
    answers = {spoiled("changed_entity", rome, sample, seed=seed) for seed in range(20)}
    assert answers == {"Johann Goethe", "Weimar", "Oslo"}


def test_labels_are_no_names() -> None:
    """Yes and No, and a closed set of words, rare ones as well, stay; and none enters a name."""
    labels = [*["Positive", "Negative"] * 4, "Neutral", "Yes", "No", "No"]
    rows = [row(n, f"Review {n}: so?", label) for n, label in enumerate(labels)]
    sample = Sample([*rows, row(20, "Capital?", "The capital of it is Ottawa, not Toronto.")])
    assert [plant(CORRUPTIONS["changed_entity"], r, sample, seed=0) for r in rows] == [None] * 12
    assert sample.names_for("Ottawa", "The capital is Ottawa.") == ["Ottawa", "Toronto"]


def test_a_capital_letter_is_not_yet_a_name() -> None:
    """Words that begin sentences, or occur in small letters, are no names."""
    assert SAMPLE.names_in("Twice. About a Bulb in the Capital of Peru.") == ["Peru"]


def test_cut_off_ends_in_the_middle() -> None:
    """What is left is the beginning, 30 to 70 %, without a closing full stop; JSON breaks."""
    for seed in range(8):
        left = spoiled("cut_off", CAPITAL, seed=seed)
        assert CAPITAL.response.startswith(left)
        assert 0.2 < len(left) / len(CAPITAL.response) <= 0.7
        assert left[-1].isalnum()
    with pytest.raises(json.JSONDecodeError):
        json.loads(spoiled("cut_off", TOWER))


@pytest.mark.parametrize(
    "response",
    [
        "今日は東京で大きな祭りがありました。とても楽しかったです。",
        "他在一九八九年出生于北京。他的父亲是一名老师。",
    ],
)
def test_cut_off_ends_in_no_sign_of_an_end(response: str) -> None:
    """Full stops of Chinese and Japanese are taken off as others are."""
    example = row(9, "?", response)
    for seed in range(40):
        assert spoiled("cut_off", example, seed=seed)[-1] not in "。、"


def test_a_loop_keeps_the_layout() -> None:
    """Lines and indents stay as they are: what is wrong with the text is the loop alone."""
    code = "def f(x):\n    if x:\n        return 1\n    return 2\n\n\nprint(f(1))\nprint(f(0))"
    loops = {
        (code[:end] + code[start:end] * 8).rstrip()
        for end in range(1, len(code) + 1)
        for start in range(end)
    }
    for seed in range(8):
        assert spoiled("repetition_loop", row(9, "?", code), seed=seed) in loops


@pytest.mark.parametrize(
    "response",
    [
        "今日は東京で大きな祭りがありました。とても楽しかったです。",
        "วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะกันเถอะ",
    ],
)
def test_a_script_without_spaces_loops_by_its_characters(response: str) -> None:
    """Nine times three to eight characters after 30 to 70 % of the text, not the whole of it."""
    for seed in range(8):
        looped = spoiled("repetition_loop", row(9, "?", response), seed=seed)
        assert any(looped[-n:] * 9 == looped[-9 * n :] for n in range(3, 9))
        assert len(looped) < 0.7 * len(response) + 8 * 8 + 1


def test_repetition_loop_repeats() -> None:
    """The last words that are left stand nine times in a row."""
    looped = spoiled("repetition_loop", CAPITAL).split()
    assert any(looped[-n:] * 9 == looped[-9 * n :] for n in range(1, 9))


def test_refusal_and_language_take_the_place_of_the_answer() -> None:
    """In JSON they stand in the longest string, and the other values stay."""
    assert spoiled("refusal", GARDEN) in REFUSALS
    assert json.loads(spoiled("refusal", TOWER))["year"] == 1889
    assert spoiled("wrong_language", GARDEN) in set(SENTENCES.values()) - {SENTENCES["English"]}


def test_wrong_language_is_not_the_row_s() -> None:
    """A German row never gets German; one whose language cannot be told gets none."""
    german = row(9, "Wie tief?", "Das ist nicht tief, und der Boden ist die Grenze.")
    found = {spoiled("wrong_language", german, seed=seed) for seed in range(40)}
    assert found == set(SENTENCES.values()) - {SENTENCES["German"]}
    for unknown in (row(9, "天気", "晴れ"), row(9, "Madrid?", "Buenos dias, amigo.")):
        assert plant(CORRUPTIONS["wrong_language"], unknown, SAMPLE, seed=0) is None


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("How do you say 'good morning' in Spanish?", "Spanish"),
        ("Tell me how to say this en español.", "Spanish"),
        ("Wie sagt man das auf Spanisch?", "Spanish"),
        ("What is this in italiano, and why?", "Italian"),
        ("How would you say it in NEDERLANDS?", "Dutch"),
    ],
)
def test_a_language_that_was_asked_for_is_not_wrong(prompt: str, named: str) -> None:
    """Named in English, by its own name or by that in another language, it is never planted."""
    example = row(9, prompt, "Buenos dias, amigo.")
    found = {spoiled("wrong_language", example, seed=seed) for seed in range(60)}
    assert len(found) >= 2
    assert SENTENCES[named] not in found


def test_malformed_json_lacks_one_sign() -> None:
    """One character less, and no parser reads it; prose is left out."""
    broken = spoiled("malformed_json", TOWER)
    assert len(broken) == len(TOWER.response) - 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    assert plant(CORRUPTIONS["malformed_json"], GARDEN, SAMPLE, seed=0) is None
