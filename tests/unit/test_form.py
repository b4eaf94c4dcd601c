"""Which candidates keep the form of the original, and why others are refused."""

from __future__ import annotations

import json

import pytest

from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.form import ALL_FORMS, FormCheck, lost_form
from clear_pipeline.scoring.form.kept import CHECKS
from clear_pipeline.scoring.form.language import language_of, script_of

TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {"properties": {"city": {}, "day": {}}, "required": ["city"]},
            },
        }
    ]
)
CALLS: tuple[FormCheck, ...] = ("tools",)
GERMAN = "Die Hauptstadt von Frankreich ist Paris, und sie liegt an der Seine."
ENGLISH = "The capital of France is Paris, and it lies on the river Seine."


def row(response: str, *, tools: str | None = None, calls: str | None = None) -> Example:
    return Example(
        id="x:1",
        file="x",
        line=1,
        format="openai",
        messages=(Message("user", "?"),),
        target=Message("assistant", response or None, tool_calls=calls),
        original="{}",
        tools=tools,
    )


def lost(old: str, new: str, *checks: FormCheck) -> str | None:
    return lost_form(row(old), Message("assistant", new), checks or ALL_FORMS)


def test_every_check_has_a_name() -> None:
    """A setting that names all checks names each."""
    assert set(CHECKS) == set(ALL_FORMS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"a": 1, "b": {"c": null}}', '{"b": {"c": [1, {"x": 2}]}, "a": "one"}'),
        ('[{"a": 1}, {"b": 2}]', '[{"b": 9}, {"a": 8}, {"b": 7}]'),
        ('{"rows": []}', '{"rows": [{"anything": 1}, 2]}'),
        ('{"rows": [{"a": 1}]}', '{"rows": []}'),
        ('{"tags": ["x"]}', '{"tags": ["y", "z", null]}'),
        ("[{}, []]", "[[]]"),
        ("no JSON", "other words"),
    ],
)
def test_json_of_the_same_keys_is_kept(old: str, new: str) -> None:
    """Order, values and the number of items of a list are content, not form."""
    assert lost(old, new, "json") is None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('{"a": 1}', "a is 2", "it is no JSON, as the original is (broken JSON: "),
        ('{"a": 1}', '{"a": NaN}', "it is no JSON, as the original is (NaN is not JSON)"),
        ('{"a": 1}', '{"a": 1, "a": 2}', "it is no JSON, as the original is (key 'a' stands"),
        ('{"a": 1, "b": 2}', '{"a": 1}', "its JSON lacks keys of the original: 'b'"),
        ('{"a": 1}', '{"a": 1, "b": 2}', "its JSON has keys that the original has not: 'b'"),
        ('{"a": {"b": 1}}', '{"a": {"c": 1}}', "its JSON lacks keys of the original: 'b'"),
        ('{"a": [{"b": 1}]}', '{"a": [{"b": 2}, {}]}', "its JSON lacks keys of the original: 'b'"),
        ('{"a": 1}', '{"a": [1]}', "its JSON has another structure than the original's"),
        ('{"a": [1]}', '{"a": "1"}', "its JSON has another structure than the original's"),
        ('[{"a": 1}]', '{"a": 1}', "its JSON has another structure than the original's"),
        ('["x"]', '[{"a": 1}]', "its JSON has another structure than the original's"),
        (
            '{"a":1,"b":1,"c":1,"d":1,"e":1}',
            "{}",
            "its JSON lacks keys of the original: 'a', 'b', 'c' and 2 more",
        ),
    ],
)
def test_json_of_another_form_is_refused(old: str, new: str, why: str) -> None:
    """At every depth, with the keys that are lost or new."""
    told = lost(old, new, "json")
    assert told is not None
    assert told.startswith(why)


PYTHON = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (PYTHON, "Use this:\n```py\nprint(2)\n```\nand see"),
        ("```\nprint(1)\n```", "```python\nprint(2)\n```"),
        ("```json\n[1]\n```", "```json\n[2, 3]\n```"),
        ("```rust\nfn main() {}\n```", "```rust\nnot looked at\n```"),
        ("def f():\n    return 1", "def f():\n    return 2"),
        ("x = 5", "It is 7."),
        ("x = f(5)", "It is 7."),
        ("Paris", "Rome"),
    ],
)
def test_code_in_the_same_language_is_kept(old: str, new: str) -> None:
    """Words around a block are free, and one line that may be mathematics is no program."""
    assert lost(old, new, "code") is None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (PYTHON, "print(1)", "it has no code block, as the original has"),
        (PYTHON, "```js\nf()\n```", "it has no code block in python, as the original has"),
        (PYTHON, "```python\nprint(\n```", "its Python cannot be parsed"),
        ("Some words.", "```python\nprint(\n```", "its Python cannot be parsed"),
        ("```json\n[1]\n```", "```json\n[1,]\n```", "its JSON cannot be parsed"),
        (
            '```json\n{"a": 1}\n```',
            '```json\n{"b": 1}\n```',
            "its JSON lacks keys of the original: 'a'",
        ),
        ("x = 1\nprint(x)", "Print x.", "it is no Python program, as the original is"),
        ("def f():\n    return 1", "def f(:", "it is no Python program, as the original is"),
    ],
)
def test_code_that_is_lost_or_broken_is_refused(old: str, new: str, why: str) -> None:
    """Python by its parser, JSON by its keys, others by the name of the block."""
    assert lost(old, new, "code") == why


