"""Shared by all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# Machines differ in speed and are shared: a property is never false for being slow.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# A shell has what it runs with `&` ignore Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A console that is made where the width of the terminal stands in the environment keeps that width,
# whatever a test asks for; workers of pytest-xdist are told it, and so are programs of some shells.
os.environ.pop("COLUMNS", None)
