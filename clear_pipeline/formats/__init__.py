"""Row formats: each reads source rows and writes training rows."""

from clear_pipeline.formats.base import ID_COLUMNS, Parsed, Record, RowError
from clear_pipeline.formats.registry import FORMATS, Format
from clear_pipeline.formats.strict_json import MAX_DEPTH, parse

__all__ = ["FORMATS", "ID_COLUMNS", "MAX_DEPTH", "Format", "Parsed", "Record", "RowError", "parse"]
