"""Shared by all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# Machines differ in speed and are shared: a property is never false for being slow.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# A shell has what it runs with `&` ignore Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
