"""What a command takes: memory and processor time of its process and all that come from it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
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
    command: Sequence[str], *, seconds: float, log: Path, folder: Path | None = None
) -> Cost:
    """Run a command to its end, in a session of its own, and sample it.

    Args:
        command: Program and arguments.
        seconds: After so many it is killed with all its processes.
        log: Where stdout and stderr go.
        folder: Working directory.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, start_new_session=True
        )
    ends = time.monotonic() + seconds
    peak = cpu = 0.0
    try:
        while process.poll() is None and time.monotonic() < ends:
            resident, used = usage(process.pid)
            peak, cpu = max(peak, resident), max(cpu, used)
            with suppress(subprocess.TimeoutExpired):
                process.wait(INTERVAL_S)
        status = process.poll()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said = log.read_bytes()[-2000:].decode(errors="replace").strip()
    return Cost(status, peak, cpu, said)


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
