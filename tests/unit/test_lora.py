"""The trainer `lora`: what is learnt, at what rate, when it stops, and how it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from safetensors.torch import load_file  # noqa: E402
from transformers import TrainingArguments  # noqa: E402

from clear_pipeline.errors import (  # noqa: E402
    RunFailedError,
    UntrainableError,
    UsageError,
)
from clear_pipeline.finetune import Finding, TrainingData, fine_tune  # noqa: E402
from clear_pipeline.finetune.lora.labels import IGNORED, Encoded  # noqa: E402
from clear_pipeline.finetune.lora.loop import Loop, on_one_device  # noqa: E402
from clear_pipeline.finetune.lora.methods import (  # noqa: E402
    by_depth,
    parameter_groups,
    plain,
    thawed,
    trainable,
)
from clear_pipeline.finetune.lora.source import model_of, tokenizer_of  # noqa: E402
from clear_pipeline.stages.base import SilentProgress  # noqa: E402
from lora_rows import chat, colours, context, settings, trained, training_data, write  # noqa: E402

METHODS = ["lora", "adapters", "partial", "full"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(tmp_path: Path, method: str) -> None:
    """The validation loss falls, and the curve has each step with its rate."""
    done = trained(tmp_path, method=method, top_layers=1 if method == "partial" else None)
    before, after = done.summary["validation loss before"], done.summary["validation loss"]
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after < 0.8 * before
    assert [point.step for point in done.curve] == list(range(13))
    assert done.curve[1].learning_rate == pytest.approx(0.01)
    assert done.curve[0].valid_loss == before
    assert Path(done.model.model).name == "model.gguf"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_logits_are_computed_where_something_is_learnt(tmp_path: Path, method: str) -> None:
    """Loss and gradients are those of all logits, of rows of unlike length.

    The first row learns its last two tokens, the other one its second and third.
    """
    given = settings(tmp_path, method=method, dropout=0.0)
    model = trainable(model_of(Path(given.base)), given)
    rows = [
        Encoded((5, 6, 7, 8, 9, 10), (IGNORED,) * 4 + (9, 10)),
        Encoded((7, 8, 9), (IGNORED, 8, 9)),
    ]
    tokenizer = tokenizer_of(Path(given.base))
    groups = by_depth(model, 2)
    loop = Loop(model, given, tokenizer, (rows, rows), groups=groups, folder=tmp_path,
                progress=SilentProgress())  # fmt: skip
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 9, 10], [7, 8, 9, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0]]),
        "labels": torch.tensor([[-100] * 4 + [9, 10], [-100, 8, 9, -100, -100, -100]]),
    }
    whole = model(**batch).loss
    whole.backward()
    gradients = [each.grad.clone() for group in groups.values() for each in group]
    model.zero_grad()
    loss, outputs = loop.compute_loss(model, batch, return_outputs=True)
    loss.backward()
    assert outputs.logits.shape[1] == 4
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)
    for group in groups.values():
        for each in group:
            assert torch.allclose(each.grad, gradients.pop(0), atol=1e-6)
    losses = loop.row_losses(rows)
    assert sum(losses) / 4 == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_top_is_trained(tmp_path: Path, method: str) -> None:
    """With one of two layers, nothing of the lower layer and of the embeddings."""
    base = settings(tmp_path, method=method, top_layers=1)
    model = trainable(model_of(Path(base.base)), base)
    names = {name for name, each in model.named_parameters() if each.requires_grad}
    assert names
    assert all(".layers.1." in name or name == "model.norm.weight" for name in names)
    assert ("model.norm.weight" in names) is (method in ("partial", "full"))


def test_more_layers_than_there_are(tmp_path: Path) -> None:
    """The error says how many the model has."""
    made = settings(tmp_path, top_layers=3)
    with pytest.raises(UsageError, match="top_layers=3, but the model has 2 layers"):
        made.preflight(training_data(tmp_path), context(tmp_path))


def test_rates_fall_from_layer_to_layer(tmp_path: Path) -> None:
    """Norm 0.01, second layer 0.005, first 0.0025, embeddings 0.00125; decay of matrices alone."""
    full = settings(tmp_path, method="full", layer_decay=0.5, weight_decay=0.1)
    groups = by_depth(trainable(model_of(Path(full.base)), full), 2)
    assert list(groups) == [2, 1, 0, -1]
    made = parameter_groups(groups, full)
    assert [(group["lr"], group["weight_decay"]) for group in made] == [
        (0.01, 0.0), (0.005, 0.1), (0.005, 0.0), (0.0025, 0.1), (0.0025, 0.0), (0.00125, 0.1),
    ]  # fmt: skip


def test_layers_thaw_from_the_top() -> None:
    """Of four groups one at first, two after a quarter, all at three quarters."""
    groups: dict[int, list[Any]] = {at: [] for at in (2, 1, 0, -1)}
    shares = (0.0, 0.24, 0.25, 0.5, 0.75, 1.0)
    assert [thawed(groups, share) for share in shares] == [1, 1, 2, 3, 4, 4]


def test_a_frozen_layer_stays_as_it_was(tmp_path: Path) -> None:
    """Of four groups in four steps the embeddings are the last: step 4 alone changes them."""
    trained(tmp_path, method="full", epochs=1, unfreeze=1.0)
    base = model_of(tmp_path / "tiny.gguf").state_dict()
    changed = {}
    for step in (3, 4):
        path = tmp_path / f"out/checkpoints/checkpoint-{step}/model.safetensors"
        weights = load_file(path)
        changed[step] = {name for name in weights if not torch.equal(weights[name], base[name])}
    assert "model.layers.0.mlp.up_proj.weight" in changed[3]
    assert changed[4] - changed[3] == {"model.embed_tokens.weight"}


def test_joined_adapters_compute_the_same(tmp_path: Path) -> None:
    """A wider feed-forward layer gives what the layer and its adapter gave together."""
    base = settings(tmp_path, method="adapters", rank=3, top_layers=1)
    model = trainable(model_of(Path(base.base)), base)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.model.layers[1].mlp.down.weight)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model(ids).logits
        joined = plain(model)
        after = joined(ids).logits
    assert joined.config.intermediate_size == 96  # 64 + 3, in blocks of 32
    assert torch.allclose(before, after, atol=1e-5)


class Counted(SilentProgress):
    """Remembers how many rows were announced and how many came."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.steps = 0, list[int]()

    def start(self, label: str, total: int) -> None:
        self.total = total

    def advance(self, rows: int = 1) -> None:
        self.steps.append(rows)


