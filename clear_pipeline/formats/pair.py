"""One question and one answer in columns of their own: the layout of two formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from clear_pipeline.formats.base import (
    ID_COLUMNS,
    Parsed,
    Record,
    RowError,
    conversation,
    missing,
    source_id,
    text,
)
from clear_pipeline.schema import JSON, Message


@dataclass(frozen=True, slots=True)
class Pair:
    """Columns for a prompt and a response, and optionally for a context and a system prompt.

    Attributes:
        name: The format's name.
        terms: The format's own words for (prompt, response, context), as used in a column map.
        prompts: Columns that may hold the prompt, the one to write first.
        instructions: Those of `prompts` that a context column completes. The others are whole
            prompts, so that a context beside them is mere metadata.
        contexts: Columns that may hold the context; it follows the prompt after a blank line.
        responses: Columns that may hold the target.
        systems: Columns that may hold a system prompt.
        ids: Columns that may hold the source's id.
        blank: Columns to write empty, because readers of the format expect them.
    """

    name: str
    terms: tuple[str, str, str]
    prompts: tuple[str, ...]
    instructions: frozenset[str]
    contexts: tuple[str, ...]
    responses: tuple[str, ...]
    systems: tuple[str, ...] = ("system", "system_prompt")
    ids: tuple[str, ...] = ID_COLUMNS
    blank: tuple[str, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """The format's terms, `system` and `id`."""
        return frozenset((*self.terms, "system", "id"))

    @property
    def reserved(self) -> frozenset[str]:
        """Every prompt, response, context and system column."""
        return frozenset((*self.prompts, *self.responses, *self.contexts, *self.systems))

    def mapped(self, columns: Mapping[str, str]) -> Pair:
        """Take the given columns by their terms; other names for the same are ignored."""
        prompt, response, context = self.terms
        changed = self
        if prompt in columns:
            changed = replace(changed, prompts=(columns[prompt],), instructions=frozenset())
        if context in columns:
            changed = replace(
                changed, contexts=(columns[context],), instructions=frozenset(changed.prompts)
            )
        if response in columns:
            changed = replace(changed, responses=(columns[response],))
        if "system" in columns:
            changed = replace(changed, systems=(columns["system"],))
        if "id" in columns:
            changed = replace(changed, ids=(columns["id"],))
        return changed

    def matches(self, record: Record) -> bool:
        """Whether there is a prompt column and a response column."""
        return any(c in record for c in self.prompts) and any(c in record for c in self.responses)

    def used(self, record: Record) -> frozenset[str]:
        """The columns that are read."""
        return frozenset(column for column in self._columns(record) if column is not None)

    def _columns(self, record: Record) -> tuple[str, str, str | None, str | None]:
        """Which columns hold prompt, response, context and system prompt.

        Raises:
            RowError: A needed one is missing, or several could be meant.
        """
        prompts = [c for c in self.prompts if c in record]
        completed = [c for c in prompts if c in self.instructions]
        if completed:  # beside an instruction, `input` is its context
            prompts = [c for c in prompts if c in self.instructions or c not in self.contexts]
        prompt = self._one(record, tuple(prompts) or self.prompts[:1], self.terms[0])
        response = self._one(record, self.responses, self.terms[1])
        contexts = [c for c in self.contexts if c in record and prompt in self.instructions]
        systems = [c for c in self.systems if c in record]
        return (
            prompt,
            response,
            self._one(record, tuple(contexts), self.terms[2]) if contexts else None,
            self._one(record, tuple(systems), "system") if systems else None,
        )

    @staticmethod
    def _one(record: Record, names: tuple[str, ...], term: str) -> str:
        found = [name for name in names if name in record]
        if not found:
            raise missing(record, names[0])
        if len(found) > 1:
            raise RowError(
                f"several columns could be the {term} ({', '.join(found)}); "
                f"choose: --map {term}={found[0]}"
            )
        return found[0]

    def decoded(self, record: Record) -> dict[str, JSON]:
        """All columns are text."""
        return dict(record)

    def read(self, record: Record) -> Parsed:
        """Understand a record, see `Layout.read`."""
        prompt, response, context, system = self._columns(record)
        asked = [text(record, prompt), text(record, context) if context else ""]
        messages = [Message("user", "\n\n".join(part for part in asked if part))]
        if system and text(record, system):
            messages.insert(0, Message("system", text(record, system)))
        if not messages[-1].text.strip():
            raise RowError(f"empty prompt (key {prompt!r})")
        target = Message("assistant", text(record, response))
        if not target.text.strip():
            raise RowError(f"empty target (key {response!r})")
        return conversation([*messages, target], source_id=source_id(record, self.ids))

    def compose(self, parsed: Parsed) -> dict[str, JSON]:
        """Lay out one optional system turn, one user turn and a text target."""
        if parsed.tools is not None:
            raise RowError(f"{self.name} has no place for tools")
        if parsed.unscorable is not None:
            raise RowError(f"{self.name} has no place for a content part ({parsed.unscorable})")
        *systems, asked = parsed.messages
        if [m.role for m in parsed.messages] not in (["user"], ["system", "user"]):
            roles = ", ".join(m.role for m in parsed.messages)
            raise RowError(f"{self.name} holds one user turn before the target, not {roles}")
        row: dict[str, JSON] = {self.prompts[0]: asked.content, **dict.fromkeys(self.blank, "")}
        if systems:
            row[self.systems[0]] = systems[0].content
        return self.with_target(row, parsed.target, column=self.responses[0])

    def with_target(
        self, record: Record, target: Message, *, column: str | None = None
    ) -> dict[str, JSON]:
        """A copy with another text as target."""
        if target.tool_calls is not None:
            raise RowError(f"{self.name} has no place for tool calls")
        return {**record, column or self._columns(record)[1]: target.content}
