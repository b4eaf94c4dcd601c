"""What a row teaches has one hash, which stays: caches, splits and ties go by it."""

from __future__ import annotations

import re
import sys

from clear_pipeline.schema import Message, content_hash, normalise


def test_the_hash_of_a_row_stays() -> None:
    """White space of any kind, a decomposed accent and tool calls: the value of the first release.

    Another value would move rows between train and valid, and cut marks off from their rows.
    """
    messages = [Message("user", " a\u00a0\u2003b\x1c\te\u0301 ")]
    target = Message("assistant", None, tool_calls='[{"b":1,"a":"é"}]')
    assert content_hash(messages, target, "[1]") == "4a0121ca85602e7617f8802cb0d141b3"


def test_all_white_space_is_one_space() -> None:
    """Every character that a regular expression takes for white space, and no other."""
    characters = map(chr, range(sys.maxunicode + 1))
    spaces = [c for c in characters if normalise(f"a{c}b") == "a b"]
    assert spaces == re.findall(r"\s", "".join(map(chr, range(sys.maxunicode + 1))))
