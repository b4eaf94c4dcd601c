"""Libraries that compute without bars and remarks of their own: one place reports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

from transformers.utils import logging as library


@contextmanager
def quiet() -> Iterator[None]:
    """What goes wrong is raised as ever; what is merely said, is not."""
    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.disable_progress_bar()
    library.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the libraries', of each other
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()


@contextmanager
def silent() -> Iterator[None]:
    """As `quiet`, and nothing is written to standard error: one bar has no switch."""
    with quiet(), redirect_stderr(StringIO()):
        yield
