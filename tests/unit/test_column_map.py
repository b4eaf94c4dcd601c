"""What `--map` says, given once or several times."""

from __future__ import annotations

import pytest

from clear_pipeline.cli.options import column_map
from clear_pipeline.errors import UsageError


def test_all_that_is_given_counts() -> None:
    """A second option adds to the first; spaces around names are none of them."""
    both = {"prompt": "question", "response": "answer"}
    assert column_map(["prompt=question,response=answer"]) == both
    assert column_map(["prompt=question", " response = answer "]) == both
    assert column_map([]) is column_map(None) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["prompt=a", "prompt=b"], "names a field twice"),
        (["prompt=a,prompt=b"], "names a field twice"),
        (["prompt=a", "response"], "expected prompt=COLUMN,response=COLUMN"),
    ],
)
def test_what_is_no_map(given: list[str], told: str) -> None:
    """It is refused, with what was given."""
    with pytest.raises(UsageError, match=f"^--map {','.join(given)}: {told}"):
        column_map(given)
