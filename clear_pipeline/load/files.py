"""Which files of a directory are data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clear_pipeline.load.events import Skipped
from clear_pipeline.manifest import MANIFEST

_MADE_HERE: Final = (
    (MANIFEST, "rows", "a run directory"),
    ("loop.json", "round-1", "the directory of a loop"),
)
"""A file and a directory in it by which a directory is known, and what it is."""
_HF_NOTES = frozenset({"dataset_info.json", "dataset_dict.json", "state.json"})


def shown(path: Path) -> str:
    r"""A path as text with `/`; bytes of a name that are no UTF-8 appear as `\xff`."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def data_files(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """The files under `root` that may hold rows, in the order of their relative paths.

    Args:
        root: A directory, resolved.
        skipped: Gets what is left out, but for hidden files.
    """
    for entry in sorted(
        _entries(root, root, skipped), key=lambda path: path.relative_to(root).parts
    ):
        reason = _no_data(entry, root)
        if reason is None:
            yield entry
        else:
            skipped.append(Skipped(shown(entry.relative_to(root)), reason))


def _entries(directory: Path, root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    try:
        entries = [e for e in directory.iterdir() if not e.name.startswith(".")]
    except OSError as error:
        name = shown(directory.relative_to(root)) + "/"
        skipped.append(Skipped(name, f"cannot be read: {error.strerror}"))
        return
    made = made_here(
        lambda name: (directory / name).is_file(), lambda name: (directory / name).is_dir()
    )
    if made is not None:
        skipped.append(Skipped(shown(directory.relative_to(root)) + "/", made))
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _entries(entry, root, skipped)
        else:
            yield entry


def made_here(has_file: Callable[[str], bool], has_directory: Callable[[str], bool]) -> str | None:
    """What of this package's own a directory is, which may lie within DATA; None = nothing.

    Args:
        has_file: Whether a file of that name is in it.
        has_directory: Whether a directory of that name is in it.
    """
    for file, beside, what in _MADE_HERE:
        if has_file(file) and has_directory(beside):
            return what
    return None


def _no_data(file: Path, root: Path) -> str | None:
    """Why a file is not to be opened, or None."""
    if file.is_symlink():
        return _no_data_of_link(file, root)
    if not file.is_file():
        return "not a regular file"
    state, info = file.parent / "state.json", file.parent / "dataset_info.json"
    saved = state.is_file() and info.is_file()
    return note_or_cache(file.name, saved=saved, state=state.read_bytes)


def _no_data_of_link(link: Path, root: Path) -> str:
    try:
        target = link.resolve()
    except (OSError, RuntimeError):  # a loop, by the version of Python
        return "a link that leads nowhere"
    if target.is_relative_to(root):
        return f"a link to {shown(target.relative_to(root))}, which is read itself"
    return "a link out of the directory; give its target as DATA, or copy it"


def note_or_cache(name: str, *, saved: bool, state: Callable[[], bytes]) -> str | None:
    """Why a file is no rows of a saved Hugging Face dataset, or None.

    Args:
        name: Of the file, without its directory.
        saved: Whether its directory is such a dataset: `state.json` and `dataset_info.json` are
            beside it.
        state: Reads that `state.json`.
    """
    if name == "dataset_dict.json" or (saved and name in _HF_NOTES):
        return "notes of a saved Hugging Face dataset"
    if not saved or not name.endswith(".arrow"):
        return None
    try:
        named = {entry["filename"] for entry in json.loads(state())["_data_files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return None if name in named else "a cache file: state.json beside it does not name it"
