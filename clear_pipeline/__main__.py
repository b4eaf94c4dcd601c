"""The program: `clear-pipeline`, or `python -m clear_pipeline`."""

from __future__ import annotations

import gc
import signal
import sys

_NEW_OBJECTS = 20_000
"""Python looks for unreachable cycles once so many objects are new, in place of 700: rows and
answers leave few, and each look goes through all modules' objects as well. It took a fifth of the
time of a run."""


def main() -> None:
    """Run the command line. Ctrl-C while it is still being imported ends it without a traceback."""
    try:
        from clear_pipeline.cli import main as command_line  # takes a while
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)  # noqa: T201
        sys.exit(128 + signal.SIGINT)
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
    command_line()


if __name__ == "__main__":
    main()
