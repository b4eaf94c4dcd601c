"""Drawing general rows for a training and for its check, and writing both files."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from clear_pipeline.durable import writing
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.models.held_out import (
    Unusable,
    read_held_out,
    read_rows,
    request_hash,
    row_hash,
)
from clear_pipeline.finetune.balance import (
    Balance,
    Drawn,
    Mix,
    Replay,
    Source,
    apportioned,
    replayed_rows,
)
from clear_pipeline.finetune.base import Finding, TrainingData
from clear_pipeline.finetune.rows import training_rows
from clear_pipeline.formats import Parsed
from clear_pipeline.formats.chat import CHAT
from clear_pipeline.llm.budget import count_of
from clear_pipeline.load import LoadSettings
from clear_pipeline.schema import Example, Message, canonical_json, content_hash

MIXED: Final = "mixed.jsonl"
"""The training's own rows, then the general ones."""
GENERAL: Final = "general.jsonl"
"""Rows of the check."""
HELD_OUT: Final = 200
"""Most rows that are held out for the check, of all sources together."""
_TENTH: Final = 10
"""One in so many rows of a source is held out, at least one."""
_LOAD: Final = LoadSettings()

Note = Callable[[str], None]


def balanced(
    data: TrainingData,
    balance: Balance,
    folder: Path,
    note: Note,
    *,
    measured: Collection[str] = (),
) -> TrainingData:
    """Write the training file with its general rows, and the rows of the check.

    Equal files and settings give equal bytes. Rows of the check, the training's own and validation
    rows, and others that ask what one of these asks, are never drawn.

    Args:
        data: The training's own rows.
        balance: What is drawn, and what is checked.
        folder: For `MIXED` and `GENERAL`; made if need be.
        note: Told, a line each, what there is to know of the general rows.
        measured: Requests, as `request_hash` has them, of further rows that the model will be
            measured on; none of them is drawn either.

    Returns:
        The files to train with; `data` itself where nothing is drawn or checked.

    Raises:
        NothingReadableError: A source holds no row with a request and a response.
        UsageError: A source has no row to draw, or a file cannot be read.
    """
    if balance == Balance():
        return data
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    own, mix = _Own.read(data.train), balance.mix
    held_out = HELD_OUT if balance.general is None else 0
    pools = [] if mix is None else _pools(mix, own, held_out, note)
    if balance.general is None:
        check = [row for pool in pools for row in pool.rows(pool.held_out)]
    else:
        check = _named(balance.general, own, note)
    if mix is not None:
        apart = own.requests | _Own.read(data.valid).requests | set(measured)
        for pool in pools:
            pool.tell_apart(apart, note)
        avoided = apart | {request_hash(row) for row in check}
        draws = _draws(mix, pools, own, avoided=avoided)
        data = _mixed(data, own, mix, draws, folder=folder, note=note)
    if not check:
        note(
            "warning: no general row is left for a check of what is forgotten; name some: --general"
        )
        return data
    _write(check, folder / GENERAL)
    return replace(data, general=folder / GENERAL)


class Pool(NamedTuple):
    """What there is to draw from one source.

    Attributes:
        source: Which.
        requests: By what each usable row says, what it asks: both as hashes, in the order of rows.
        held_out: Rows for the check, by the same hashes.
    """

    source: Source
    requests: dict[str, str]
    held_out: frozenset[str]

    @property
    def digest(self) -> str:
        """SHA-256 of what its usable rows say."""
        return hashlib.sha256("\n".join(self.requests).encode()).hexdigest()

    @classmethod
    def of(cls, source: Source, *, held_out: int, avoided: Collection[str], note: Note) -> Pool:
        """Look through a source. A tenth of it is held out, the same for every seed and share.

        Args:
            source: Which.
            held_out: At most so many rows.
            avoided: Requests whose rows are not held out.
            note: Told what of it cannot be used.

        Raises:
            NothingReadableError: It holds no row with a request and a response.
        """
        requests: dict[str, str] = {}
        left = Unusable()
        for row in left.usable(source.data, _LOAD):
            requests.setdefault(row_hash(row), request_hash(row))
        for remark in left.remarks("general row"):
            note(remark)
        fit = [row for row, request in requests.items() if request not in avoided]
        most = min(held_out, math.ceil(len(fit) / _TENTH))
        return cls(source, requests, frozenset(_first(fit, most, "held out")))

    def drawn(self, count: int, seed: int, avoided: Collection[str]) -> frozenset[str]:
        """So many of its rows, or all that there are.

        The draw hangs on the seed and on what rows say, not on their order; of rows that ask the
        same, one is drawn.
        """
        free = [row for row, request in self.requests.items() if request not in avoided]
        first: dict[str, str] = {}
        for row in _first(free, len(free), f"replay:{seed}"):
            first.setdefault(self.requests[row], row)
        return frozenset(islice(first.values(), count))

    def tell_apart(self, requests: Collection[str], note: Note) -> None:
        """Say how many rows ask one of these, where there are any: they are never drawn."""
        if same := sum(request in requests for request in self.requests.values()):
            note(
                f"{self.source.data}: left out {count_of(same, 'general row')} that ask what the "
                "rows ask that are trained on or measured on anyway"
            )

    def rows(self, wanted: Collection[str]) -> list[Example]:
        """Those rows, each once, in the order of the source."""
        left, found = set(wanted), []
        for row in read_rows(self.source.data, _LOAD) if wanted else ():
            if isinstance(row, Example) and (said := row_hash(row)) in left:
                left.remove(said)
                found.append(row)
        return found


