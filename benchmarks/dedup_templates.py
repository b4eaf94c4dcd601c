"""Near-duplicates among rows that share long templates: what the dedup stage finds, and spares.

    python -m benchmarks.dedup_templates --rows 6000 --duplicates 600

Every prompt and response is a frame and a payload. A frame is an instruction that hundreds of rows
have, or a context that a handful of rows ask about. A planted duplicate has an edited payload in
the same frame; without the frame prompt and response each have an exact Jaccard similarity of at
least 0.8. A hard negative differs from its siblings in the one field that matters, in a frame that
is otherwise the same word by word. The stage has its default settings.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.dedup_ours import columns, load
from benchmarks.peers.dedup_worker import THRESHOLD, shingles
from clear_pipeline.stages.dedup import Dedup

INSTRUCTIONS: Final = 8
"""Different instructions; each of them stands in more than 1 % of the rows."""
ROWS_PER_CONTEXT: Final = 8
CONTEXT_SHARE: Final = 0.4
FIELD_SHARE: Final = 0.4
"""Of the rows: those whose payload is one field."""

_SYLLABLES: Final = [a + b for a in "bdfgklmnprstv" for b in ("a", "e", "i", "o", "u", "an", "or")]
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Frame:
    """What rows share: text before and after the payload, and before that of the response."""

    kind: str
    before: str
    after: str
    answer: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        payload: Of the prompt.
        answer: Payload of the response.
        group: Rows of one group are duplicates of each other.
        kind: "long", "field" or, of a planted duplicate, the edit.
    """

    frame: Frame
    payload: str
    answer: str
    group: int
    kind: str
    planted: bool = False

    def to_json(self) -> dict[str, str]:
        """As a row of a file."""
        return {
            "prompt": f"{self.frame.before}\n\n{self.payload}\n\n{self.frame.after}".strip(),
            "completion": f"{self.frame.answer} {self.answer}".strip(),
        }


