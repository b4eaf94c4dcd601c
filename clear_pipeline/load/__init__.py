"""DATA to row shards: files are found and understood, bad rows set aside with their reason."""

from clear_pipeline.load.data_file import DataFile
from clear_pipeline.load.events import (
    Event,
    FileError,
    FileFacts,
    LoadedShard,
    Problem,
    Quarantined,
    Skipped,
)
from clear_pipeline.load.memory import MemoryTable
from clear_pipeline.load.records import read_records
from clear_pipeline.load.remote_file import RemoteFile
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.load.source import (
    Data,
    Input,
    Listing,
    data_name,
    discover,
    nothing_readable,
)

__all__ = [
    "Data",
    "DataFile",
    "Event",
    "FileError",
    "FileFacts",
    "Input",
    "Listing",
    "LoadSettings",
    "LoadedShard",
    "MemoryTable",
    "Problem",
    "Quarantined",
    "RemoteFile",
    "Skipped",
    "data_name",
    "discover",
    "nothing_readable",
    "read_records",
]
