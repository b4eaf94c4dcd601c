"""One place of an object store: what lies below it, its bytes, and whether they changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pyarrow.fs import FileSelector, FileSystem, FileType, PyFileSystem

from clear_pipeline.durable import writing
from clear_pipeline.errors import ClearPipelineError, RemoteError

_BLOCK: Final = 8 << 20
"""Bytes that are held at a time."""
_TELLING: Final = (
    "etag", "generation", "versionid", "blob_id", "sha256", "md5", "md5hash", "content_md5",
    "content-md5", "xet_hash", "last-modified", "lastmodified", "last_modified", "mtime",
    "modified", "updated", "created",
)  # fmt: skip
"""What the protocols call that which changes with a file's bytes, in lower case."""
_CREDENTIALS: Final = {
    "s3": "credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the role of "
    "this machine; another endpoint: AWS_ENDPOINT_URL",
    "gs": "credentials: gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS; "
    "a public bucket: gs://anonymous@BUCKET",
    "hf": "credentials: hf auth login, or HF_TOKEN",
}
_QUERY: Final = re.compile(r"(\w+://[^\s?'\"]+)\?[^\s'\"]*")
"""Addresses that a service signed have their secret there."""
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """A file below a place. `name` is its path from there; `size` None where none is told."""

    name: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes that were fetched.

    Attributes:
        sha256: Of them.
        stamp: As in `Place.stamp`.
    """

    sha256: str
    stamp: str


@dataclass(frozen=True, slots=True)
class Place:
    """A file or a directory, or the name of one that is not there yet.

    Every method asks the service, and raises `RemoteError` if that cannot be done.

    Attributes:
        scheme: Of its address.
        filesystem: Speaks the protocol.
        path: What the filesystem calls it.
    """

    scheme: str
    filesystem: FileSystem
    path: str

    def __str__(self) -> str:
        """Its address."""
        return self.path if "://" in self.path else f"{self.scheme}://{self.path.lstrip('/')}"

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def __truediv__(self, name: str) -> Place:
        return replace(self, path=f"{self.path.rstrip('/')}/{name}")

    def credentials(self) -> str:
        """Where its service's credentials come from, to end a message; "" where it is not known."""
        return _credentials(self.scheme)

    def is_file(self) -> bool:
        """Whether a file is there."""
        return self._info().type is FileType.File

    def exists(self) -> bool:
        """Whether anything is there."""
        return self._info().type is not FileType.NotFound

    def size(self) -> int | None:
        """Bytes of the file; None where that is not told."""
        size: int | None = self._info().size
        return size

    def files(self) -> list[Entry]:
        """Every file below it, at any depth."""
        with reached(self, "listed"):
            found = self.filesystem.get_file_info(FileSelector(self.path, recursive=True))
        start = len(self.path.strip("/")) + 1
        return [
            Entry(info.path.strip("/")[start:], info.size)
            for info in found
            if info.type is FileType.File
        ]

    def stamp(self) -> str:
        """What the service tells of the file that changes with its bytes; "" if it is nothing."""
        with reached(self, "read"):
            if isinstance(self.filesystem, PyFileSystem):
                return _stamp(self.filesystem.handler.fs.info(self.path))
            with self._opened() as stream:
                return _stamp(stream.metadata())

    def read(self) -> bytes:
        """All bytes of a small file."""
        with reached(self, "read"), self._opened() as stream:
            return bytes(stream.read())

    def sha256(self) -> str:
        """Of the file's bytes, which are fetched and not kept."""
        digest = hashlib.sha256()
        for block in self._blocks():
            digest.update(block)
        return digest.hexdigest()

    def fetch(self, target: Path) -> Fetched:
        """Copy the file to a path of this machine, with bounded memory.

        Raises:
            RemoteError: It cannot be read to its end, or it changed meanwhile.
            UnwritableError: The disk is full.
        """
        stamp, digest, size = self.stamp(), hashlib.sha256(), 0
        with writing(target), target.open("wb") as file:
            for block in self._blocks():
                digest.update(block)
                size += len(block)
                file.write(block)
        if isinstance(self.filesystem, PyFileSystem):
            self.filesystem.handler.fs.invalidate_cache(self.path)
        if self.size() not in (None, size) or self.stamp() != stamp:
            raise RemoteError(f"{self}: changed while it was read; the same command reads it again")
        return Fetched(digest.hexdigest(), stamp)

    def put(self, source: Path) -> None:
        """Write a file there; it appears as a whole or not at all where the store promises that."""
        with reached(self, "written"), source.open("rb") as file:
            if isinstance(self.filesystem, PyFileSystem):
                self.filesystem.create_dir(self.path.rpartition("/")[0], recursive=True)
            with self.filesystem.open_output_stream(self.path, compression=None) as stream:
                while block := file.read(_BLOCK):
                    stream.write(block)

    def delete(self) -> None:
        """Delete the file, if it is there."""
        if self.is_file():
            with reached(self, "deleted"):
                self.filesystem.delete_file(self.path)

    def _info(self) -> Any:  # noqa: ANN401  # pyarrow has no types
        with reached(self, "read"):
            return self.filesystem.get_file_info(self.path)

    def _opened(self) -> Any:  # noqa: ANN401  # pyarrow has no types
        return self.filesystem.open_input_stream(self.path, compression=None)

    def _blocks(self) -> Iterator[bytes]:
        with reached(self, "read"):
            stream = self._opened()
        with stream:
            while True:
                with reached(self, "read"):
                    block = stream.read(_BLOCK)
                if not block:
                    return
                yield block


@contextmanager
def reached(place: object, what: str) -> Iterator[None]:
    """Say in one line what could not be done with a place, and what may be done about it.

    Args:
        place: Its address.
        what: As in "cannot be read".

    Raises:
        RemoteError: In place of whatever the library of the protocol raises.
    """
    try:
        yield
    except (ClearPipelineError, MemoryError):
        raise
    except Exception as error:  # every library of a protocol has its own
        raise RemoteError(
            f"{place}: cannot be {what} ({_said(error)}); the same command goes on once it can"
            f"{_credentials(str(place).partition('://')[0])}"
        ) from error


def _credentials(scheme: str) -> str:
    told = _CREDENTIALS.get("gs" if scheme == "gcs" else scheme)
    return f"; {told}" if told else ""


def _said(error: Exception) -> str:
    """The first line of an error, without what an address was signed with."""
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return _QUERY.sub(r"\1?...", text)[:_LONGEST]


def _stamp(told: Any) -> str:  # noqa: ANN401  # a mapping, whatever the library calls it
    values = {}
    for key, value in (told or {}).items():
        name = (key.decode() if isinstance(key, bytes) else str(key)).lower()
        if name in _TELLING and value:
            values[name] = value.decode() if isinstance(value, bytes) else str(value)
    return "; ".join(f"{name}={value}" for name, value in sorted(values.items()))
