"""The decontaminate stage: which rows overlap with the rows of benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, Settings, Shard, Shards
from clear_pipeline.stages.decontaminate.benchmark import (
    BenchmarkFile,
    Benchmarks,
    benchmark_files,
    read_benchmarks,
)
from clear_pipeline.stages.decontaminate.index import Index, build
from clear_pipeline.stages.decontaminate.search import RowTexts, Side, search

COLUMNS = pa.schema(
    [
        pa.field("contaminated_by", pa.string()),
        pa.field("contamination", pa.float64()),
        pa.field("shared_ngrams", pa.int64()),
        pa.field("contamination_reason", pa.large_string()),
    ]
)
"""`contaminated_by` = file and line of the row of a benchmark that this row overlaps with most, for
rows that overlap too much; `contamination` = in (0, 1], the largest share of the n-grams of a text
of a benchmark that stands in this row, null if it shares none; `shared_ngrams` = how many these
are, for contaminated rows that were not compared as a whole; `contamination_reason` = in words."""

_EXAMPLES = 3
_NAMED = 5
_TOLD = ("contaminated_by", "contamination_reason")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in the alive rows of one shard.

    Attributes:
        file: Of the rows; "" if none is alive.
        rows: How many there are.
        columns: Of those that share anything, as a state: `rows` = their positions in the shard.
        ids: Of the rows that are contaminated.
        hit: Which rows of the benchmarks these overlap with.
    """

    file: str
    rows: int
    columns: dict[str, list[Any]]
    ids: list[str]
    hit: list[int]


def _listed(value: object) -> object:
    """One path or name may stand without a list around it."""
    given = [value] if isinstance(value, str | Path) else value
    return [str(each) for each in given] if isinstance(given, list | tuple) else given


