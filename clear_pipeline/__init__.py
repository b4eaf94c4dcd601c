"""CLEAR (Chen & Mueller 2024): data curation for language-model fine-tuning."""

from importlib.metadata import version

__version__ = version("clear-pipeline")