class Words:
    """Texts of made-up words, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.drawn = random.Random(seed)
        self._known = [
            "".join(self.drawn.choices(_SYLLABLES, k=self.drawn.randint(2, 3))) for _ in range(3000)
        ]

    def word(self) -> str:
        """One word."""
        return self.drawn.choice(self._known)

    def text(self, least: int, most: int) -> str:
        """So many words, in sentences of 8 to 16."""
        left, sentences = self.drawn.randint(least, most), []
        while left > 0:
            taken = min(left, self.drawn.randint(8, 16))
            sentences.append(" ".join(self.word() for _ in range(taken)).capitalize() + ".")
            left -= taken
        return " ".join(sentences)

    def instruction(self) -> Frame:
        """Long, with a response that begins in one way."""
        return Frame("instruction", self.text(120, 200), self.text(10, 30), self.text(20, 50))

    def context(self) -> Frame:
        """A passage that questions are asked about; answers have nothing in common."""
        return Frame("context", self.text(150, 250), "Answer from the text above alone.", "")


def replaced(text: str, words: Words) -> str:
    """One word in the middle is another one."""
    cut = text.split(" ")
    cut[words.drawn.randint(len(cut) // 3, 2 * len(cut) // 3)] = words.word()
    return " ".join(cut)


def trimmed(text: str, words: Words) -> str:
    """Without its first word, and with two more at the end."""
    return f"{text.split(' ', 1)[1].rstrip('.')} {words.word()} {words.word()}."


def polite(text: str, words: Words) -> str:
    """With a sentence of three words before it."""
    return f"{words.word()} {words.word()} {words.word()}! {text}".capitalize()


def respelled(text: str, _: Words) -> str:
    """In capitals, and with commas and dots in other places."""
    return text.upper().replace(".", ",").rstrip(",") + "!"


def untouched(text: str, _: Words) -> str:
    """As it is."""
    return text


Edit = Callable[[str, Words], str]

EDITS: Final[Mapping[str, tuple[Edit, Edit]]] = {
    "one word of the response": (untouched, replaced),
    "one word of the prompt": (replaced, untouched),
    "one word of each": (replaced, replaced),
    "ends changed": (trimmed, trimmed),
    "words before": (polite, polite),
    "case and punctuation": (respelled, respelled),
}
"""What becomes of the payloads of prompt and response."""


def similarity(one: str, other: str) -> float:
    """Exact Jaccard similarity of the words in runs of five."""
    sets = [set(shingles(" ".join(_WORD.findall(text.lower())))) for text in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def generate(rows: int, duplicates: int, seed: int = 0) -> list[Row]:
    """So many rows in random order, `duplicates` of them planted.

    Raises:
        ValueError: Fewer than two rows for each duplicate.
    """
    words = Words(seed)
    made = list(_originals(rows - duplicates, words))
    eligible = [row for row in made if row.kind == "long"]
    if len(eligible) < duplicates:
        raise ValueError(f"{duplicates} duplicates need more than {rows} rows")
    names = list(EDITS)
    for number, original in enumerate(words.drawn.sample(eligible, duplicates)):
        made.append(_duplicate(original, names[number % len(names)], words))
    words.drawn.shuffle(made)
    return made


def _originals(rows: int, words: Words) -> Iterator[Row]:
    instructions = [words.instruction() for _ in range(INSTRUCTIONS)]
    context = words.context()
    for group in range(rows):
        if group % ROWS_PER_CONTEXT == 0:
            context = words.context()
        asks = words.drawn.random() < CONTEXT_SHARE
        frame = context if asks else words.drawn.choice(instructions)
        if words.drawn.random() < FIELD_SHARE:
            field, value = f"{words.word()} {group}", f"{words.word()} {7 * group}"
            yield Row(frame, f"Field: {field}.", f"The value is {value}.", group, "field")
        else:
            yield Row(frame, words.text(50, 120), words.text(45, 100), group, "long")


def _duplicate(original: Row, edit: str, words: Words) -> Row:
    """An edited copy; edits that change too much are drawn again."""
    of_prompt, of_response = EDITS[edit]
    while True:
        payload, answer = of_prompt(original.payload, words), of_response(original.answer, words)
        pairs = ((payload, original.payload), (answer, original.answer))
        if all(similarity(one, other) >= THRESHOLD for one, other in pairs):
            return replace(original, payload=payload, answer=answer, kind=edit, planted=True)


@dataclass(frozen=True, slots=True)
class Found:
    """What the stage made of the rows.

    Attributes:
        planted: Planted duplicates by frame and edit.
        found: Of these, the ones in one cluster with their original.
        others: All other rows by frame and kind.
        lost: Rows that are left out for a row that is no duplicate of theirs, likewise.
    """

    planted: Counter[tuple[str, str]]
    found: Counter[tuple[str, str]]
    others: Counter[tuple[str, str]]
    lost: Counter[tuple[str, str]]

    @property
    def recall(self) -> float:
        """Share of the planted duplicates that are found."""
        return self.found.total() / self.planted.total()


def judge(rows: Sequence[Row], stage: Dedup) -> Found:
    """Run the stage on a file of the rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write(path, rows)
        tables = list(columns(load(path), stage))
    clusters = [cluster for table in tables for cluster in table["cluster"].to_pylist()]
    stays = [kept for table in tables for kept in table["duplicate_of"].to_pylist()]
    original = {row.group: n for n, row in enumerate(rows) if not row.planted}
    group_of = {cluster: rows[n].group for n, cluster in enumerate(clusters) if stays[n] is None}
    found = Found(Counter(), Counter(), Counter(), Counter())
    for number, row in enumerate(rows):
        at = (row.frame.kind, row.kind)
        cluster = clusters[number]
        (found.planted if row.planted else found.others)[at] += 1
        if row.planted and cluster is not None:
            found.found[at] += cluster == clusters[original[row.group]]
        if stays[number] is not None:
            found.lost[at] += group_of[cluster] != row.group
    return found


def write(path: Path, rows: Sequence[Row]) -> None:
    """As JSON Lines."""
    lines = (json.dumps(row.to_json()) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def table(found: Found) -> str:
    """Recall by frame and edit, and what was lost."""
    lines = ["| frame | row | rows | found | left out wrongly |\n|---|---|---|---|---|"]
    for at in sorted({*found.planted, *found.others}):
        planted = found.planted[at]
        share = f"{found.found[at] / planted:.3f}" if planted else "-"
        lines.append(
            f"| {at[0]} | {at[1]} | {planted or found.others[at]} | {share} | {found.lost[at]} |"
        )
    lines.append(
        f"\nrecall {found.recall:.4f} of {found.planted.total()} planted duplicates; "
        f"{found.lost.total()} of {found.planted.total() + found.others.total()} rows left out "
        "wrongly"
    )
    return "\n".join(lines)


def main() -> None:
    """Generate, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--duplicates", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the rows there, as JSON Lines")
    args = parser.parse_args()
    rows = generate(args.rows, args.duplicates, args.seed)
    if args.out:
        write(args.out, rows)
    print(table(judge(rows, Dedup())))


if __name__ == "__main__":
    main()
