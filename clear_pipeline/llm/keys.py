"""The key of an endpoint: where it is read, and that it goes to that endpoint and nowhere else."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import Completion, Token
from clear_pipeline.llm.settings import ModelSettings

logger = logging.getLogger(__name__)

_SHORTEST: Final = 8
"""A shorter key, such as `EMPTY`, is no secret and may well be a word of a reply."""
_MARK: Final = "[key]"
_KEY: Final = re.compile(r"[!-~]+")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")
_READABLE: Final = stat.S_IRGRP | stat.S_IROTH


def read_key(settings: ModelSettings) -> str | None:
    """The key to send, from the file or the environment variable that the settings name.

    Returns:
        None where the endpoint gets none.

    Raises:
        UsageError: It is not there, or is no key; the message never holds it.
    """
    if settings.api_key_file is not None:
        return _checked(_from_file(settings), f"{settings.api_key_file}: the file", settings)
    if settings.key_env is not None:
        given = os.environ.get(settings.key_env, "")
        return _checked(given, f"the environment variable {settings.key_env}", settings)
    return None


def _from_file(settings: ModelSettings) -> str:
    assert settings.api_key_file is not None  # noqa: S101
    path = settings.api_key_file.expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"{path}: the key cannot be read ({said})") from None
    if mode & _READABLE:
        logger.warning("%s: other users of this machine can read this key; chmod 600 it", path)
    return text


def _checked(text: str, where: str, settings: ModelSettings) -> str:
    key = text.strip()
    if not key:
        raise UsageError(
            f"model {settings.model!r} at {settings.url} needs a key: {where} is empty or not set; "
            "set it, or give --base-url for a server of your own"
        )
    if not _KEY.fullmatch(key):
        raise UsageError(
            f"{where} holds no key: it has spaces, line feeds or characters beyond ASCII"
        )
    return key


def without_key(value: Any, key: str | None) -> Any:  # noqa: ANN401  # any JSON value
    """A text, or a JSON value with all texts in it, without the key, which some servers repeat."""
    if key is None or len(key) < _SHORTEST:
        return value
    if isinstance(value, str):
        return value.replace(key, _MARK)
    if isinstance(value, list):
        return [without_key(item, key) for item in value]
    if isinstance(value, dict):
        return {without_key(name, key): without_key(item, key) for name, item in value.items()}
    return value


def spelled_without_key(completion: Completion, key: str | None) -> Completion:
    """A reply without the key, also where its parts or its tokens only spell it together.

    The tokens spell `[key]` in its place, and those of the key lose their alternatives, which are
    pieces of it as well. Their probabilities stay.
    """
    if key is None or len(key) < _SHORTEST:
        return completion
    choices = tuple(
        replace(
            choice,
            text=without_key(choice.text, key),
            reasoning=without_key(choice.reasoning, key),
            tokens=choice.tokens and _spelled_without_key(choice.tokens, key),
        )
        for choice in completion.choices
    )
    return replace(completion, choices=choices)


def _spelled_without_key(tokens: Sequence[Token], key: str) -> tuple[Token, ...]:
    spelled = "".join(token.text for token in tokens)
    shown = list(spelled)
    for found in re.finditer(re.escape(key), spelled):
        shown[found.start() : found.end()] = [_MARK] + [""] * (len(key) - 1)
    cleaned, begin = [], 0
    for token in tokens:
        end = begin + len(token.text)
        text = "".join(shown[begin:end])
        cleaned.append(token if text == token.text else Token(text, token.logprob))
        begin = end
    return tuple(cleaned)


def without_secrets(text: str, key: str | None) -> str:
    """`without_key`, and without the user and password of any URL in it, such as a proxy's."""
    return _CREDENTIALS.sub("", str(without_key(text, key)))
