"""Code stays code: the same languages, and Python and JSON that can be parsed.

A response without a code block is code if all of it is Python of several statements, or of one that
is more than "x = 5" or "f(x)": those may be mathematics. Other languages have no parser here: of
them only the block is looked for. Texts above 20,000 characters are not looked at.
"""

from __future__ import annotations

import ast
from typing import Final

from clear_pipeline.formats.base import RowError
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.answers.code import (
    MAX_LENGTH,
    Code,
    code_blocks,
    is_program,
    parse_python,
)
from clear_pipeline.scoring.form.json_keys import lost_keys

_JSON: Final = "json"
_PYTHON: Final = "python"
_CODE_ALONE: Final = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.With,
    ast.Import, ast.ImportFrom, ast.Try,
)  # fmt: skip
"""Statements that are code without any other."""


def lost_code(example: Example, target: Message) -> str | None:
    """What the new target lost of the original's code; None where the original has none."""
    old, new = example.target.content or "", target.content or ""
    if target.tool_calls is not None or max(len(old), len(new)) > MAX_LENGTH:
        return None
    before, after = code_blocks(old), code_blocks(new)
    if not before:
        if _is_source(old) and not is_program(new):
            return "it is no Python program, as the original is"
        return _broken(after, _json_blocks(before))
    if not after:
        return "it has no code block, as the original has"
    languages = {_language(block) for block in after}
    lacking = sorted({_language(block) for block in before} - languages - {""})
    if lacking:
        return f"it has no code block in {lacking[0][:40]}, as the original has"
    return _broken(after, _json_blocks(before))


def _is_source(text: str) -> bool:
    tree = parse_python(text)
    if tree is None or not is_program(text):
        return False
    return len(tree.body) > 1 or isinstance(tree.body[0], _CODE_ALONE)


def _language(block: Code) -> str:
    """As the block is named; one without a name is Python if it is a program."""
    if block.language:
        return block.language
    return _PYTHON if is_program(block.source) else ""


def _json_blocks(blocks: list[Code]) -> list[str]:
    return [block.source for block in blocks if block.language == _JSON]


def _broken(blocks: list[Code], known: list[str]) -> str | None:
    """Why one of the new blocks is not what its name says; `known` is the original's JSON."""
    for block in blocks:
        if block.language == _PYTHON and parse_python(block.source) is None:
            return "its Python cannot be parsed"
        if block.language == _JSON:
            try:
                parse(block.source)
            except RowError:
                return "its JSON cannot be parsed"
            misfits = [lost_keys(source, block.source) for source in known]
            if misfits and None not in misfits:
                return misfits[0]
    return None
