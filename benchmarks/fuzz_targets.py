"""What `benchmarks.fuzz` calls with mutated bytes: a target raises only if a promise is broken."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from clear_pipeline.errors import CallError, NoSurvivorsError
from clear_pipeline.export import EXPORT_FORMATS, PARQUET, ExportSettings, export
from clear_pipeline.formats import FORMATS, Record, RowError, parse
from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.vectors import parse_embeddings
from clear_pipeline.llm.wire import parse_completion, parse_usage, thought_tokens
from clear_pipeline.load import FileFacts, LoadedShard, LoadSettings, Quarantined, Skipped, discover
from clear_pipeline.load.events import Raw, Source
from clear_pipeline.load.rows import load_rows
from clear_pipeline.prompts.addressed import addressed
from clear_pipeline.prompts.answer import final_answer, parse_draw
from clear_pipeline.prompts.base import render_row
from clear_pipeline.prompts.choices import (
    choice_probabilities,
    first_visible,
    parse_choice,
    schema_probabilities,
)
from clear_pipeline.prompts.judge import doubt_prompts, one_token_prompt, parse_verdict
from clear_pipeline.prompts.views import views
from clear_pipeline.schema import JSON, Example, Message, examples, rows_table
from clear_pipeline.scoring.answers.compare import same_answer
from clear_pipeline.scoring.form import ALL_FORMS
from clear_pipeline.scoring.passages import passages
from clear_pipeline.stages.candidates import sift

SCRATCH: Final = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
SMALL: Final = LoadSettings(max_line_bytes=4096, shard_rows=3, quarantine_text_chars=100)
COLUMNS: Final = sorted(
    {"id", "label", "role", "from", "value", "content", "name", "weight", "type", "text", ""}.union(
        *(format_.fields | format_.layout.reserved for format_ in FORMATS.values())
    )
)
SPEAKERS: Final = ("system", "user", "assistant", "tool", "human", "gpt", "function_call", "")
MAX_DRAWN_DEPTH: Final = 3
NAMES: Final = ("a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow", "a")
ASK: Final = ChatRequest((Message("user", "q"),), 8, 0.0, top_logprobs=5, samples=range(2))


def load(data: bytes) -> None:
    """Any file: it is skipped as a whole, or all its rows are loaded or set aside, each once."""
    path = SCRATCH / NAMES[data[0] % len(NAMES) if data else 0]
    path.write_bytes(data[1:])
    kinds, lines = set(), []
    for event in discover(path).inputs[0].load(SMALL):
        kinds.add(type(event))
        if isinstance(event, LoadedShard):
            lines += event.table["line"].to_pylist()
        elif isinstance(event, Quarantined):
            lines.append(event.line)
            json.dumps(event.text, ensure_ascii=False).encode()
    assert kinds, "the file is not accounted for"
    assert kinds == {Skipped} or FileFacts in kinds, kinds
    assert len(lines) == len(set(lines)), "a row is there twice"
    path.unlink()


def formats(data: bytes) -> None:
    """Any JSON row: read or refused with a reason, and what was read is written and read back."""
    record = _record(data)
    if record is None:
        return
    for name, format_ in FORMATS.items():
        format_.matches(record)
        example = _example(record, name)
        if example is None:
            continue
        assert list(format_.write(example).items()) == list(record.items()), name
        for other in FORMATS.values():
            try:
                written = other.write(example)
            except RowError:
                continue
            again = other.read(json.loads(json.dumps(written)))
            # ShareGPT has no ids of tool calls: their text may differ, what is said may not.
            assert again.target.content == example.target.content, (name, other.name)


def prompts(data: bytes) -> None:
    """Any text as a row: prompts are built, and no part of the row ends its own part."""
    text = data.decode("utf-8", "replace").replace("\0", "")
    half = len(text) // 2
    example = _pair(text[:half], text[half:] or "x")
    shown = render_row(example)
    assert shown.count("</response>") == 1, "a row closes its own part"
    for view in views(example).values():
        one_token_prompt(view, view.response, text[:half])
        list(doubt_prompts(view, view.response, text[:half], label="A"))
    addressed(text[half:], text[:half])
    "".join(passage.text for passage in passages(text))


def replies(data: bytes) -> None:
    """Any reply of a server, as JSON or as text: understood, or an error of one row."""
    text = data.decode("utf-8", "replace")
    for choice in (Choice(text, "stop"), *_parsed(text)):
        parse_draw(choice)
        parse_choice(choice.text, ("Yes", "No"))
        if (token := first_visible(choice)) is not None:
            choice_probabilities(token, ("Yes", "No"))
        schema_probabilities(choice, ("A", "B"))
        parse_verdict(choice.text)
        final_answer(choice.text)
        for original in ('{"a": 1}', "```python\nprint(1)\n```"):
            sift([choice], _pair("q", original), ALL_FORMS)
    half = len(text) // 2
    assert same_answer(text[:half], text[half:]) == same_answer(text[half:], text[:half])


def exports(data: bytes) -> None:
    """Any usable rows: every one is in exactly one file of every format, as valid JSON."""
    rows = [row for line in data.split(b"\n")[:4] if (row := _record(line)) is not None]
    for number, (name, folder) in enumerate((n, SCRATCH / f"to-{n}") for n in EXPORT_FORMATS):
        kept = list(_loaded(rows))
        if not kept:
            return
        try:
            done = export([rows_table(kept)], [], folder, ExportSettings(format=name, seed=number))
        except NoSurvivorsError:
            continue
        assert done.train + done.valid + done.removed == len(kept), name
        for path in folder.glob("*.jsonl"):
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                json.loads(line)
        assert name == PARQUET or done.train == _lines(folder / "train.jsonl")


def _record(data: bytes) -> Record | None:
    """The row that the bytes are as JSON, or one that they describe; None if no row may be so."""
    try:
        record = parse(data.decode("utf-8"))
    except (RowError, UnicodeError):
        record = _Drawn(data).row()
    try:
        parse(json.dumps(record, ensure_ascii=False).encode().decode())
    except (RowError, UnicodeError):
        return None
    return record if isinstance(record, Mapping) else None


class _Drawn:
    """Makes rows out of bytes: columns that formats know, with values of any kind."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def row(self) -> dict[str, JSON]:
        """A usable row with its own texts, and up to four columns changed or added."""
        kind = self._byte() % 4
        said, asked = self._text() or "a", self._text() or "q"
        usable: tuple[dict[str, JSON], ...] = (
            {"instruction": asked, "input": self._text(), "output": said},
            {"prompt": asked, "completion": said},
            {"messages": [*self._turns("role", "content"), {"role": "assistant", "content": said}]},
            {"conversations": [*self._turns("from", "value"), {"from": "gpt", "value": said}]},
        )
        changed = {self._one(COLUMNS): self._value(0) for _ in range(self._byte() % 5)}
        return {**usable[kind], **changed}

    def _turns(self, speaker: str, content: str) -> list[JSON]:
        first: list[JSON] = [{speaker: "user", content: self._text() or "q"}]
        return first + [self._turn(0) for _ in range(self._byte() % 4)]

    def _byte(self) -> int:
        return next(self._data, 0)

    def _one(self, choices: Sequence[str]) -> str:
        return choices[self._byte() % len(choices)]

    def _text(self) -> str:
        length = self._byte() % 24
        return bytes(self._byte() for _ in range(length)).decode("utf-8", "replace")

    def _value(self, depth: int) -> JSON:
        kind = self._byte() % (8 if depth < MAX_DRAWN_DEPTH else 5)
        plain: tuple[JSON, ...] = (None, True, self._byte() - 99, self._byte() / 7)
        if kind < len(plain):
            return plain[kind]
        if kind == len(plain):
            return self._text()
        if kind == len(plain) + 1:
            return [self._value(depth + 1) for _ in range(self._byte() % 4)]
        if kind == len(plain) + 2:
            return {self._one(COLUMNS): self._value(depth + 1) for _ in range(self._byte() % 4)}
        return [self._turn(depth) for _ in range(self._byte() % 5)]

    def _turn(self, depth: int) -> JSON:
        role, content = (("role", "content"), ("from", "value"))[self._byte() % 2]
        turn: dict[str, JSON] = {role: self._one(SPEAKERS), content: self._text()}
        if self._byte() % 4 == 0:
            name = self._one(COLUMNS)
            function: JSON = {"name": name, "arguments": self._value(depth + 1)}
            turn["tool_calls"] = [{"function": function, "id": name}]
        return turn


