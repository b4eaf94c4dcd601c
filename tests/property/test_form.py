"""Whatever JSON a candidate is: it is accepted only with the keys of the original."""

from __future__ import annotations

import json

from hypothesis import assume, given
from hypothesis import strategies as st

from clear_pipeline.schema import JSON, Example, Message
from clear_pipeline.scoring.form import ALL_FORMS, FormCheck, lost_form

JSON_ONLY: tuple[FormCheck, ...] = ("json",)
KEYS = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[JSON] = st.recursive(
    st.sampled_from([None, 1, "x", True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


PIECES = st.sampled_from(
    ["```python\n", "```json\n", "```\n", "\n```", "<tool_call>", "</tool_call>", '{"name": "f", ',
     '"arguments": {}}', "{", "}", "[", "]", "x = 1\n", "def f(", "\ud800", "\u0416", "Paris is "]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=8).map("".join)


def lost(old: JSON, new: str) -> str | None:
    row = Example(
        id="x:1",
        file="x",
        line=1,
        format="openai",
        messages=(Message("user", "?"),),
        target=Message("assistant", json.dumps(old)),
        original="{}",
    )
    return lost_form(row, Message("assistant", new), JSON_ONLY)


def same_keys(old: JSON, new: JSON) -> bool:
    """The promise, said in another way than the code says it."""
    match old, new:
        case (dict(), dict()):
            return old.keys() == new.keys() and all(same_keys(old[k], new[k]) for k in old)
        case (list(), list()):
            return not old or all(any(same_keys(a, b) for a in old) for b in new)
        case (None, _):
            return True
        case _:
            return not isinstance(old, dict | list) and not isinstance(new, dict | list)


@given(VALUES, VALUES)
def test_a_candidate_is_accepted_if_and_only_if_it_has_the_same_keys(old: JSON, new: JSON) -> None:
    """At every depth, for objects and for lists of them."""
    assume(isinstance(old, dict | list))
    assert (lost(old, json.dumps(new)) is None) == same_keys(old, new)


@given(VALUES)
def test_every_json_keeps_its_own_form(value: JSON) -> None:
    """A response is never refused for the form that it has."""
    assert lost(value, json.dumps(value)) is None


@given(st.text(), VALUES)
def test_text_never_replaces_json_and_nothing_raises(text: str, old: JSON) -> None:
    """Whatever text a model writes."""
    assume(isinstance(old, dict | list))
    try:
        new = json.loads(text)
    except ValueError:
        assert lost(old, text) is not None
    else:
        assert (lost(old, text) is None) <= same_keys(old, new)


@given(TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS)
def test_no_text_breaks_a_check(old: str, new: str, tools: str | None, calls: str | None) -> None:
    """Rows and replies are untrusted: every check answers, and a row keeps its own JSON."""
    row = Example(
        id="x:1",
        file="x",
        line=1,
        format="openai",
        messages=(Message("user", "?"),),
        target=Message("assistant", old),
        original="{}",
        tools=tools,
    )
    why = lost_form(row, Message("assistant", new, tool_calls=calls), ALL_FORMS)
    assert why is None or why
    assert lost_form(row, row.target, JSON_ONLY) is None
