"""What the training files hold: what is wrong by the platform's rules, and how many tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clear_pipeline.finetune.base import Finding
from clear_pipeline.finetune.openai_jobs.rules import (
    has_images,
    learns_earlier_turns,
    row_doubts,
    row_faults,
    without_images,
)
from clear_pipeline.finetune.rows import MIN_ROWS, training_records
from clear_pipeline.formats import RowError
from clear_pipeline.formats.chat import CHAT
from clear_pipeline.llm.base import OMIT, ChatRequest
from clear_pipeline.llm.tokens import TokenCounter
from clear_pipeline.schema import JSON, canonical_json


@dataclass(slots=True)
class Survey:
    """What one file holds.

    Attributes:
        findings: What is wrong, in the order of rows, then of the file.
        rows: Lines that are not blank.
        tokens: Of the rows that the platform takes, those of images left out.
        lines: Where each row stands that the platform takes, by a digest of what it says.
    """

    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    tokens: int = 0
    lines: dict[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Looks at files by the rules of one platform.

    Attributes:
        counter: Counts tokens.
        max_tokens: Of one row; None = not known.
        max_bytes: Of one file.
    """

    counter: TokenCounter
    max_tokens: int | None
    max_bytes: int

    async def train(self, path: Path) -> Survey:
        """A file of rows to learn from.

        Raises:
            UsageError: The file is not there or cannot be read.
        """
        survey = await self._survey(path, learnt={})
        if survey.rows < MIN_ROWS:
            reason = f"{survey.rows} rows, at least {MIN_ROWS} are needed"
            survey.findings.append(Finding(path, None, reason))
        return survey

    async def valid(self, path: Path, learnt: Mapping[bytes, int]) -> Survey:
        """A file of rows to measure on.

        Args:
            path: The file.
            learnt: `Survey.lines` of the training file.

        Raises:
            UsageError: The file is not there or cannot be read.
        """
        survey = await self._survey(path, learnt=learnt)
        if not survey.rows:
            survey.findings.append(Finding(path, None, "no row: leave the validation file out"))
        return survey

    async def _survey(self, path: Path, *, learnt: Mapping[bytes, int]) -> Survey:
        survey = Survey()
        unweighted = pictured = 0
        for found in training_records(path):
            survey.rows += 1
            if isinstance(found, Finding):
                survey.findings.append(found)
                continue
            line, record = found.line, found.record
            if faults := list(row_faults(record)):
                survey.findings += [Finding(path, line, fault) for fault in faults]
                continue
            unweighted += learns_earlier_turns(record)
            pictured += has_images(record)
            tokens = await self._tokens(record)
            survey.tokens += tokens
            survey.findings += [
                *(Finding(path, line, fault) for fault in self._too_long(tokens)),
                *(Finding(path, line, doubt, "warning") for doubt in row_doubts(record)),
                *_repeats(path, line, _digest(record), survey.lines, learnt),
            ]
        survey.findings += self._of_file(path, unweighted=unweighted, pictured=pictured)
        return survey

    async def _tokens(self, record: Mapping[str, JSON]) -> int:
        """Of all that a row says, the marks of a chat template included."""
        try:
            parsed = CHAT.read(without_images(record))
        except RowError:  # nothing is asked, or there are images alone
            return await self.counter.text(canonical_json(without_images(record)["messages"]))
        said = (*parsed.messages, parsed.target)
        return await self.counter.prompt(ChatRequest(said, 1, OMIT, tools=parsed.tools))

    def _too_long(self, tokens: int) -> Iterator[str]:
        if self.max_tokens is not None and tokens > self.max_tokens:
            yield (
                f"{tokens:,} tokens, counted {self.counter.how}: the model reads "
                f"{self.max_tokens:,}, and the end, which is to be learnt, would be cut off "
                "(max_tokens_per_row)"
            )

    def _of_file(self, path: Path, *, unweighted: int, pictured: int) -> Iterator[Finding]:
        if (size := path.stat().st_size) > self.max_bytes:
            reason = f"{size:,} bytes, at most {self.max_bytes:,} are taken (max_file_bytes)"
            yield Finding(path, None, reason)
        if unweighted:
            reason = (
                f"{unweighted:,} rows have earlier turns of the assistant without a weight: the "
                "platform learns these too; give them weight 0 where only the last is to be learnt"
            )
            yield Finding(path, None, reason, "warning")
        if pictured:
            reason = f"{pictured:,} rows have images, whose tokens are not counted"
            yield Finding(path, None, reason, "warning")


def _repeats(
    path: Path, line: int, digest: bytes, lines: dict[bytes, int], learnt: Mapping[bytes, int]
) -> Iterator[Finding]:
    """Warnings of a row that stands in the files already; enters it into `lines`."""
    if digest in learnt:
        reason = f"is learnt as well: line {learnt[digest]} of the training file says the same"
        yield Finding(path, line, reason, "warning")
    if (first := lines.setdefault(digest, line)) != line:
        yield Finding(path, line, f"says the same as line {first}", "warning")


def _digest(record: Mapping[str, JSON]) -> bytes:
    text = canonical_json(record).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
