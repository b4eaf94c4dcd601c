"""What a user typed: a path of this machine, or the address of a place elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clear_pipeline.errors import UsageError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
"""A scheme has two letters or more: a letter and a colon are a drive of Windows."""
_LOCAL = "file"
_CONTAINERS = frozenset({"abfs", "abfss"})
"""Schemes in which a container stands before the `@`, and no user."""


def is_remote(place: object) -> bool:
    """Whether it is an address such as `s3://bucket/dir`; `foo:bar` and `file://` are local."""
    found = _ADDRESS.fullmatch(place) if isinstance(place, str) else None
    return found is not None and found[1].lower() != _LOCAL


def local_path(place: str | Path) -> Path:
    """A path as it is, or that of a `file://` address.

    Raises:
        UsageError: The address names another machine.
    """
    if not isinstance(place, str) or not (found := _ADDRESS.fullmatch(place)):
        return Path(place)
    host, slash, path = found[2].partition("/")
    if host not in {"", "localhost"} or not slash:
        raise UsageError(
            f"{place}: names the host {host!r}; a file of this machine is file:///PATH"
        )
    return Path(unquote(slash + path))


def local_directory(place: str | Path) -> Path:
    """The directory of a run or a probe, which is always one of this machine.

    Raises:
        UsageError: It is an address.
    """
    if is_remote(place):
        checked_scheme(str(place))
        raise UsageError(
            f"{place}: a run lives in a directory of this machine, since its databases and its "
            "lock need a local file system; give a local --out, then clear-pipeline export RUN "
            f"--out {place}"
        )
    return local_path(place)


def checked_scheme(address: str) -> str:
    """The scheme of an address that carries no secret, in lower case.

    Raises:
        UsageError: It has a user, a password or a query; the message does not repeat them.
    """
    scheme, _, rest = address.partition("://")
    scheme = scheme.lower()
    user, at, _ = rest.partition("/")[0].rpartition("@")
    named = at and user != "anonymous" and (scheme not in _CONTAINERS or ":" in user)
    if named or urlsplit(f"{_LOCAL}://{rest}").query:
        raise UsageError(
            f"{scheme}://...: an address must have no user, password or query, which would be "
            "written down with it; credentials come from the environment or the provider's own "
            "files, see docs/remote.md"
        )
    return scheme
