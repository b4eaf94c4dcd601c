"""CLEAR (Chen & Mueller 2024): data curation for language-model fine-tuning.

The public names are those below; everything else may change. They are imported on first use, so
that `import clear_pipeline` is quick.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clear_pipeline.config import Config, build_config
    from clear_pipeline.llm.scripted import ScriptedChat
    from clear_pipeline.pipeline import Pipeline
    from clear_pipeline.run import Run, open_run

__version__ = version("clear-pipeline")

__all__ = ["Config", "Pipeline", "Run", "ScriptedChat", "__version__", "build_config", "open_run"]

_HOMES = {
    "Config": "config",
    "Pipeline": "pipeline",
    "Run": "run",
    "ScriptedChat": "llm.scripted",
    "build_config": "config",
    "open_run": "run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # of whatever name is asked for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
