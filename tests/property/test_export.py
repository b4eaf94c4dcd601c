"""Export over arbitrary rows: the split, and equal bytes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.export import ExportSettings, export, split_of
from clear_pipeline.schema import Example, Message, rows_table

few = settings(max_examples=25, deadline=None)
"""Each example writes and syncs files."""

Row = tuple[str, str | None]
"""A row's prompt and its duplicate cluster, if dedup ran."""

rows_strategy = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.none() | st.sampled_from(["c1", "c2"])),
    min_size=1,
    max_size=20,
)


def table(rows: list[Row], *, offset: int = 0) -> pa.Table:
    made = rows_table(
        Example(
            id=f"x:{i}",
            file="x",
            line=i,
            format="prompt-completion",
            messages=(Message("user", prompt),),
            target=Message("assistant", "yes"),
            original=json.dumps({"prompt": prompt, "completion": "yes"}),
        )
        for i, (prompt, _) in enumerate(rows, offset)
    )
    return made.append_column("cluster", pa.array([c for _, c in rows], pa.string()))


def ids(rows: list[Row], *, offset: int = 0, seed: int = 0) -> dict[str, str]:
    """Per row id the file that it went to."""
    chosen = ExportSettings(format="parquet", valid_fraction=0.5, seed=seed)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        export([table(rows, offset=offset)], [], Path(folder), chosen)
        for split in ("train", "valid"):
            read = pa.parquet.read_table(Path(folder) / f"{split}.parquet", columns=["id"])
            found |= dict.fromkeys(read["id"].to_pylist(), split)
    return found


@few
@given(rows_strategy, st.integers(0, 5))
def test_split_never_parts_a_cluster_or_equal_rows(rows: list[Row], seed: int) -> None:
    """Rows of one cluster, and without a cluster rows of equal content, share a file."""
    found = ids(rows, seed=seed)
    assert len(found) == len(rows)
    files: dict[str, set[str]] = {}
    for i, (prompt, cluster) in enumerate(rows):
        files.setdefault(cluster or prompt, set()).add(found[f"x:{i}"])
    assert all(len(names) == 1 for names in files.values())


@few
@given(rows_strategy, rows_strategy)
def test_more_rows_move_no_row(rows: list[Row], more: list[Row]) -> None:
    """Data that is added later leaves every row where it was."""
    assert ids(rows).items() <= ids([*rows, *more]).items()


@few
@given(rows_strategy)
def test_equal_input_gives_equal_bytes(rows: list[Row]) -> None:
    """An export can be repeated, over the old one, without any byte changing."""
    chosen = ExportSettings(valid_fraction=0.5)
    with tempfile.TemporaryDirectory() as folder:
        contents = []
        for _ in range(2):
            export([table(rows)], [], Path(folder), chosen)
            contents.append({p.name: p.read_bytes() for p in Path(folder).iterdir()})
    assert contents[0] == contents[1]


@given(st.text(), st.integers(0, 9), st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_larger_fraction_only_moves_rows_to_valid(
    group: str, seed: int, one: float, other: float
) -> None:
    """A row that is held out stays held out when more are."""
    low, high = sorted([one, other])
    if split_of(group, ExportSettings(valid_fraction=low, seed=seed)) == "valid":
        assert split_of(group, ExportSettings(valid_fraction=high, seed=seed)) == "valid"
