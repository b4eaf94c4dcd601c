"""Training files of the arms from one run: who is in which, how many, and the same again."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.models.training import TrainingSets, training_sets
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run

CITIES = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Quito")


def one_of(**choices: float) -> Choice:
    top = tuple((word.strip("_"), math.log(p)) for word, p in choices.items())
    return Choice(top[0][0], "length", (Token(*top[0], top),))


def script(request: ChatRequest, _: int) -> Choice:
    """Sure of the last four cities; rates the first four best; corrects Lima alone."""
    text = request.messages[-1].text
    if not isinstance(request.top_logprobs, int):
        return Choice("The new answer, a better one.", "stop")
    place = min((CITIES.index(city) for city in CITIES if city in text), default=0)
    if "one digit" in text:
        return one_of(_5=0.9, _1=0.1) if place < 4 else one_of(_5=0.1, _1=0.9)
    if (asked := re.search(r"Is response (\w) the right", text)) is not None:
        shown = text.split(f"<response-{asked[1]}>\n")[1].split("\n<")[0]
        return one_of(Yes=0.99, No=0.01) if "new" in shown and place == 3 else one_of(
            Yes=0.01, No=0.99
        )  # fmt: skip
    share = (place + 1) / 10
    return one_of(Yes=share, No=1 - share)


def data(folder: Path) -> Path:
    """Eight rows, one of them twice, and one that cannot be read."""
    path = folder / "data.jsonl"
    said = [(f"Name city {n}.", f"It is {city}, of course it is.") for n, city in enumerate(CITIES)]
    lines = [json.dumps({"prompt": p, "completion": c}) for p, c in [*said, said[0]]]
    path.write_text("\n".join([*lines, "{"]) + "\n")
    return path


def run(folder: Path, out: str, stages: Sequence[str], *more: str) -> Run:
    config = build_config(preset="fast", stages=stages, assignments=more)
    model = ScriptedChat(script)
    models = {"scorer": model, "candidate": model, "judge": model}
    return Pipeline(config, models=models).run(data(folder), out=folder / out)


CHAIN = ("dedup", "score", "filter", "rectify")


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    return run(tmp_path, "run", CHAIN, "score.reflection=[yes_no]")


def answers(out: Path, arm: str) -> set[str]:
    """The cities of an arm's file; "new" for the corrected response."""
    found = set()
    for line in (out / arm / "train.jsonl").read_text().splitlines():
        said = json.loads(line)["messages"][-1]["content"]
        found.add("new" if "new" in said else next(city for city in CITIES if city in said))
    return found


def test_each_arm_has_its_rows(finished: Run, tmp_path: Path) -> None:
    """Filter keeps the surer half; correction adds Lima's new response; the halves are as large."""
    rated = run(tmp_path, "rated", ("dedup", "score"), "score.reflection=[rating]")
    out = tmp_path / "arms"
    found = training_sets(finished, out, ratings=rated)
    assert {arm.name: arm.rows for arm in found.arms} == {
        "full": 8,
        "random-half": 4,
        "rating-half": 4,
        "auto-filter": 4,
        "auto-correct": 5,
    }
    assert answers(out, "full") == set(CITIES)
    assert answers(out, "auto-filter") == set(CITIES[4:])
    assert answers(out, "rating-half") == set(CITIES[:4])
    assert answers(out, "auto-correct") == {*CITIES[4:], "new"}
    assert answers(out, "random-half") < set(CITIES)
    assert found.absent == {}


def test_the_manifest_tells_sizes_and_hashes(finished: Run, tmp_path: Path) -> None:
    """`arms.json` is what was returned, with the SHA-256 of each file and who is in no arm."""
    out = tmp_path / "arms"
    found = training_sets(finished, out)
    assert TrainingSets.model_validate_json((out / "arms.json").read_text()) == found
    assert found.pool == 8
    assert (found.left_out["duplicate"], found.left_out["quarantined"]) == (1, 1)
    assert all(arm.sha256 == file_sha256(out / arm.file) for arm in found.arms)
    assert found.arms[-1].rectified == 1


def test_a_run_without_ratings_has_no_rating_half(finished: Run, tmp_path: Path) -> None:
    """It is not made up of something else: what to do is said."""
    found = training_sets(finished, tmp_path / "arms")
    assert "score.reflection=[rating]" in found.absent["rating-half"]
    assert not (tmp_path / "arms" / "rating-half").exists()


def test_the_random_half_hangs_on_the_seed(finished: Run, tmp_path: Path) -> None:
    """The same seed draws the same rows, and one of a few others does not."""
    draws = {seed: training_sets(finished, tmp_path / f"s{seed}", seed=seed) for seed in range(5)}
    again = training_sets(finished, tmp_path / "again", seed=0)
    assert again.arms == draws[0].arms
    halves = {seed: answers(tmp_path / f"s{seed}", "random-half") for seed in draws}
    assert any(half != halves[0] for half in halves.values())
    others = {found.arms[2].sha256 for found in draws.values()}
    assert len(others) == 1  # auto-filter has no draw


def test_an_arm_that_is_gone_leaves_no_file(finished: Run, tmp_path: Path) -> None:
    """A second call without ratings does not leave the rating-half of the first one there."""
    rated = run(tmp_path, "rated", ("dedup", "score"), "score.reflection=[rating]")
    training_sets(finished, tmp_path / "arms", ratings=rated)
    training_sets(finished, tmp_path / "arms")
    assert not (tmp_path / "arms" / "rating-half" / "train.jsonl").exists()


def test_what_cannot_be_compared_is_refused(finished: Run, tmp_path: Path) -> None:
    """Without a filter there is no Auto-Filter; a run directory takes no other files."""
    unfiltered = run(tmp_path, "unfiltered", ("dedup",))
    with pytest.raises(UsageError, match="has no filter"):
        training_sets(unfiltered, tmp_path / "arms")
    with pytest.raises(UsageError, match="is the run directory"):
        training_sets(finished, finished.path)
    foreign = tmp_path / "mine" / "full"
    foreign.mkdir(parents=True)
    (foreign / "train.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="no export wrote this file"):
        training_sets(finished, tmp_path / "mine")
    assert (foreign / "train.jsonl").read_text() == "mine"


def test_a_run_without_rectify_has_no_auto_correct(tmp_path: Path) -> None:
    """All other arms are there."""
    filtered = run(tmp_path, "filtered", CHAIN[:3], "score.reflection=[yes_no]")
    found = training_sets(filtered, tmp_path / "arms")
    assert [arm.name for arm in found.arms] == ["full", "random-half", "auto-filter"]
    assert "has no rectify" in found.absent["auto-correct"]
