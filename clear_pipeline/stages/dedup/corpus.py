"""What dedup knows of all rows while it compares them: files of numbers, never the texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.stages.base import Shard
from clear_pipeline.stages.dedup.characters import Unit
from clear_pipeline.stages.dedup.spill import Spilled, SpilledTokens
from clear_pipeline.stages.dedup.words import I64, U64, Tokens, tokenize

TEXTS: Final = ("messages.content", "messages.tool_calls", "tools", "response")
"""The columns that texts are in; all but the last are what `prompt_texts` reads."""
COMPARED: Final = (*TEXTS, "unscorable", "content_hash", "file", "line")
"""The columns that `look` reads."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words of some texts.

    Attributes:
        tokens: All of them.
        whole: Of each text, see `Tokens.whole`.
    """

    tokens: Tokens
    whole: U64

    @classmethod
    def of(cls, texts: Sequence[str], unit: Unit) -> Words:
        """Cut texts, of which equal ones are cut once."""
        distinct = dict.fromkeys(texts)
        tokens = tokenize(list(distinct), unit=unit)
        whole = tokens.whole()
        if len(distinct) == len(texts):
            return cls(tokens, whole)
        place_of = {text: place for place, text in enumerate(distinct)}
        places = np.fromiter(map(place_of.__getitem__, texts), np.int64, len(texts))
        return cls(tokens.take(places), whole[places])


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """The alive rows of one shard, in numbers.

    Attributes:
        positions: Of the rows in their shard; all further fields are aligned with it.
        files: Name of each row's file.
        lines: Its line there; file and line are its id.
        content: Content hash, rows x 2.
        characters: Of prompt and response.
        prompts: Words of all turns before the target, and of the tools.
        responses: Words of the response.
    """

    positions: I64
    files: pa.Array
    lines: I64
    content: U64
    characters: I64
    prompts: Words
    responses: Words


def look(shard: Shard, alive: Sequence[bool], *, unit: Unit) -> Looked:
    """Hash the words of the alive rows."""
    positions = np.flatnonzero(np.asarray(alive, bool))
    table = shard.table if len(positions) == shard.rows else shard.table.take(positions)
    prompts, responses = prompt_texts(table), table["response"].to_pylist()
    hashes = table["content_hash"].to_pylist()
    sizes = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    # An image cannot be compared by its words: such a row matches equal content only.
    for place in np.flatnonzero(pc.is_valid(table["unscorable"]).to_numpy()).tolist():
        prompts[place] = responses[place] = hashes[place]
    return Looked(
        positions=positions,
        files=table["file"].combine_chunks(),
        lines=table["line"].to_numpy(),
        content=np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64).reshape(-1, 2),
        characters=np.array(sizes, np.int64),
        prompts=Words.of(prompts, unit),
        responses=Words.of(responses, unit),
    )


def prompt_texts(table: pa.Table) -> list[str]:
    """Texts of all turns and the tools, a line each."""
    turns = table["messages"].combine_chunks()
    contents, calls = (turns.flatten().field(n).to_pylist() for n in ("content", "tool_calls"))
    ends = np.cumsum(pc.list_value_length(turns).to_numpy()).tolist()
    tools = table["tools"].to_pylist()
    return [
        contents[a] or ""
        if b == a + 1 and calls[a] is None and more is None
        else "\n".join(filter(None, chain(*zip(contents[a:b], calls[a:b], strict=True), (more,))))
        for a, b, more in zip([0, *ends], ends, tools, strict=False)
    ]


class Corpus:
    """The rows that others are compared with, then those of all shards, one after the other.

    Args:
        scratch: An empty directory.
    """

    def __init__(self, scratch: Path) -> None:
        self._positions = Spilled(scratch / "positions", np.int32)
        self._file_codes = Spilled(scratch / "files", np.int32)
        self._lines = Spilled(scratch / "lines", np.int64)
        self._content = tuple(Spilled(scratch / f"content-{n}", np.uint64) for n in (1, 2))
        self._characters = Spilled(scratch / "characters", np.int32)
        self._prompt_words = Spilled(scratch / "prompt-words", np.uint64)
        self._response_words = Spilled(scratch / "response-words", np.uint64)
        self.prompts = SpilledTokens(scratch / "prompts")
        self.responses = SpilledTokens(scratch / "responses")
        self.file_names: list[str] = []
        self._codes: dict[str, int] = {}
        self._ends = [0]

    def __len__(self) -> int:
        """Rows."""
        return self._ends[-1]

    @property
    def referred(self) -> int:
        """How many rows, the first ones, are of no shard."""
        return self._ends[0]

    def refer(self, looked: Looked, name: str) -> None:
        """Add rows that shards are compared with, before any shard, as those of `name`."""
        names = [f"{name}/{file}" for file in looked.files.to_pylist()]
        self._add(replace(looked, files=pa.array(names, pa.string())))
        self._ends = [self._ends[0] + len(looked.positions)]

    def append(self, looked: Looked) -> None:
        """Add the rows of the next shard."""
        self._add(looked)
        self._ends.append(len(self) + len(looked.positions))

    def _add(self, looked: Looked) -> None:
        names = looked.files.dictionary_encode()
        codes = np.array([self._code(name) for name in names.dictionary.to_pylist()], np.int32)
        self._positions.append(looked.positions.astype(np.int32))
        self._file_codes.append(codes[names.indices.to_numpy()])
        self._lines.append(looked.lines)
        for half, column in enumerate(self._content):
            column.append(looked.content[:, half])
        self._characters.append(looked.characters.astype(np.int32))
        self._prompt_words.append(looked.prompts.whole)
        self._response_words.append(looked.responses.whole)
        self.prompts.append(looked.prompts.tokens)
        self.responses.append(looked.responses.tokens)

    def _code(self, name: str) -> int:
        if name not in self._codes:
            self._codes[name] = len(self.file_names)
            self.file_names.append(name)
        return self._codes[name]

    def complete(self) -> None:
        """No row follows; the columns may be read."""
        self.prompts.close()
        self.responses.close()

    @property
    def shards(self) -> int:
        """How many were added."""
        return len(self._ends) - 1

    def rows_of(self, shard: int) -> tuple[int, int]:
        """The first row of a shard, and the first after it."""
        return self._ends[shard], self._ends[shard + 1]

    def place_of(self, row: int) -> tuple[int, int]:
        """The shard of a row, and its position in it."""
        shard = int(np.searchsorted(self._ends, row, side="right")) - 1
        return shard, int(self._positions.read(row, row + 1)[0])

    def positions(self, start: int, stop: int) -> I64:
        """Of these rows in their shard."""
        return self._positions.read(start, stop).astype(np.int64)

    def ids(self, rows: I64) -> list[str]:
        """The ids of rows."""
        files, lines = self._file_codes.take(rows).tolist(), self._lines.take(rows).tolist()
        return [f"{self.file_names[f]}:{line}" for f, line in zip(files, lines, strict=True)]

    def content(self) -> tuple[U64, U64]:
        """Both halves of each row's content hash."""
        return self._content[0].read(), self._content[1].read()

    def prompt_words(self, rows: I64 | None = None) -> U64:
        """One hash per row, equal for prompts of equal words; of all rows by default."""
        return self._prompt_words.read() if rows is None else self._prompt_words.take(rows)

    def response_words(self, rows: I64 | None = None) -> U64:
        """One hash per row, equal for responses of equal words; of all rows by default."""
        return self._response_words.read() if rows is None else self._response_words.take(rows)

    def characters(self) -> I64:
        """Of each row's prompt and response."""
        return self._characters.read().astype(np.int64)

    def files(self) -> I64:
        """Per row the place of its file in `file_names`."""
        return self._file_codes.read().astype(np.int64)

    def rows_by_file(self) -> Iterator[I64]:
        """The rows of each file, in order."""
        files = self.files()
        order = np.argsort(files, kind="stable")
        cuts = np.flatnonzero(np.diff(files[order])) + 1
        yield from np.split(order, cuts) if len(order) else []