def call(name: str, arguments: str) -> str:
    return json.dumps([{"function": {"name": name, "arguments": arguments}, "type": "function"}])


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        (call("weather", '{"city": "Rome"}'), None),
        (call("wether", "{}"), "it calls 'wether', which is none of the row's tools"),
        (call("weather", '{"day": 1}'), "its call of 'weather' lacks the argument 'city'"),
        (call("weather", "Rome"), "the arguments of its call of 'weather' are no JSON object"),
        (call("weather", "[1]"), "the arguments of its call of 'weather' are no JSON object"),
        ('[{"type": "function"}]', "its tool calls cannot be read"),
    ],
)
def test_calls_are_such_as_the_tools_take(calls: str, why: str | None) -> None:
    """Known names, arguments that are an object, the required ones among them; as text too."""
    target = Message("assistant", None, tool_calls=calls)
    assert lost_form(row("Sunny.", tools=TOOLS), target, CALLS) == why
    if why is None or "cannot be read" not in why:
        (one,) = json.loads(calls)
        tagged = f"<tool_call>{json.dumps(one['function'])}</tool_call>"
        target = Message("assistant", tagged)
        assert lost_form(row("Sunny.", tools=TOOLS), target, CALLS) == why


def test_a_tagged_call_that_is_broken_is_refused() -> None:
    """It would teach what no server can read; words instead of a call are for the judge."""
    old = row("", tools=TOOLS, calls=call("weather", '{"city": "Rome"}'))
    broken = Message("assistant", '<tool_call>{"name": "weather"</tool_call>')
    assert lost_form(old, broken, CALLS) == "its tool calls cannot be read"
    assert lost_form(old, Message("assistant", "Sunny."), ALL_FORMS) is None


def test_a_row_without_tools_gets_no_call() -> None:
    """A server may invent one."""
    target = Message("assistant", None, tool_calls=call("weather", "{}"))
    assert lost_form(row("Sunny."), target, CALLS) == ("it calls a tool, and the row has none")


def test_tools_that_cannot_be_read_refuse_no_name() -> None:
    """What is not known is not held against a candidate."""
    target = Message("assistant", None, tool_calls=call("weather", "{}"))
    assert lost_form(row("Sunny.", tools='{"x":'), target, CALLS) is None


def test_arguments_of_a_call_in_text_are_no_form() -> None:
    """The keys of a call that a row writes as JSON are its answer."""
    old = row('{"name": "weather", "arguments": {"city": "Rome"}}', tools=TOOLS)
    new = Message("assistant", '{"name": "weather", "arguments": {"city": "Rome", "day": 1}}')
    assert lost_form(old, new, ALL_FORMS) is None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (ENGLISH, ENGLISH.replace("Paris", "Lyon"), None),
        (ENGLISH, GERMAN, "it is in another language (de) than the original (en)"),
        ("Athens", "Αθήνα", "it is in Greek script, the original in Latin"),
        ("Paris", "Parigi", None),
        ("17", "Αθήνα", None),
        ("東京です", "トウキョウ", None),
        (f'{{"a": "{ENGLISH}"}}', f'{{"a": "{GERMAN}"}}', "it is in another language (de) than"),
        (f"{ENGLISH}\n{PYTHON}", f"{PYTHON}\nimport os", None),
        (f"```text\n{ENGLISH}\n```", f"```text\n{GERMAN}\n```", None),
    ],
)
def test_the_language_is_kept_as_far_as_it_can_be_told(old: str, new: str, why: str | None) -> None:
    """Names, figures and code tell none; Japanese has several scripts."""
    told = lost(old, new, "language")
    assert told == why if why is None else (told or "").startswith(why)


def test_too_few_letters_tell_no_script_and_no_language() -> None:
    """Four letters, and twenty."""
    assert (script_of("ab1 c"), script_of("ab1 cd")) == (None, "Latin")
    assert language_of("Die Stadt ist es.") is None
    assert language_of(GERMAN) == "de"


def test_an_object_is_no_list_even_if_both_are_empty() -> None:
    """A list of objects does not take an empty list among them."""
    assert lost("[{}]", "[{}, []]", "json") == "its JSON has another structure than the original's"


def test_a_block_may_hold_any_json() -> None:
    """A number or a word is JSON, too; what cannot be parsed is not."""
    old = "```json\n41\n```"
    assert lost(old, "```json\n42\n```", "code") is None
    assert lost(old, "```json\n{42\n```", "code") == "its JSON cannot be parsed"


def test_long_texts_are_not_looked_at_for_code() -> None:
    """Neither of them: parsers are slow on hostile text."""
    code = "```python\nx = 1\n```"
    assert lost(code, "no code here", "code") == "it has no code block, as the original has"
    assert lost(code, "no code here " * 2000, "code") is None
