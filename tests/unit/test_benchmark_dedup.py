"""The truth of the benchmark of duplicates, its files, its report and its templates."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dedup_files import DataFile, Order, prepared, write
from benchmarks.dedup_report import Measurement, report
from benchmarks.dedup_templates import EDITS, generate, judge, similarity
from benchmarks.dedup_truth import BINS, all_pairs, precision, recall, roots
from clear_pipeline.errors import UsageError
from clear_pipeline.stages.dedup import Dedup

WORDS = [f"w{n}" for n in range(40)]


def text(first: int, last: int) -> str:
    """Words in a row: n of them are n - 4 shingles."""
    return " ".join(WORDS[first:last])


def test_pairs_have_their_exact_similarity() -> None:
    """10 and 8 shingles, 8 of them common: 8/10. 10 and 10, 6 common: 6/14. Others have none."""
    pairs = all_pairs([text(0, 14), text(2, 14), text(4, 18), text(20, 34)])
    found = sorted(zip(pairs.first, pairs.second, pairs.jaccard, strict=True))
    assert found == [(0, 1, 0.8), (0, 2, 6 / 14), (1, 2, 6 / 12)]


def test_a_text_shorter_than_a_shingle_equals_itself_alone() -> None:
    """Its only shingle is all of it."""
    pairs = all_pairs([text(0, 3), text(0, 3), text(0, 4)])
    assert list(zip(pairs.first, pairs.second, pairs.jaccard, strict=True)) == [(0, 1, 1.0)]


def test_recall_counts_pairs_of_one_cluster_by_bin() -> None:
    """0.8 is the first pair of the bin from 0.80; equal texts are in the last bin."""
    pairs = all_pairs([text(0, 14), text(2, 14), text(0, 14)])
    there, found = recall(pairs, np.array([0, 1, 0]))
    assert {n: (there[n], found[n]) for n in range(BINS) if there[n]} == {16: (2, 0), 19: (1, 1)}


def test_a_row_is_left_out_rightly_if_similar_pairs_lead_to_the_one_that_stays() -> None:
    """0.8 and 0.8 make a chain whose ends have 8/12; without the middle row the last is wrong."""
    texts = [text(0, 14), text(2, 14), text(2, 16), text(30, 40)]
    assert similarity(texts[1], texts[2]) == 0.8
    chained = precision(texts, np.array([0, 0, 0, 3]))
    assert (chained.removed, chained.direct, chained.chained) == (2, 1, 2)
    broken = precision(texts, np.array([0, 1, 0, 0]))
    assert (broken.removed, broken.direct, broken.chained) == (2, 0, 0)


def test_rows_that_stay_are_followed_to_the_end() -> None:
    """2 for 1 for 0 is 2 for 0."""
    assert roots(np.array([0, 0, 1, 3])).tolist() == [0, 0, 0, 3]


def test_the_subset_has_whole_clusters_and_few_of_a_giant(tmp_path: Path) -> None:
    """Partners stay together; of 500 equal rows 50 are looked at."""
    clusters = np.array([-1] * 500 + [n // 2 for n in range(1000)])
    rows = DataFile(tmp_path / "none", clusters).subset(10_000)
    taken = Counter(clusters[rows].tolist())
    assert taken.pop(-1) == 50
    assert set(taken.values()) == {2}
    few = Counter(clusters[DataFile(tmp_path / "none", clusters).subset(100)].tolist())
    assert all(count == 2 for cluster, count in few.items() if cluster != -1)


def test_files_have_plain_words_and_a_missing_generator_is_named(tmp_path: Path) -> None:
    """Case and punctuation go; without file and generator the error says what to name."""
    order = Order(2, 0)
    with pytest.raises(UsageError, match="is not there: name with --shared"):
        prepared(order, shared=tmp_path, cache=tmp_path)
    write(tmp_path / f"{order.name}.jsonl", [("It's 3.14, isn't it?", 7), ("...", 8)])
    file = prepared(order, shared=tmp_path, cache=tmp_path)
    assert file.texts() == ["it s 3 14 isn t it", "empty"]
    assert file.clusters.tolist() == [7, 8]


def measurement(system: str, rows: int, seconds: float, **more: object) -> Measurement:
    figures = {"seconds": seconds, "cpu_seconds": 1.0, "peak_mib": 100.0, "removed": 4}
    found = {"direct": 2, "chained": 3, "pairs": [0] * 16 + [4, 0, 0, 0]}
    return Measurement(system, rows, 0, 0, 0).with_figures(
        **figures, **found, found=[0] * 16 + [1, 0, 0, 0], **more
    )


def test_the_report_divides_by_peers_and_by_size() -> None:
    """30 s beside 60 s and 10 s; 200,000 rows to 1,000,000 is 5 times as many."""
    printed = report(
        [
            measurement("ours", 200_000, 30.0, found_seconds=15.0, stage_seconds=5.0),
            measurement("datasketch", 200_000, 60.0),
            measurement("rensa", 200_000, 10.0),
            measurement("ours", 1_000_000, 120.0),
            Measurement("datasketch", 1_000_000, 0, 0, 0, error="not done after 60 s"),
        ]
    )
    assert "| ours | 30.0 | 0.50 | 3.00 | 1.0 | 100 | 4 | 0.7500 | 0.5000 | 0.2500 |" in printed
    assert "| ours, until they are found | 15.0 | 0.25 | 1.50 | - |" in printed
    assert "| ours, the stage alone | 5.0 | 0.08 | 0.50 | - |" in printed
    assert "| datasketch | not done after 60 s | - |" in printed
    assert "| 0.80 to 0.85 | 4 | 0.250 | 0.250 | 0.250 |" in printed
    assert "## From 200,000 rows to 1,000,000: 5 times as many" in printed
    assert "| ours | x 4.00 | x 1.00 |" in printed


def test_planted_rows_are_what_they_claim() -> None:
    """As many as ordered, of every edit, similar without their frame; all others are not."""
    rows = generate(400, 60)
    originals = {row.group: row for row in rows if not row.planted}
    planted = [row for row in rows if row.planted]
    assert Counter(row.kind for row in planted) == dict.fromkeys(EDITS, 10)
    for row in planted:
        original = originals[row.group]
        assert row.frame == original.frame
        assert similarity(row.payload, original.payload) >= 0.8
        assert similarity(row.answer, original.answer) >= 0.8
    fields = [row for row in originals.values() if row.kind == "field"]
    assert len({row.payload for row in fields}) == len(fields) > 100
    assert all(similarity(a.payload, b.payload) < 0.8 for a in fields[:20] for b in fields[20:40])


def test_copies_in_another_case_are_found_and_hard_negatives_stay() -> None:
    """Rows that differ in one field of a long frame are no duplicates by the default settings."""
    found = judge(generate(400, 60), Dedup())
    assert found.planted.total() == 60
    for (frame, edit), planted in found.planted.items():
        if edit == "case and punctuation":
            assert found.found[frame, edit] == planted
    assert found.lost.total() == 0
