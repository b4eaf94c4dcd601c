"""`log.jsonl`: what a run did and when, one JSON object per line, for machines and for reports.

Events carry counts, names of stages and models, and classes of errors; never a text of the data, a
message of a server or a key. Times stand here alone, so that everything else is the same bytes
however often a run was stopped.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clear_pipeline.schema import JSON

LOG: Final = "log.jsonl"
MAX_BYTES: Final = 4 << 20
"""At this size the file becomes `log.jsonl.1`, in place of an older one."""


class RunLog(AbstractContextManager["RunLog"]):
    """The log of one session of a run; lines of earlier sessions stay.

    As a context it ends with `finished` or, if an error came, with `stopped` and the error's class.
    Warnings of this package are entered while it is open. A disk that takes no more lines costs
    the log and not the run.

    Args:
        directory: The run directory; it is there.
    """

    def __init__(self, directory: Path) -> None:
        self._handler = _Lines(directory / LOG)
        self._began = time.monotonic()

    def event(self, event: str, /, level: int = logging.INFO, **fields: JSON) -> None:
        """Enter a line.

        Args:
            event: What happened, in one stable word.
            level: As in `logging`.
            fields: Figures and names about it; no text of the data.
        """
        name = logging.getLevelName(level)
        entry = {"msg": event, "levelno": level, "levelname": name, "fields": fields}
        self._handler.handle(logging.makeLogRecord(entry))

    def __enter__(self) -> Self:
        logging.getLogger("clear_pipeline").addHandler(self._handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        if kind is None:
            self.event("finished", seconds=seconds)
        else:
            self.event("stopped", logging.ERROR, error=kind.__name__, seconds=seconds)
        logging.getLogger("clear_pipeline").removeHandler(self._handler)
        with suppress(OSError):
            self._handler.close()


class _Lines(RotatingFileHandler):
    """A handler of records as JSON, which gives up in silence where nothing can be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8", delay=True)

    def format(self, record: logging.LogRecord) -> str:
        # Of a record from elsewhere the template alone: its values may be texts of the data.
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": str(record.msg),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, ensure_ascii=False, default=str)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base's name
        """Whoever writes the run's own files tells of a full disk."""
