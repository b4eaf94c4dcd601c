"""Which library speaks a protocol, and where it takes its credentials from.

pyarrow itself speaks those of Amazon and Google. Every other one is fsspec's, `hf` that of
huggingface_hub. The libraries are imported when an address asks for them, and find credentials
themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import quote

from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

from clear_pipeline.errors import MissingExtraError, UsageError
from clear_pipeline.remote.address import checked_scheme
from clear_pipeline.remote.place import Place, reached

_AMAZON, _GOOGLE = "s3", ("gs", "gcs")
_EXTRA: Final = "pip install 'clear-pipeline[remote]'"
_PATIENCE: Final = 60
"""Seconds that requests to Google are repeated for; its library would go on for 15 minutes."""


def place_at(address: str) -> Place:
    """The place that an address names, whether anything is there or not.

    Args:
        address: As `s3://bucket/dir`. What stands after the scheme is taken as it is: a space is a
            space, and `%20` three characters.

    Raises:
        UsageError: The protocol is not known, or the address holds a secret.
        MissingExtraError: The protocol needs a package that is not installed.
        RemoteError: The place cannot be reached.
    """
    scheme = checked_scheme(address)
    path = address.partition("://")[2].strip("/")
    shown = f"{scheme}://{path}"
    if not path:
        raise UsageError(f"{shown}: names no place; give {scheme}://BUCKET/PATH")
    with reached(shown, "read"):
        if scheme == _AMAZON:
            return Place(scheme, *FileSystem.from_uri(f"s3://{quote(path)}"))
        if scheme in _GOOGLE:
            return Place(scheme, *FileSystem.from_uri(_google(path)))
        return _by_fsspec(scheme, shown)


def _google(path: str) -> str:
    """The address as pyarrow wants it: with the emulator that the environment names, if any."""
    settings = f"retry_limit_seconds={_PATIENCE}"
    protocol, _, host = os.environ.get("STORAGE_EMULATOR_HOST", "").rpartition("://")
    if host:
        settings += f"&endpoint_override={quote(host)}&scheme={protocol or 'http'}"
        path = path if "@" in path.partition("/")[0] else f"anonymous@{path}"
    return f"gs://{quote(path, safe='/@')}?{settings}"


def _by_fsspec(scheme: str, address: str) -> Place:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(f"{scheme}:// needs the extra `remote`: {_EXTRA}") from error
    with _explained(scheme):
        filesystem, path = url_to_fs(address)
    filesystem.invalidate_cache()  # what this process listed before may have changed
    with suppress(FileNotFoundError):
        path = filesystem.info(path)["name"]  # as its listings spell it
    return Place(scheme, PyFileSystem(FSSpecHandler(filesystem)), path)


@contextmanager
def _explained(scheme: str) -> Iterator[None]:
    """Say what is missing for a protocol."""
    try:
        yield
    except ImportError as error:
        cause: Any = error.__cause__ or error
        package = (getattr(cause, "name", None) or "").partition(".")[0]
        install = _EXTRA if package in {"", "huggingface_hub"} else f"pip install {package}"
        raise MissingExtraError(
            f"{scheme}:// needs a package that is not installed: {install}"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{scheme}://: no such protocol ({error}); s3, gs and hf are known, and those of fsspec"
        ) from error
