"""JSON that carries its own checksum, and files to which a line of it is added durably.

A line that a crash cut short, or that was changed, is not there; the others are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clear_pipeline.durable import sync_directory, writing
from clear_pipeline.errors import DamagedRunError
from clear_pipeline.schema import JSON, canonical_json

_SEAL = "sha256"


def digest(body: JSON) -> str:
    """SHA-256 of the content, whatever the white space."""
    return hashlib.sha256(canonical_json(body).encode("utf-8", "surrogatepass")).hexdigest()


def sealed(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its checksum in front."""
    return {_SEAL: digest(body), **body}


def opened(text: bytes) -> dict[str, Any]:
    """The object of a sealed text, without its checksum.

    Raises:
        DamagedRunError: It is not as it was written; the message begins with a verb.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        raise DamagedRunError(f"is cut off or damaged ({error})") from error
    if not isinstance(body, dict) or body.pop(_SEAL, None) != digest(body):
        raise DamagedRunError("does not match the checksum in it")
    return body


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line; on return it survives a power cut.

    Raises:
        UnwritableError: A full disk, or no leave to write there. The lines before it stay.
    """
    text = json.dumps(sealed(entry), ensure_ascii=False, separators=(",", ":"))
    with writing(path):
        is_new = not path.exists()
        with path.open("ab") as file:
            file.write(b"\n" + text.encode("utf-8", "surrogatepass"))  # after a line cut short too
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(path.parent)


def entries(path: Path) -> list[dict[str, Any]]:
    """The lines that are as they were written, in order; none where there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, lines):
        try:
            found.append(opened(line))
        except DamagedRunError:
            continue
    return found
