"""The last steps of a run: ledger, training files, dataset card, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.card import write_card
from clear_pipeline.config import Config, export_settings
from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import UsageError
from clear_pipeline.export import ExportResult, ExportSettings, export, is_exported
from clear_pipeline.ledger import write_ledger
from clear_pipeline.manifest import Manifest
from clear_pipeline.remote import is_remote, local_path, place_at
from clear_pipeline.report import write_report
from clear_pipeline.run import Run
from clear_pipeline.schema import Message, examples, rows_table
from clear_pipeline.stages.base import Progress, Shard
from clear_pipeline.stages.dedup.characters import Unit
from clear_pipeline.stages.dedup.corpus import Looked, look
from clear_pipeline.stages.dedup.kept import write_index
from clear_pipeline.store import CARD, EXPORT, LEDGER, Store
from clear_pipeline.target import Directory, RemoteDirectory, Target


def write_outputs(config: Config, manifest: Manifest, store: Store, progress: Progress) -> None:
    """Write everything that a run hands over, and mark the run as finished.

    Raises:
        DamagedRunError: The fates do not sum to the input rows.
        NoSurvivorsError: Nothing can be exported.
    """
    manifest.save(store.directory)
    run = Run(store.directory)
    input_rows = sum(record.rows + record.quarantined for record in manifest.files)
    progress.start("ledger", input_rows)
    try:
        manifest.fates = {
            str(fate): count
            for fate, count in write_ledger(
                store.directory / LEDGER, _tables(run), run.quarantined(), input_rows=input_rows
            ).items()
        }
        progress.advance(input_rows)
    finally:
        progress.finish()
    manifest.outputs[LEDGER] = file_sha256(store.directory / LEDGER)
    progress.start("export", input_rows)
    try:
        result = export(
            _counted(_tables(run), progress),
            run.quarantined(),
            store.directory / EXPORT,
            config.export,
            own_columns=len(manifest.files) == 1,
            own_directory=True,
        )
    finally:
        progress.finish()
    manifest.export = asdict(result)
    manifest.finished = True
    manifest.save(store.directory)
    write_card(store.directory / CARD, manifest, config.export, result)
    write_report(Run(store.directory))


def export_run(
    run: Run,
    out: str | Path,
    settings: ExportSettings,
    *,
    left_out: Callable[[pa.Table], Sequence[bool]] | None = None,
    own_columns: bool = True,
) -> ExportResult:
    """Write the training files of a finished run into another directory.

    Args:
        run: The run.
        out: The directory, or its address, such as `s3://bucket/dir`.
        settings: See `ExportSettings`.
        left_out: Tells of each row of a shard whether it is in none of the files; None = no row is.
        own_columns: Whether the rows of a single file keep the names of their columns, as of
            `export`.

    Raises:
        UsageError: The run has not finished, or `out` is its own directory or a file.
        NoSurvivorsError: Nothing can be exported.
        RemoteError: A place elsewhere cannot be written.
    """
    if not run.manifest.finished:
        raise UsageError(f"{run.path}: not finished; run the same command again, then export")
    target = _target(run, out)
    own_columns = own_columns and len(run.manifest.files) == 1
    tables = _tables(run)
    if left_out is not None:
        tables = (t.filter(pc.invert(pa.array(left_out(t), pa.bool_()))) for t in tables)
    return export(tables, run.quarantined(), target, settings, own_columns=own_columns)


def _target(run: Run, out: str | Path) -> Target:
    if isinstance(out, str) and is_remote(out):
        place = place_at(out)
        if place.is_file():
            raise UsageError(f"{place}: is a file, name a directory")
        return RemoteDirectory(place, run.path)
    out = local_path(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, name a directory")
    if out.resolve() == run.path.resolve():
        raise UsageError(
            f"{out}: is the run directory, whose own training files are in {run.path / EXPORT}; "
            "name another directory"
        )
    return Directory(out)


def _tables(run: Run) -> Iterator[pa.Table]:
    for shard in run.shards():
        yield shard.table


def _counted(tables: Iterator[pa.Table], progress: Progress) -> Iterator[pa.Table]:
    for table in tables:
        yield table
        progress.advance(table.num_rows)


def index_run(run: Run, out: Path, unit: Unit) -> int:
    """Write the rows that a finished run exports as an index for later runs to dedup against.

    They are those of its own export, by the settings of the run. A rectified row stands in it with
    its new response.

    Returns:
        How many rows it has.

    Raises:
        UsageError: The run has not finished, or exports no row.
        UnwritableError: The file cannot be written.
    """
    if not run.manifest.finished:
        raise UsageError(f"{run.path}: not finished; run the same command again, then index it")
    settings, own_columns = export_settings(run.path), len(run.manifest.files) == 1
    rows = (
        _kept(shard, is_exported(shard.table, settings, own_columns=own_columns), unit)
        for shard in run.shards()
    )
    written = write_index(out, rows, unit)
    if not written:
        out.unlink()
        raise UsageError(f"{run.path}: exports no row, so there is nothing to index")
    return written


def _kept(shard: Shard, exported: Sequence[bool], unit: Unit) -> Looked:
    """The exported rows of a shard, as they are exported."""
    table = shard.table
    if "new_target" in table.column_names:
        new = [None if t is None else Message(**t) for t in table["new_target"].to_pylist()]
        table = rows_table(
            example if target is None else replace(example, target=target)
            for example, target in zip(examples(table), new, strict=True)
        )
    return look(Shard(shard.key, table), exported, unit=unit)