def _some(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not all(paths) or not paths:
        raise ValueError("no benchmark is named: give its file or directory, --decontaminate FILE")
    return paths


class Decontaminate(Settings):
    """Mark rows that overlap with rows of benchmarks.

    A row is contaminated if it has at least `min_coverage` of the different n-grams of a text of a
    benchmark, those left out that many rows of the benchmark share. A text without n-grams of its
    own is compared as a whole. Every overlap is verified on the words themselves.

    Sources: n-grams of 13 words, Brown et al. 2020 (arXiv 2005.14165), appendix C; half of a test
    row in one training row, Lambert et al. 2024 (Tülu 3, arXiv 2411.15124), section 3.2.
    """

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[int] = 2

    kind: Literal["decontaminate"] = "decontaminate"
    against: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_some)] = ()
    """Benchmark files, and directories of them. Their content enters the fingerprint."""
    columns: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Columns of the benchmark files whose texts are compared; none = all that hold text."""
    compare: Side = "both"
    """What of a row is compared: the turns before the target, the response, or both."""
    ngram_words: Annotated[int, Field(ge=2)] = 13
    """Words per n-gram."""
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Least share of the n-grams of a benchmark's text that makes a row contaminated."""
    common_rows: Annotated[int, Field(ge=1)] = 10
    """An n-gram that more different rows of one benchmark file have is no evidence, see `build`."""
    short_words: Annotated[int, Field(ge=1)] = 5
    """Least words of a benchmark's text that is shorter than an n-gram to be compared at all."""
    warn_fraction: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A file that loses a larger share of its rows is reported with examples."""

    @cached_property
    def files(self) -> tuple[BenchmarkFile, ...]:
        """The benchmark files, as they are when a run begins.

        Raises:
            UsageError: One is not there or cannot be opened.
        """
        return self._sources[0]

    @cached_property
    def _sources(self) -> tuple[tuple[BenchmarkFile, ...], tuple[str, ...]]:
        return benchmark_files(self.against)

    @cached_property
    def benchmarks(self) -> Benchmarks:
        """The texts of the benchmark files.

        Raises:
            UsageError: A file cannot be read or holds no text; one line that says what to do.
        """
        return read_benchmarks(self.files, self.columns)

    @cached_property
    def index(self) -> Index:
        """The same, to look up n-grams in."""
        read = self.benchmarks
        return build(
            read.texts,
            np.array(read.rows, np.int64),
            np.array(read.files, np.int64),
            width=self.ngram_words,
            common_rows=self.common_rows,
            least_words=self.short_words,
        )

    def require_files(self) -> None:
        """Read the benchmark files anew, so that what is wrong with one is known before any work.

        Raises:
            UsageError: A file is not there, cannot be read or holds no text; one line.
        """
        for name in ("_sources", "files", "benchmarks", "index"):  # of an earlier run
            self.__dict__.pop(name, None)
        _ = self.benchmarks

    def identity(self) -> dict[str, JSON]:
        """The settings, with names and SHA-256 of the benchmark files in place of their paths."""
        return {**super().identity(), "against": {file.name: file.sha256 for file in self.files}}

    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def adds(self) -> pa.Schema:
        """See `COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """No model is called."""
        return ()

    def search(self, shard: Shard, alive: Sequence[bool]) -> Found:
        """Look for the benchmarks in the alive rows of one shard."""
        positions = np.flatnonzero(np.asarray(alive, bool))
        table = shard.table.take(positions)
        texts = RowTexts.of(table, self.compare)
        read = self.benchmarks
        sharing, shares, hits = search(
            texts, read.texts, self.index, min_coverage=self.min_coverage
        )
        by_row = {hit.row: hit for hit in hits}
        found = [by_row.get(row) for row in sharing.tolist()]
        return Found(
            file=table["file"][0].as_py() if table.num_rows else "",
            rows=table.num_rows,
            columns={
                "rows": positions[sharing].tolist(),
                "contaminated_by": [hit and read.place(hit.text) for hit in found],
                "contamination": shares.tolist(),
                "shared_ngrams": [hit and hit.verified.ngrams for hit in found],
                "contamination_reason": [hit and hit.verified.reason for hit in found],
            },
            ids=table["id"].take(pa.array([hit.row for hit in hits], pa.int64())).to_pylist(),
            hit=[read.rows[hit.text] for hit in hits],
        )

    def survey(self, shards: Shards, ctx: Context) -> list[JSON]:
        """Per shard, the columns of those of its rows that share anything with a benchmark."""
        _ = self.index  # once, before threads ask for it
        partials = list(shards.map(self.search))
        for note in self._notes(partials):
            ctx.progress.note(f"decontaminate: {note}")
        return [found.columns if found.columns["rows"] else None for found in partials]

    def _notes(self, partials: Sequence[Found]) -> Iterator[str]:
        """What a user must know: what was not compared, what was found, which files lose much."""
        read = self.benchmarks
        yield from (f"left out {reason}" for reason in self._sources[1])
        uncompared = np.array(read.files)[~self._compared()]
        for file, rows in zip(*np.unique(uncompared, return_counts=True), strict=True):
            yield (
                f"{read.names[file]}: {rows:,} of {read.files.count(file):,} rows have no text of "
                f"{self.short_words} words or more (short_words), and are compared with nothing"
            )
        rows = sum(found.rows for found in partials)
        hit = Counter(read.files[row] for row in {row for found in partials for row in found.hit})
        names = [
            f"{read.names[file]} ({count:,} of its {read.files.count(file):,} rows)"
            for file, count in sorted(hit.items())
        ]
        more = f" and {len(names) - _NAMED} more files" if len(names) > _NAMED else ""
        by = f", by {', '.join(names[:_NAMED])}{more}" if names else ""
        yield f"{sum(len(found.ids) for found in partials):,} of {rows:,} rows are contaminated{by}"
        yield from self._losses(partials)

    def _compared(self) -> NDArray[np.bool_]:
        """Per row of the benchmarks, whether a text of it is compared with anything."""
        compared = np.zeros(len(self.benchmarks.files), bool)
        index = self.index
        texts = (index.totals > 0) | (index.lengths >= self.short_words)
        compared[np.array(self.benchmarks.rows)[texts]] = True
        return compared

    def _losses(self, partials: Sequence[Found]) -> Iterator[str]:
        """Files that lose more than `warn_fraction` of their rows, with examples."""
        rows: Counter[str] = Counter()
        hits: dict[str, list[str]] = {}
        for found in partials:
            rows[found.file] += found.rows
            told = zip(*(found.columns[name] for name in _TOLD), strict=True)
            hits.setdefault(found.file, []).extend(
                f"\n  {row} overlaps with {by}: {reason}"
                for row, (by, reason) in zip(found.ids, ((b, r) for b, r in told if b), strict=True)
            )
        for file, examples in hits.items():
            if len(examples) > self.warn_fraction * rows[file]:
                yield (
                    f"{file} loses {len(examples)} of {rows[file]} rows "
                    f"({len(examples) / rows[file]:.0%}) as contaminated, for example"
                    + "".join(examples[:_EXAMPLES])
                )

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],  # noqa: ARG002 - dead rows are in no state
        state: JSON,
        ctx: Context,  # noqa: ARG002 - `survey` has reported
    ) -> pa.Table:
        """Put what was found in this shard into columns."""
        columns: dict[str, list[Any]] = {name: [None] * shard.rows for name in COLUMNS.names}
        if isinstance(state, dict):
            for name, column in columns.items():
                for row, value in zip(state["rows"], state[name], strict=True):
                    column[row] = value
        return pa.table(columns, schema=COLUMNS)