@dataclass(frozen=True, slots=True)
class _Own:
    """A training's own file: how many rows can be used, in how many lines, and what they ask."""

    rows: int
    lines: int
    requests: frozenset[str]

    @classmethod
    def read(cls, path: Path | None) -> _Own:
        """None = a file that is not there."""
        if path is None:
            return cls(0, 0, frozenset())
        rows, requests = 0, set()
        for row in training_rows(path):
            if not isinstance(row, Finding):
                rows += 1
                nothing = Message(row.parsed.target.role)
                requests.add(content_hash(row.parsed.messages, nothing, row.parsed.tools))
        with path.open("rb") as file:
            return cls(rows, sum(1 for _ in file), frozenset(requests))


def _named(general: str, own: _Own, note: Note) -> list[Example]:
    """The rows of a file that was named for the check."""
    test = read_held_out(general, _LOAD)
    for remark in test.remarks():
        note(remark)
    learnt = sum(request_hash(row) in own.requests for row in test.rows)
    if learnt:
        note(
            f"warning: {learnt:,} of {len(test.rows):,} rows of {general} are asked in the "
            "training file too: they do not show what is forgotten"
        )
    return list(test.rows)


def _pools(mix: Mix, own: _Own, held_out: int, note: Note) -> list[Pool]:
    """What there is of each source; none holds out what is learnt, or what another holds out."""
    pools: list[Pool] = []
    avoided = set(own.requests)
    for source, most in zip(mix.data, apportioned(held_out, [1] * len(mix.data)), strict=True):
        pool = Pool.of(source, held_out=most, avoided=avoided, note=note)
        avoided.update(pool.requests[row] for row in pool.held_out)
        pools.append(pool)
    return pools


def _draws(
    mix: Mix, pools: Sequence[Pool], own: _Own, *, avoided: Collection[str]
) -> list[tuple[Pool, int, frozenset[str]]]:
    """By source how many rows are wanted, and which were drawn; none asks what another does."""
    counts = apportioned(replayed_rows(own.rows, mix.share), [each.weight for each in mix.data])
    found, taken = [], set(avoided)
    for pool, count in zip(pools, counts, strict=True):
        rows = pool.drawn(count, mix.seed, taken)
        taken.update(pool.requests[row] for row in rows)
        found.append((pool, count, rows))
    return found


def _mixed(
    data: TrainingData,
    own: _Own,
    mix: Mix,
    draws: Sequence[tuple[Pool, int, frozenset[str]]],
    *,
    folder: Path,
    note: Note,
) -> TrainingData:
    """Write the training file with what was drawn.

    Raises:
        UsageError: Nothing was.
    """
    replay = Replay(
        share=mix.share,
        seed=mix.seed,
        own=own.rows,
        first_line=own.lines + 1,
        sources=tuple(
            Drawn(digest=pool.digest, weight=pool.source.weight, rows=len(rows))
            for pool, _, rows in draws
        ),
    )
    for pool, wanted, rows in draws:
        if len(rows) < wanted:
            note(
                f"warning: {pool.source.data}: a share of {mix.share:g} wants {wanted:,} of its "
                f"rows, but only {len(rows):,} can be drawn: general rows are {replay.shown()}"
            )
    if not replay.rows:
        raise UsageError("mix: none of its rows can be drawn; name more data, or leave it out")
    drawn = (row for pool, _, rows in draws for row in pool.rows(rows))
    _write(drawn, folder / MIXED, after=data.train)
    return replace(data, train=folder / MIXED, mix=replay)


def _write(rows: Iterable[Example], path: Path, *, after: Path | None = None) -> None:
    """Rows as OpenAI has them, after those of another file."""
    with writing(path), path.open("wb") as file:
        if after is not None:
            with after.open("rb") as own:
                shutil.copyfileobj(own, file)
            if not _ends_a_line(after):
                file.write(b"\n")
        for row in rows:
            record = CHAT.compose(Parsed(row.messages, row.target, row.tools, row.unscorable))
            file.write(canonical_json(record).encode("utf-8", "surrogatepass") + b"\n")


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _first(rows: Iterable[str], count: int, salt: str) -> list[str]:
    return sorted(rows, key=lambda row: hashlib.sha256(f"{salt}:{row}".encode()).digest())[:count]
