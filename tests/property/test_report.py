"""What holds for every text and every set of scores that a report may meet."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.report.data import fair_shares, funnel
from clear_pipeline.report.diff import Segment, word_diff
from clear_pipeline.report.histogram import BINS, counted, histogram
from clear_pipeline.report.svg import Frame, bars, x_at, y_ticks
from clear_pipeline.report.text import cut, one_line, visible
from clear_pipeline.report.words import EXPORTED
from clear_pipeline.schema import Fate

TEXTS = st.text(alphabet=st.characters(codec=None), max_size=60) | st.text(
    alphabet=st.sampled_from("ab \t\r\n\x00\x1b[]\u202e\u200b\u2066\ufeff\ud800é你👩\u200d"),
    max_size=60,
)
SCORES = st.dictionaries(
    st.sampled_from(list(Fate)), st.lists(st.floats(0, 1), max_size=20), max_size=4
)
COUNTS = st.dictionaries(st.sampled_from(list(Fate)), st.integers(0, 5_000))


@given(TEXTS)
def test_visible_text_commands_nothing(text: str) -> None:
    """No control, direction mark or lone surrogate is left; what is left can be encoded."""
    shown = visible(text)
    shown.encode()
    for character in shown:
        assert character in "\t\n" or unicodedata.category(character) not in {"Cc", "Cs"}
        assert unicodedata.bidirectional(character) not in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        }  # fmt: skip


@given(TEXTS)
def test_visible_is_idempotent(text: str) -> None:
    """Text that passed twice reads like text that passed once."""
    assert visible(visible(text)) == visible(text)


@given(TEXTS, st.integers(1, 30))
def test_one_line_keeps_its_width(text: str, width: int) -> None:
    """A table cell has one line and at most `width` characters."""
    line = one_line(text, width)
    assert len(line) <= width
    assert "\n" not in line


@given(TEXTS, st.integers(1, 30))
def test_cut_keeps_the_start(text: str, limit: int) -> None:
    """A cut text begins like the text and counts what is missing; a short one is untouched."""
    shown = cut(text, limit)
    assert shown[:limit] == text[:limit]
    assert (shown == text) == (len(text) <= limit)
    if shown != text:
        assert f"[{len(text) - limit} more" in shown


@given(TEXTS, TEXTS)
def test_diff_loses_no_character(before: str, after: str) -> None:
    """The segments join to the two texts, and what is common is the same on both sides."""
    old, new = word_diff(before, after)
    assert "".join(segment.text for segment in old) == before
    assert "".join(segment.text for segment in new) == after
    assert _common(old) == _common(new)


def _common(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments if not segment.changed)


@given(SCORES)
def test_histogram_counts_every_value_once(scores: dict[Fate, list[float]]) -> None:
    """The bars hold as many rows as there are values, within edges that hold the values."""
    drawn = histogram(scores)
    values = [value for group in scores.values() for value in group]
    if drawn is None:
        assert values == []
        return
    assert sum(sum(column) for column in drawn.counts.values()) == len(values)
    assert 0 <= drawn.low <= min(values) + 1e-9
    assert max(values) - 1e-9 <= drawn.high <= 1
    assert drawn.bins == BINS
    assert drawn.edges[0] == drawn.low


@given(SCORES, SCORES)
def test_histograms_of_parts_add_up(
    one: dict[Fate, list[float]], other: dict[Fate, list[float]]
) -> None:
    """Counted in two parts between the same edges, scores give the bars of all of them."""
    both = {fate: [*one.get(fate, ()), *other.get(fate, ())] for fate in Fate}
    whole = histogram(both)
    if whole is not None:
        ends = (whole.low, whole.high)
        assert counted(one, ends) + counted(other, ends) == whole


@given(SCORES, st.floats(0, 1))
def test_chart_stays_in_its_frame(scores: dict[Fate, list[float]], threshold: float) -> None:
    """Bars, ticks and the threshold lie inside the plot area (a least height of 1 may add up)."""
    drawn = histogram(scores)
    if drawn is None:
        return
    frame = Frame(520, 250, left=40, right=12, top=28, bottom=24)
    for bar in bars(drawn, frame):
        assert bar.width > 0
        assert bar.height >= 1
        assert frame.left <= bar.x
        assert bar.x + bar.width <= frame.width - frame.right + 0.1
        assert frame.top - len(Fate) <= bar.y <= frame.base
    assert frame.left <= x_at(drawn, threshold, frame) <= frame.width - frame.right
    assert 1 <= len(y_ticks(drawn, frame)) <= 5


@given(COUNTS)
def test_funnel_ends_with_the_training_set(fates: dict[Fate, int]) -> None:
    """Each step loses what it says, and kept and rectified rows remain."""
    steps = funnel(fates)
    assert steps[0].remaining == sum(fates.values())
    for before, after in pairwise(steps):
        assert before.remaining - after.left == after.remaining
    assert steps[-1].remaining == sum(fates.get(fate, 0) for fate in EXPORTED)


@given(COUNTS, st.integers(0, 3_000))
def test_shares_fill_the_places_fairly(counts: dict[Fate, int], limit: int) -> None:
    """All places are taken, and who got less than another got all that it has."""
    shares = fair_shares(counts, limit)
    assert sum(shares.values()) == min(limit, sum(counts.values()))
    for fate, share in shares.items():
        if share < max(shares.values()) - 1:
            assert share == counts[fate]
