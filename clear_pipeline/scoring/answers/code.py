"""Code: Python by its syntax tree, other languages by their tokens."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final, NamedTuple

_BLOCK = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<tag>[\w+#-]*)[^\n]*\n(?P<code>.*?)^(?P=fence)",
                    re.DOTALL | re.MULTILINE)  # fmt: skip
MAX_LENGTH: Final = 20_000
"""Characters of the longest text that is read as code: parsers are slow on hostile text."""

_NAMES: Final = {
    "py": "python", "python3": "python", "c++": "cpp", "c#": "csharp", "cs": "csharp",
    "js": "javascript", "ts": "typescript", "rs": "rust", "golang": "go", "postgresql": "sql",
    "mysql": "sql", "sqlite": "sql",
}  # fmt: skip
_FREE: Final = {"c", "cpp", "csharp", "java", "rust", "sql"}
"""Languages in which no white space between tokens has a meaning."""
_LINES: Final = {"javascript", "typescript", "go", "kotlin", "swift", "scala"}
"""Languages in which the end of a line may end a statement."""
_SQL = re.compile(r"\s*(?:select|insert|update|delete|create|with)\b.*", re.DOTALL | re.IGNORECASE)

_STATEMENTS: Final = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Call, ast.ClassDef, ast.FunctionDef,
    ast.AsyncFunctionDef, ast.For, ast.While, ast.If, ast.With, ast.Import, ast.ImportFrom,
    ast.Try, ast.Return, ast.Lambda, ast.comprehension,
)  # fmt: skip
"""What tells a program from a word such as "Paris", which is an expression as well."""


class Code(NamedTuple):
    """Source and the language that a code block names, "" if none does."""

    language: str
    source: str


def same_code(first: str, second: str) -> bool | None:
    """Whether two texts hold the same program, however it is laid out; None if one holds none.

    Comments never count. A text may hold its program in one code block; then the words around it
    do not count either. Languages in which white space between tokens has a meaning, Python
    excepted, are compared as text.
    """
    left, right = read_code(first), read_code(second)
    if left is None or right is None:
        return None
    language = left.language or right.language
    if left.language and right.language and left.language != right.language:
        return None
    if language in ("", "python"):
        trees = [_tree(code.source) for code in (left, right)]
        if None not in trees:
            return trees[0] == trees[1]
    if not language and _SQL.fullmatch(left.source) and _SQL.fullmatch(right.source):
        language = "sql"
    if language in _FREE | _LINES:
        return _tokens(left.source, language) == _tokens(right.source, language)
    return None


def read_code(text: str) -> Code | None:
    """The only code block of `text`, or the whole text; None if there are several or too much."""
    if len(text) > MAX_LENGTH:
        return None
    blocks = code_blocks(text)
    if not blocks:
        return Code("", text)
    return blocks[0] if len(blocks) == 1 else None


def code_blocks(text: str) -> list[Code]:
    """The fenced blocks of `text`, in order; none of a text that is too long to be looked at."""
    if len(text) > MAX_LENGTH:
        return []
    found = ((block["tag"].casefold(), block["code"]) for block in _BLOCK.finditer(text))
    return [Code(_NAMES.get(tag, tag), source) for tag, source in found]


def without_blocks(text: str) -> str:
    """`text` without its fenced blocks; unchanged where it is too long to be looked at."""
    return text if len(text) > MAX_LENGTH else _BLOCK.sub("", text)


def is_program(source: str) -> bool:
    """Whether it is Python with at least one statement or call: more than a word such as Paris."""
    return _program(source) is not None


def parse_python(source: str) -> ast.Module | None:
    """The syntax tree; None if `source` is no Python, or too long to be looked at."""
    if len(source) > MAX_LENGTH:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in somebody else's code
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _program(source: str) -> ast.Module | None:
    tree = parse_python(source)
    if tree is None or not any(isinstance(node, _STATEMENTS) for node in ast.walk(tree)):
        return None
    return tree


def _tree(source: str) -> str | None:
    """The syntax tree as text, without docstrings; None if `source` is no Python program."""
    tree = _program(source)
    if tree is None:
        return None
    try:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _drop_docstring(node)
        return ast.dump(tree)
    except RecursionError:
        return None


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    if len(node.body) > 1 and ast.get_docstring(node, clean=False) is not None:
        del node.body[0]


def _tokens(source: str, language: str) -> list[str]:
    from pygments.lexers import get_lexer_by_name
    from pygments.token import Comment, Keyword, Name, String, Whitespace

    found: list[str] = []
    for kind, text in get_lexer_by_name(language).get_tokens(source):
        if kind in Comment and kind not in Comment.Preproc and kind not in Comment.PreprocFile:
            continue
        if kind in String:  # white space counts there
            found.append(text)
            continue
        if not text.strip() and (kind in Whitespace or text.isspace()):
            if language in _LINES and "\n" in text and found and found[-1] != "\n":
                found.append("\n")
            continue
        any_case = language == "sql" and (kind in Keyword or kind in Name)
        spelled = text.casefold() if any_case else text
        found.append(spelled.strip())
    return found
