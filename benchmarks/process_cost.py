"""What a command takes: memory and processor time of its process and all that come from it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a command that has ended.

    Attributes:
        status: Its exit status; None if it was ended because it took too long.
        peak_mib: The most memory that its processes had resident at one moment, as sampled; what
            they share counts for each.
        cpu_seconds: User and system time of its processes, as last sampled.
        said: The end of what it wrote to stderr.
    """

    status: int | None
    peak_mib: float
    cpu_seconds: float
    said: str


def run_command(
    command: Sequence[str],
    *,
    seconds: float,
    log: Path,
    folder: Path | None = None,
    terminal: bool = False,
    watch: Callable[[float], None] | None = None,
) -> Cost:
    """Run a command to its end, in a session of its own, and sample it.

    Args:
        command: Program and arguments.
        seconds: After so many it is killed with all its processes.
        log: Where stdout and stderr go.
        folder: Working directory.
        terminal: Whether the command sees a terminal and shows its progress there.
        watch: Told at each sample what is resident, in MiB.
    """
    shown = _terminal if terminal else _file
    with log.open("wb") as out, shown(out.fileno()) as to:
        process = subprocess.Popen(
            command, cwd=folder, stdout=to, stderr=to, start_new_session=True
        )
        ends = time.monotonic() + seconds
        peak = cpu = 0.0
        try:
            while process.poll() is None and time.monotonic() < ends:
                resident, used = usage(process.pid)
                peak, cpu = max(peak, resident), max(cpu, used)
                if watch is not None:
                    watch(resident)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(INTERVAL_S)
            status = process.poll()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    said = log.read_bytes()[-2000:].decode(errors="replace").strip()
    return Cost(status, peak, cpu, said)


@contextmanager
def _file(log: int) -> Iterator[int]:
    yield log


@contextmanager
def _terminal(log: int) -> Iterator[int]:
    """A terminal; what is shown there goes to the log."""
    master, slave = pty.openpty()

    def copy() -> None:
        with suppress(OSError):  # the last process that could write has ended
            while shown := os.read(master, 1 << 16):
                os.write(log, shown)

    thread = threading.Thread(target=copy)
    thread.start()
    try:
        yield slave
    finally:
        os.close(slave)
        thread.join()
        os.close(master)


def usage(pid: int) -> tuple[float, float]:
    """Resident MiB and processor seconds of a process and its descendants, now."""
    resident = cpu = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for each in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess), each.oneshot():
                resident += each.memory_info().rss / 2**20
                cpu += sum(each.cpu_times()[:4])  # its own and that of children that have ended
    return resident, cpu
