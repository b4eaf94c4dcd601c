"""The Ray cluster that a run uses: one that runs already, or one on this machine for the run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from clear_pipeline import __version__
from clear_pipeline.durable import temporary_name, writing
from clear_pipeline.engine.local import cores
from clear_pipeline.errors import (
    ClearPipelineError,
    MissingExtraError,
    RunFailedError,
    UsageError,
)

LOCAL: Final = "local"
"""The address that means: a new Ray on this machine."""
_PATIENCE_S: Final = 10.0


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray, as long as the block lasts; a Ray that this process uses already is left as it is.

    Args:
        address: HOST:PORT of a cluster, `auto` or `local`; None = the one that RAY_ADDRESS names,
            else one that runs on this machine, else a new one here.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers at the address, or none can be started here.
    """
    ray = imported()
    if ray.is_initialized():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, address or os.environ.get("RAY_ADDRESS"))
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)  # Ray's own would end the process at once
        yield
    finally:
        ray.shutdown()


def imported() -> Any:  # noqa: ANN401  # a module
    """Ray, which sends no statistics about its use.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray needs the extra `ray`: pip install 'clear-pipeline[ray]'"
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:  # noqa: ANN401  # a module
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            address = LOCAL
        else:
            return
    if address == LOCAL:
        try:
            ray.init(address=LOCAL, num_cpus=cores(), include_dashboard=False, **quiet)
        except OSError as error:
            raise UsageError(
                f"Ray does not start on this machine ({_first_line(error)}); RAY_TMPDIR names "
                "another directory for its files and sockets"
            ) from error
        return
    _require_answer(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"{_nobody(address)} ({_first_line(error)})") from error


def _require_answer(address: str) -> None:
    """Ray itself would try for minutes.

    Raises:
        UsageError: Nothing listens at the address.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"engine.address {address!r}: expected HOST:PORT of the cluster's head node, `auto` or "
            "`local`; a run is started on a node of the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except OSError as error:
        raise UsageError(f"{_nobody(address)} ({error})") from error


def _nobody(address: str) -> str:
    return (
        f"no Ray cluster answers at {address}; start one with `ray start --head`, or leave the "
        "address out (engine.address, RAY_ADDRESS) for a Ray on this machine"
    )


def require_shared(directory: Path) -> None:
    """Every node must see the run directory, and have this version of the package.

    Raises:
        UsageError: One does not.
    """
    token = directory / temporary_name("ray")
    with writing(token):
        token.touch()
    try:
        require_seen(token)
    finally:
        token.unlink(missing_ok=True)


def require_seen(token: Path) -> None:
    """Look for a file of the run directory from every node.

    Raises:
        UsageError: It is not there, or the node has not this version of the package.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(_look_for)
    looks = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = look.options(num_cpus=0, scheduling_strategy=there)
            looks[options.remote(token)] = node["NodeManagerAddress"]
    for ref, name in looks.items():
        try:
            seen, version = ray.get(ref)
        except RayError as error:
            raise UsageError(
                f"node {name} of the Ray cluster cannot run clear-pipeline ({_last_line(error)}); "
                f"install clear-pipeline {__version__} there"
            ) from error
        if version != __version__:
            raise UsageError(
                f"node {name} of the Ray cluster has clear-pipeline {version}, this machine "
                f"{__version__}; install the same on both"
            )
        if not seen:
            raise UsageError(
                f"run directory {token.parent}: not visible on node {name} of the Ray cluster; put "
                "--out on a file system that all nodes share"
            )


def _look_for(token: Path) -> tuple[bool, str]:
    return token.is_file(), __version__


@contextmanager
def as_here(label: str) -> Iterator[None]:
    """What failed elsewhere fails here with the error that it had there.

    Args:
        label: Of the stage.

    Raises:
        RunFailedError: A process of Ray was lost more often than its work is done again.
    """
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause = getattr(error, "cause", error)
        if isinstance(cause, ClearPipelineError):
            raise cause from None
        if isinstance(cause, RayError):
            raise RunFailedError(
                f"{label}: Ray lost a process that the run needs ({type(cause).__name__}: "
                f"{_first_line(cause)}); what was finished is kept, and the same command goes on"
            ) from error
        raise


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    return next(iter(reversed(str(error).strip().splitlines())), type(error).__name__)