class Failing(SilentProgress):
    """Whatever is told of the first step, memory runs out."""

    is_open = False

    def start(self, label: str, total: int) -> None:
        self.is_open = True

    def advance(self, rows: int = 1) -> None:
        if rows:
            raise MemoryError

    def finish(self) -> None:
        self.is_open = False


def test_progress_ends_however_training_does(tmp_path: Path) -> None:
    """A bar that stays open would keep the terminal."""
    progress = Failing()
    with pytest.raises(MemoryError):
        asyncio.run(
            fine_tune(settings(tmp_path), training_data(tmp_path), context(tmp_path, progress))
        )
    assert not progress.is_open


def test_progress_counts_rows(tmp_path: Path) -> None:
    """Ten rows in steps of two batches of four: eight and two, in each of two epochs."""
    data = TrainingData(write(tmp_path / "train.jsonl", colours("abcdefghij")))
    progress = Counted()
    made = settings(tmp_path, epochs=2, accumulate=2)
    done = asyncio.run(fine_tune(made, data, context(tmp_path, progress)))
    assert done.summary["steps"] == 4
    assert progress.total == 20
    assert progress.steps == [0, 8, 2, 8, 2]


def test_early_stopping(tmp_path: Path) -> None:
    """Where the validation rows say the opposite, training ends and the best step counts."""
    data = TrainingData(
        write(tmp_path / "train.jsonl", colours("abcdefghijklmnop", ("red", "red"))),
        write(tmp_path / "valid.jsonl", colours("qrst", ("blue", "blue"))),
    )
    made = settings(tmp_path, epochs=20, patience=2, learning_rate=0.02)
    done = asyncio.run(fine_tune(made, data, context(tmp_path)))
    assert done.summary["ended"] == "no better validation loss for a while"
    best, last = done.summary["weights of step"], done.summary["steps"]
    losses = {point.step: point.valid_loss for point in done.curve if point.step}
    assert best == min(losses, key=lambda step: losses[step] or 0.0)
    assert last == max(losses) < 80
    assert isinstance(best, int)
    assert last == best + 2


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    """The last good checkpoint is the result, and the summary says why."""
    done = trained(tmp_path, learning_rate=1e30, warmup=0.9)  # the first step has rate 0
    assert done.summary["ended"] == "the loss was no number any more at step 2"
    assert done.summary["weights of step"] == 1


def test_no_number_before_any_checkpoint(tmp_path: Path) -> None:
    """Nothing is kept; the error says what to change, which may be done in the same directory."""
    with pytest.raises(RunFailedError, match=r"step 1, before the first.*learning_rate"):
        trained(tmp_path, learning_rate=1e30)
    cut_short = tmp_path / "out" / "checkpoints" / "checkpoint-40"
    cut_short.mkdir(parents=True)
    assert trained(tmp_path).summary["steps"] == 12
    assert not cut_short.exists()


def test_checks_of_an_epoch(tmp_path: Path) -> None:
    """Three at most in four steps: after each second."""
    done = trained(tmp_path, checks_per_epoch=3, patience=None)
    measured = [point.step for point in done.curve if point.valid_loss is not None]
    assert measured == [0, 2, 4, 6, 8, 10, 12]


def test_a_batch_is_not_spread_over_devices(tmp_path: Path) -> None:
    """With two GPUs a step still has the rows that were asked for, on one of them."""
    args = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True, report_to="none"
    )
    args._n_gpu = 2
    assert args.train_batch_size == 8
    assert on_one_device(args).train_batch_size == 4


def test_preflight(tmp_path: Path) -> None:
    """Too few rows are an error with their number; rows that are too long are left out."""
    rows = [*colours("abcdefghi"), chat("x" * 500, "y")]
    data = TrainingData(write(tmp_path / "train.jsonl", rows))
    found = settings(tmp_path, max_tokens=100).preflight(data, context(tmp_path))
    assert [(each.row, each.severity) for each in found] == [
        (10, "warning"), (None, "error"), (None, "warning"),
    ]  # fmt: skip
    assert "tokens, more than max_tokens=100: left out" in found[0].reason
    assert found[1] == Finding(data.train, None, "9 usable rows; a training needs at least 10")


class Exhausted(SilentProgress):
    """As torch, where a step takes more memory than the GPU has."""

    def advance(self, rows: int = 1) -> None:
        raise torch.OutOfMemoryError


def test_too_little_memory(tmp_path: Path) -> None:
    """The error names the setting; a search goes on with other ones."""
    with pytest.raises(UntrainableError, match="too little memory for batch_size=4: lower it"):
        asyncio.run(
            fine_tune(settings(tmp_path), training_data(tmp_path), context(tmp_path, Exhausted()))
        )
