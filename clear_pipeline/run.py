"""Reading a finished or running run directory: tables, single rows, pandas frames."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import DamagedRunError, UnwritableError, UsageError
from clear_pipeline.ledger import ROWS_PER_GROUP
from clear_pipeline.llm.batch.record import read_reserved, read_totals
from clear_pipeline.llm.budget import spent_words
from clear_pipeline.llm.meter import Amount, Totals
from clear_pipeline.llm.settings import BudgetSettings
from clear_pipeline.llm.spend import with_spend
from clear_pipeline.llm.spend_file import read_spend
from clear_pipeline.manifest import Manifest
from clear_pipeline.parquet_rows import parquet_batches
from clear_pipeline.schema import LONE_SURROGATE, Example, Fate, Message, examples
from clear_pipeline.stages.base import Shard
from clear_pipeline.store import BATCHES, LEDGER, QUARANTINE, ROWS_FOLDER, SPEND, Store

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RowText:
    """The readable texts of one row. `new_response` is None unless the row was rectified."""

    id: str
    prompt: str
    response: str
    new_response: str | None
    original: str


def prompt_text(example: Example) -> str:
    """The turns before the target as readable text; a single user turn stands without its role."""
    turns = example.messages
    if len(turns) == 1 and turns[0].role == "user":
        return turns[0].text
    return "\n\n".join(f"[{turn.role}] {turn.text}" for turn in turns)


class Run:
    """A run directory, opened for reading.

    Args:
        path: The directory that `clear-pipeline run --out` wrote.

    Raises:
        UsageError: There is no run in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        manifest = Manifest.read(self.path) if self.path.is_dir() else None
        if manifest is None:
            raise UsageError(
                f"{self.path}: no run here (no manifest.json); "
                "start one: clear-pipeline run DATA --out DIR"
            )
        self.manifest = manifest
        self._store = Store(self.path)
        self._verified: set[str] = set()
        self._told = False
        self._unread: set[Path] = set()

    def __repr__(self) -> str:
        fates = ", ".join(f"{n} {fate}" for fate, n in self.manifest.fates.items())
        return f"Run({str(self.path)!r}: {fates or 'not finished'})"

    def ledger(self, columns: Sequence[str] | None = None, *, fate: str | None = None) -> pa.Table:
        """The ledger: one line per input row, in input order.

        Where a later run on the same rows has not finished, it is still that of the one before;
        a warning says so.

        Args:
            columns: Which columns; None = all.
            fate: Only rows of this fate.

        Raises:
            UsageError: No run on these rows has finished, or a column or fate does not exist.
        """
        if fate is not None and fate not in set(Fate):
            raise UsageError(f"no fate {fate!r}; there are {', '.join(Fate)}")
        condition = None if fate is None else pc.field("fate") == fate
        return self._ledger(columns, condition)

    def _ledger(self, columns: Sequence[str] | None, condition: pc.Expression | None) -> pa.Table:
        wanted, path = self._known(columns), self.path / LEDGER
        with _explained(path):
            return pq.read_table(path, columns=wanted, filters=condition)

    def ledger_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The ledger in parts, one in memory at a time; see `ledger`."""
        wanted, path = self._known(columns), self.path / LEDGER
        with _explained(path):
            yield from parquet_batches(path, wanted, rows=ROWS_PER_GROUP)

    def _known(self, columns: Sequence[str] | None) -> list[str] | None:
        """The columns as a list; None for all.

        Raises:
            UsageError: As `ledger`.
        """
        known = self.ledger_columns()
        if unknown := [c for c in columns or () if c not in known]:
            raise UsageError(f"no column {', '.join(unknown)}; there are {', '.join(known)}")
        return None if columns is None else list(columns)

    def ledger_columns(self) -> list[str]:
        """Names of the ledger's columns.

        Raises:
            UsageError: No run on these rows has finished.
        """
        path = self.path / LEDGER
        if not path.is_file():
            raise UsageError(f"{self.path}: no ledger yet; finish it with the same run command")
        self._verify(LEDGER)
        if not self.manifest.finished and not self._told:
            self._told = True
            logger.warning(
                "%s: this is the result of the run that finished last; a later one, maybe with "
                "other settings, has not finished",
                self.path,
            )
        with _explained(path):
            names: list[str] = pq.read_schema(path).names
        return names

    def usage(self) -> dict[str, Totals]:
        """What each model did and cost, over all resumes; a run that goes on is up to date.

        Open batches are among it as unaccounted, at the most that they can take. Where a record
        cannot be read now, its sums are those that the manifest has; a warning says so.

        Raises:
            DamagedRunError: The record of spend, or that of the batches, is damaged.
        """
        counted = {m: Totals.from_json(dict(total)) for m, total in self.manifest.usage.items()}
        spent = self._sums(read_spend, self.path / SPEND)
        return with_spend(counted, spent) | self._sums(read_totals, self.path / BATCHES)

    def _sums(
        self, read: Callable[[Path], Mapping[str, Totals] | None], path: Path
    ) -> dict[str, Totals]:
        """What a record says; nothing where there is none, or it cannot be read now."""
        try:
            return dict(read(path) or {})
        except UnwritableError as error:
            if path not in self._unread:
                self._unread.add(path)
                logger.warning("%s; until then its sums are those in the manifest", error)
            return {}

    def spent(self) -> Amount:
        """All that counts against the caps, over all resumes, but for open batches.

        Where the record of batches cannot be read now, those that the manifest knows count too.

        Raises:
            DamagedRunError: A record is damaged, see `usage`.
        """
        spent = sum(self.usage().values(), Totals()).spent
        try:
            return spent - read_reserved(self.path / BATCHES)
        except UnwritableError:  # `usage` has told it
            return spent

    def spend(self) -> str:
        """Calls, tokens and dollars in words, beside the caps; "" where nothing was asked."""
        usage = self.usage()
        total = sum(usage.values(), Totals())
        caps = BudgetSettings.model_validate(self.manifest.budget)
        return spent_words(usage.values(), caps) if total.requests or total.cached_samples else ""

    def shards(self, *, only: Collection[str] | None = None) -> Iterator[Shard]:
        """Row shards with all stage columns, in input order; one in memory at a time.

        Args:
            only: The stages whose columns are read, where they ran; None = all.
        """
        for key in self.manifest.shard_keys():
            stages = self.manifest.chain_parts(key)
            wanted = [part for part in stages if only is None or part[0] in only]
            yield self._store.joined(key, [(ROWS_FOLDER, self.manifest.shards[key]), *wanted])

    def content_hashes(self, column: str = "id") -> dict[str, str]:
        """Hash of what a row teaches (`schema.content_hash`) by `id`, or by `source_id`."""
        return {
            row_id: content
            for shard in self.shards()
            for row_id, content in zip(
                shard.table[column].to_pylist(),
                shard.table["content_hash"].to_pylist(),
                strict=True,
            )
        }

    def texts(self, ids: Sequence[str]) -> dict[str, RowText]:
        """Prompt and responses of the given rows, by id; quarantined and unknown ids are absent."""
        wanted = set(ids)
        found: dict[str, RowText] = {}
        sought = pa.array(sorted(wanted), pa.string())
        for shard in self.shards(only=("rectify",)):
            table = shard.table.filter(pc.is_in(shard.table["id"], sought))
            for example, new in zip(examples(table), _new_targets(table), strict=True):
                found[example.id] = RowText(
                    id=example.id,
                    prompt=prompt_text(example),
                    response=example.response,
                    new_response=None if new is None else new.text,
                    original=example.original,
                )
            if len(found) == len(wanted):
                break
        return found

    def row(self, row_id: str) -> dict[str, Any]:
        """Everything that the ledger knows about one row.

        Raises:
            UsageError: No such row.
        """
        of_no_row = LONE_SURROGATE.search(row_id)  # what was typed is not UTF-8
        table = None if of_no_row else self._ledger(None, pc.field("id") == row_id)
        if table is None or table.num_rows == 0:
            raise UsageError(
                f"no row {row_id!r} in {self.path}; ids look like "
                f"{next(self.ledger_batches(['id']))['id'][0].as_py()!r}: "
                f"clear-pipeline rows {shlex.quote(str(self.path))} lists them"
            )
        row: dict[str, Any] = table.slice(0, 1).to_pylist(maps_as_pydicts="lossy")[0]
        return row

    def quarantine(self) -> list[dict[str, Any]]:
        """Rows that could not be used: id, file, line, reason, text (cut)."""
        return list(self.quarantined())

    def quarantined(self) -> Iterator[dict[str, Any]]:
        """The same, one in memory at a time.

        Raises:
            DamagedRunError: The file changed since it was written.
        """
        path = self.path / QUARANTINE
        if not path.is_file():
            return
        self._verify(QUARANTINE)
        with _explained(path), path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def _verify(self, name: str) -> None:
        """Compare a file with the checksum that the manifest has of it, once."""
        expected = self.manifest.outputs.get(name)
        if expected is None or name in self._verified:
            return
        path = self.path / name
        with _explained(path):
            if file_sha256(path) != expected:
                raise ValueError("it changed since it was written")
        self._verified.add(name)

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        fate: str | None = None,
        sample: int | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The ledger as a pandas DataFrame, with the texts on request.

        Args:
            columns: Ledger columns, and `prompt`, `response`, `new_response`; None = all of
                the ledger and the texts.
            fate: Only rows of this fate.
            sample: At most so many rows, drawn with `seed`, in input order.
            seed: Of the draw.
        """
        text_columns = ["prompt", "response", "new_response"]
        wanted = None if columns is None else [c for c in columns if c not in text_columns]
        table = self.ledger(None if wanted is None else ["id", *wanted], fate=fate)
        frame: pd.DataFrame = table.to_pandas()
        frame = frame.loc[:, ~frame.columns.duplicated()]
        if sample is not None and sample < len(frame):
            frame = frame.sample(sample, random_state=seed).sort_index()
        texts_wanted = (
            text_columns if columns is None else [c for c in columns if c in text_columns]
        )
        if texts_wanted:
            texts = self.texts(list(frame["id"]))
            for name in texts_wanted:
                frame[name] = [getattr(texts[i], name) if i in texts else None for i in frame["id"]]
        return frame if columns is None else frame[list(columns)]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedRunError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); "
            "run the same command again to write it anew"
        ) from error


def _new_targets(table: pa.Table) -> list[Message | None]:
    if "new_target" not in table.column_names:
        return [None] * table.num_rows
    return [None if t is None else Message(**t) for t in table["new_target"].to_pylist()]


def open_run(path: str | Path) -> Run:
    """Open a run directory for reading."""
    return Run(path)
