"""What a loop is made of before it begins: its settings, and what each round's run is."""

from __future__ import annotations

from math import nextafter
from pathlib import Path

import numpy as np
import pytest

from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.loop import LoopConfig, build_loop
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.filter import Confidence, Filter

SCORER = {"models": {"scorer": {"model": "judge", "base_url": "http://127.0.0.1:1/v1"}}}
WRITER = ModelSettings(model="ft-1", base_url="http://127.0.0.1:2/v1")


def plan(*assignments: str, stages: tuple[str, ...] = ("score", "filter", "rectify")) -> LoopConfig:
    return build_loop(flags=SCORER, stages=stages, assignments=assignments)


def test_a_file_with_its_sections(tmp_path: Path) -> None:
    """`trainer` and `loop` stand beside the keys of a config; the command line goes before."""
    path = tmp_path / "loop.yaml"
    path.write_text(
        "models: {scorer: {model: judge, base_url: 'http://127.0.0.1:1/v1'}}\n"
        "trainer: {kind: openai-jobs, base: {model: m}, n_epochs: 2}\n"
        "loop: {rounds: 4, min_gain: 0.02}\n"
    )
    made = build_loop(
        path, given={"rounds": 2}, assignments=["trainer.n_epochs=5", "rectify.eta=0.7"]
    )
    assert isinstance(made.trainer, OpenAIJobs)
    assert made.trainer.n_epochs == 5
    assert (made.settings.rounds, made.settings.min_gain) == (2, 0.02)
    assert [stage.kind for stage in made.config.stages] == ["dedup", "score", "filter", "rectify"]


def test_the_paper_goes_round_once() -> None:
    """Without a word about it there is one round, trained by the default trainer."""
    made = plan()
    assert made.settings.rounds == 1
    assert isinstance(made.trainer, Lora)


@pytest.mark.parametrize(
    ("assignments", "stages", "said"),
    [
        (
            ["loop.ronds=2"],
            ("score", "filter", "rectify"),
            r"loop\.ronds: unknown key 'ronds'; did you mean 'rounds'",
        ),
        (["loop.min_gain=2"], ("score", "filter", "rectify"), r"line: loop\.min_gain: "),
        (["trainer.epoch=2"], ("score", "filter", "rectify"), "epochs"),
        ([], ("score", "filter"), "a round needs the stage rectify"),
        (
            ["models.candidate.model=x"],
            ("score", "filter", "rectify"),
            "models that the loop trains write the candidates",
        ),
    ],
)
def test_what_cannot_go_round(assignments: list[str], stages: tuple[str, ...], said: str) -> None:
    """It is refused in one line, before anything is read."""
    with pytest.raises(ConfigError, match=said):
        plan(*assignments, stages=stages)


def test_the_embedded_model_cannot_judge() -> None:
    """Without --model there is no rectify, and the message says what to name."""
    with pytest.raises(ConfigError, match="name a model that can judge with --model"):
        build_loop()


def test_no_such_trainer() -> None:
    """The error lists those that there are."""
    with pytest.raises(UsageError, match="no trainer 'magic'; there are lora"):
        build_loop(flags=SCORER, trainer="magic")


def test_the_first_run_has_no_candidates_yet() -> None:
    """All stages but the one whose writer is to be trained."""
    assert [s.kind for s in plan().sifting().stages] == ["score", "filter"]


def test_a_later_round_keeps_the_first_threshold() -> None:
    """Rows as sure as the last one that was kept are kept: the rule is `>`, just below it."""
    made = plan("load.map={prompt: a, response: b}", "load.max_line_bytes=2000000",
                stages=("score", "cascade", "filter", "rectify"))  # fmt: skip
    config = made.curating(WRITER, 0.5, later=True)
    assert config.models["candidate"] == WRITER
    assert config.load.map is None
    assert config.load.max_line_bytes == 2_000_000
    rules = [s.keep for s in config.stages if isinstance(s, Filter | Cascade)]
    assert rules == [Confidence(confidence=nextafter(0.5, 0))] * 2
    first = made.curating(WRITER, None, later=False)
    assert first.stages == made.config.stages
    assert first.load == made.config.load


def test_a_first_threshold_of_0_drops_no_row_later() -> None:
    """Verdicts in words may give many rows a confidence of 0; all are as sure as the last kept."""
    config = plan().curating(WRITER, 0.0, later=True)
    (rule,) = [s.keep for s in config.stages if isinstance(s, Filter)]
    assert rule.rows(np.array([0.0, 0.0, 0.4])) == 3


def test_identity_is_what_decides_results() -> None:
    """Neither rounds nor prices nor a port; the metric and the trainer's settings do."""
    same = plan(
        "loop.rounds=3", "loop.min_gain=0.1", "models.scorer.base_url=http://127.0.0.1:9/v1"
    )
    assert same.identity() == plan().identity()
    for other in ("loop.metric=exact_match", "trainer.epochs=9", "rectify.eta=0.6"):
        assert plan(other).identity() != plan().identity()


def test_general_rows_belong_to_the_trainings(tmp_path: Path) -> None:
    """They stand under `trainer`, are no setting of it, and make another loop."""
    path = tmp_path / "loop.yaml"
    path.write_text("trainer: {epochs: 2, mix: {data: general.jsonl, share: 0.2}}\n")
    made = build_loop(path, flags=SCORER)
    assert made.trainer == Lora(epochs=2)
    assert made.balance.mix is not None
    assert made.balance.mix.share == 0.2
    assert made.identity() != plan("trainer.epochs=2").identity()
    typed = plan("trainer.epochs=2", "trainer.mix.data=general.jsonl", "trainer.mix.share=0.2")
    assert typed.balance == made.balance


def test_a_cap_in_dollars_needs_the_price_of_trained_models() -> None:
    """Of one at somebody else's endpoint, before anything is spent; one's own model is free."""
    price = "{input: 1, output: 2}"
    capped = ("budget.max_usd=5", f"models.scorer.price_per_mtok={price}")
    away = ModelSettings(model="m", base_url="https://models.example.com/v1")
    with pytest.raises(ConfigError, match=r"loop\.price_per_mtok"):
        plan(*capped).require_possible(away)
    plan(*capped, f"loop.price_per_mtok={price}").require_possible(away)
    plan(*capped).require_possible(ModelSettings(model="m", base_url="http://127.0.0.1:1/v1"))
    plan(*capped).require_possible(None)


def test_models_that_are_served_here_take_no_batches() -> None:
    """That is told before the first batch is paid; a platform's models may take them."""
    batched = build_loop(flags={**SCORER, "mode": "batch"})
    with pytest.raises(ConfigError, match="mode batch needs models of an endpoint"):
        batched.require_possible(ModelSettings(model="smollm2-135m"))
    batched.require_possible(ModelSettings(model="m", base_url="http://127.0.0.1:1/v1"))
