"""Shared by all tests."""

from __future__ import annotations

from hypothesis import settings

# Machines differ in speed and are shared: a property is never false for being slow.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
