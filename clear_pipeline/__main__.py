"""The program: `clear-pipeline`, or `python -m clear_pipeline`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C while it is still being imported ends it without a traceback."""
    try:
        from clear_pipeline.cli import main as command_line  # takes a while
    except KeyboardInterrupt:
        print("interrupted before anything was done", file=sys.stderr)  # noqa: T201
        sys.exit(128 + signal.SIGINT)
    command_line()


if __name__ == "__main__":
    main()