def _loaded(rows: Iterable[Record]) -> Iterator[Example]:
    raws = (Raw(n, row, json.dumps(row)) for n, row in enumerate(rows, start=1))
    for event in load_rows("a.jsonl", Source("jsonl", raws), LoadSettings()):
        if isinstance(event, LoadedShard):
            yield from examples(event.table)


def _example(record: Record, name: str) -> Example | None:
    raw = Raw(1, record, json.dumps(record))
    source = Source("jsonl", iter([raw]))
    for event in load_rows("a.jsonl", source, LoadSettings(format=name)):
        if isinstance(event, LoadedShard):
            return examples(event.table)[0]
    return None


def _pair(prompt: str, response: str) -> Example:
    turns = (Message("user", prompt),)
    return Example("a:1", "a", 1, "alpaca", turns, Message("assistant", response), "{}")


def _parsed(text: str) -> tuple[Choice, ...]:
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(reply, dict):
        return ()
    try:
        usage = parse_usage(reply, per_choice=False)
        thought_tokens(reply)
        parse_embeddings(reply, usage, ["a text"])
    except CallError:
        pass
    try:
        return parse_completion(reply, ASK, parse_usage(reply, per_choice=True)).choices
    except CallError:
        return ()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "load": load, "formats": formats, "prompts": prompts, "replies": replies, "export": exports,
}  # fmt: skip
