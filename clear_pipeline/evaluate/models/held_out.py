"""Test rows, what of them a model may have seen, and examples to put before a question."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clear_pipeline.errors import NothingReadableError, UsageError
from clear_pipeline.llm.budget import count_of
from clear_pipeline.load import (
    Data,
    LoadedShard,
    LoadSettings,
    Problem,
    Quarantined,
    Skipped,
    data_name,
    discover,
    nothing_readable,
)
from clear_pipeline.schema import Example, Message, content_hash, examples

_SHOWN: Final = 3
"""Rows of a kind that a remark gives as examples."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The rows of a test set.

    Attributes:
        name: Of the file or directory.
        rows: Those that a model can be asked about, in their order.
        unusable: Of the others the id and the reason, as "t.jsonl:3: no response".
        problems: Files that give no row or not all of theirs, and why.
    """

    name: str
    rows: tuple[Example, ...]
    unusable: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of what the rows say, in order: equal for equal test sets."""
        text = "\n".join(f"{row.id} {row_hash(row)}" for row in self.rows)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def remarks(self) -> Iterator[str]:
        """What to know of it before it is used, a line each."""
        yield from self.problems
        yield from _left_out(self.unusable, "test row")
        repeated = len(self.rows) - len({row_hash(row) for row in self.rows})
        if repeated:
            yield (
                f"{count_of(repeated, 'test row')} repeat another: each counts, and intervals are "
                "too narrow for it"
            )


@dataclass(frozen=True, slots=True)
class Unusable:
    """What of some data cannot be used; filled while the data is read.

    Attributes:
        rows: The id of each row and the reason, as of `HeldOut`.
        problems: As of `HeldOut`.
    """

    rows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def usable(self, data: Data, load: LoadSettings) -> Iterator[Example]:
        """The rows that a model can be asked about.

        Raises:
            NothingReadableError: No row can be used.
        """
        for found in read_rows(data, load):
            match found:
                case Quarantined():
                    self.rows.append(str(found))
                case Problem():
                    self.problems.append(f"{found.file}: {found.reason}")
                case Skipped():
                    self.problems.append(f"{found.path}: {found.reason}")
                case Example(unscorable=str(why)):
                    self.rows.append(f"{found.id}: holds {why}")
                case Example():
                    yield found

    def remarks(self, kind: str) -> Iterator[str]:
        """As of `HeldOut`, for rows of this kind, as in "test row"."""
        yield from self.problems
        yield from _left_out(self.rows, kind)


def _left_out(rows: Sequence[str], kind: str) -> Iterator[str]:
    if rows:
        more = "; ..." if len(rows) > _SHOWN else ""
        yield f"left out {count_of(len(rows), kind)}: {'; '.join(rows[:_SHOWN])}{more}"


@dataclass(frozen=True, slots=True)
class Leak:
    """Test rows that stand in a training file too.

    Attributes:
        file: The training file, as it was named.
        rows: Test rows whose request and response both stand there.
        prompts: Further test rows whose request stands there, with another response.
        of: Test rows in all.
    """

    file: str
    rows: int
    prompts: int
    of: int

    def warning(self) -> str:
        """For people."""
        return (
            f"leak: {self.rows + self.prompts:,} of {self.of:,} test rows stand in {self.file} "
            f"({self.rows:,} with the same response, {self.prompts:,} with another): a model that "
            "was trained on it has seen them. Train without them: --decontaminate of "
            "clear-pipeline run, which finds overlaps in other words too"
        )


def read_held_out(data: Data, load: LoadSettings) -> HeldOut:
    """Read a test set.

    Raises:
        NothingReadableError: It holds no row with a request and a response.
        UsageError: A model can be asked about none of its rows.
    """
    left = Unusable()
    rows = tuple(left.usable(data, load))
    name = _name(data)
    if not rows:
        raise UsageError(f"{name}: a model can be asked about none of its rows: {left.rows[0]}")
    return HeldOut(name, rows, tuple(left.rows), tuple(left.problems))


def leak(test: HeldOut, train: str | Path, load: LoadSettings) -> Leak:
    """Count the test rows that stand in a training file, white space aside.

    Raises:
        NothingReadableError: The training file holds no row.
    """
    seen_rows: set[str] = set()
    seen_prompts: set[str] = set()
    for found in _rows_beside(train, load):
        if isinstance(found, Example):
            seen_rows.add(row_hash(found))
            seen_prompts.add(request_hash(found))
    same = [row for row in test.rows if row_hash(row) in seen_rows]
    asked = sum(request_hash(row) in seen_prompts for row in test.rows)
    return Leak(str(train), len(same), asked - len(same), len(test.rows))


def draw_examples(
    file: Path, load: LoadSettings, *, count: int, seed: int, test: HeldOut
) -> tuple[Example, ...]:
    """Rows of a file to stand before each question.

    The draw hangs on the seed and on what the rows say, not on their order. Rows whose request is
    a test row's are left out, as are those with tools or images.

    Raises:
        UsageError: The file has fewer rows that fit.
        NothingReadableError: It has none at all.
    """
    avoided = {request_hash(row) for row in test.rows}
    fitting: dict[str, Example] = {}
    for found in _rows_beside(file, load):
        if isinstance(found, Example) and _fits(found, avoided):
            digest = hashlib.sha256(f"{seed}:{row_hash(found)}".encode()).hexdigest()
            fitting.setdefault(digest, found)
    if len(fitting) < count:
        raise UsageError(
            f"{file}: {count} examples are wanted (few_shot), but only {len(fitting)} of its rows "
            "are in words and no test rows; give a larger file or a smaller few_shot"
        )
    return tuple(fitting[digest] for digest in sorted(fitting)[:count])


def _rows_beside(
    file: str | Path, load: LoadSettings
) -> Iterator[Example | Quarantined | Problem | Skipped]:
    """All of a file beside a test set: rows laid out as the test rows, or as they were exported.

    Raises:
        NothingReadableError: No row can be used, in either layout.
    """
    own = load.of_own_rows()
    try:
        yield from read_rows(file, load.model_copy(update={"limit": None}))
    except NothingReadableError:
        yield from read_rows(file, own)


def _fits(row: Example, avoided: Collection[str]) -> bool:
    plain = row.unscorable is None and row.tools is None and row.target.tool_calls is None
    return plain and request_hash(row) not in avoided


def row_hash(row: Example) -> str:
    """Hash of what a row says, white space aside."""
    return content_hash(row.messages, row.target, row.tools)


def request_hash(row: Example) -> str:
    """Hash of what is asked, whatever the response is."""
    return content_hash(row.messages, Message(row.target.role), row.tools)


def read_rows(
    data: Data, load: LoadSettings
) -> Iterator[Example | Quarantined | Problem | Skipped]:
    """Every row, and whatever cannot be used.

    Raises:
        NothingReadableError: No row can be used.
    """
    listing = discover(data)
    yield from listing.skipped
    skipped, bad = list(listing.skipped), list[Quarantined]()
    usable, left = 0, load.limit
    for source in listing.inputs:
        if left == 0:
            break
        for event in source.load(load, limit=left):
            done = 0
            match event:
                case LoadedShard():
                    done = event.table.num_rows
                    usable += done
                    yield from examples(event.table)
                case Quarantined():
                    done = 1
                    bad = [*bad, event][:_SHOWN]
                    yield event
                case Skipped():
                    skipped.append(event)
                    yield event
                case Problem():
                    yield event
            left = None if left is None else left - done
    if not usable:
        raise nothing_readable(_name(data), skipped, bad)


def _name(data: Data) -> str:
    return data_name(data) if isinstance(data, str | Path) else "memory"
