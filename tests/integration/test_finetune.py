"""Fine-tuning from the command line to a model that answers through the one seam."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from transformers import PreTrainedModel  # noqa: E402

from clear_pipeline.cli import app  # noqa: E402
from clear_pipeline.config import build_config  # noqa: E402
from clear_pipeline.finetune import Trained, fine_tune  # noqa: E402
from clear_pipeline.finetune.lora.gguf_file import require_faithful  # noqa: E402
from clear_pipeline.finetune.lora.labels import Encoded  # noqa: E402
from clear_pipeline.finetune.lora.prepare import prepared  # noqa: E402
from clear_pipeline.finetune.lora.source import model_of, weights_of  # noqa: E402
from clear_pipeline.llm.base import ChatRequest  # noqa: E402
from clear_pipeline.llm.budget import Budget  # noqa: E402
from clear_pipeline.llm.catalog import DEFAULT_MODEL, model_named  # noqa: E402
from clear_pipeline.llm.embedded import EmbeddedChat  # noqa: E402
from clear_pipeline.llm.meter import Meter  # noqa: E402
from clear_pipeline.llm.open import model_identity, open_model  # noqa: E402
from clear_pipeline.llm.settings import BudgetSettings  # noqa: E402
from clear_pipeline.llm.spend import Spend  # noqa: E402
from clear_pipeline.pipeline import Pipeline  # noqa: E402
from clear_pipeline.schema import Message  # noqa: E402
from clear_pipeline.stages.base import SilentProgress  # noqa: E402
from lora_rows import context, settings, training_data  # noqa: E402

COMMAND = CliRunner()
ROOT = Path(__file__).parents[2]


def test_finetune_a_file(tmp_path: Path) -> None:
    """A table, the files and the next command; the same command again trains nothing."""
    data, base = training_data(tmp_path), settings(tmp_path).base
    words = [
        "finetune",
        str(data.train),
        "--out",
        str(tmp_path / "out"),
        "--valid",
        str(data.valid),
    ]
    for assignment in (f"base={base}", "batch_size=4", "learning_rate=1e-2"):
        words += ["--set", assignment]
    first = COMMAND.invoke(app, words)
    assert first.exit_code == 0, first.output
    model = tmp_path / "out" / "model.gguf"
    assert f"next: clear-pipeline run DATA --out RUN --model {model}" in first.stdout
    assert "validation loss before" in first.stdout
    assert "<polyline" in (tmp_path / "out" / "curve.svg").read_text()
    written = model.stat().st_mtime_ns
    again = COMMAND.invoke(app, [*words, "--json"])
    assert json.loads(again.stdout)["model"]["model"] == str(model)
    assert model.stat().st_mtime_ns == written


def test_finetune_a_run(tmp_path: Path) -> None:
    """The rows that the run exports are trained on, and measured on those that it held out."""
    config = build_config(stages=["dedup"])
    finished = Pipeline(config).run(ROOT / "data" / "demo", out=tmp_path / "run")
    words = ["finetune", str(finished.path), "--out", str(tmp_path / "out"), "--json"]
    for assignment in (f"base={settings(tmp_path).base}", "epochs=1", "max_tokens=4000"):
        words += ["--set", assignment]
    done = COMMAND.invoke(app, words)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)["summary"]
    exported = finished.manifest.export
    assert exported["valid"] > 0
    assert summary["rows"] == exported["train"] - 1  # a tool call: the template has no place for it
    assert summary["validation rows"] == exported["valid"]


def test_general_rows(tmp_path: Path) -> None:
    """They are drawn from any format and kept beside the training; the table has both losses.

    With another share the directory is refused, and its files stay as they are.
    """
    data, base = training_data(tmp_path), settings(tmp_path).base
    general = tmp_path / "general.csv"
    general.write_text("prompt,completion\n" + "".join(f"is {n} odd?,no\n" for n in range(30)))
    out = tmp_path / "out"
    words = ["finetune", str(data.train), "--out", str(out), "--valid", str(data.valid)]
    for assignment in (f"base={base}", "batch_size=4", "epochs=1"):
        words += ["--set", assignment]
    words += ["--mix", str(general), "--mix-share"]
    done = COMMAND.invoke(app, [*words, "0.2"])
    assert done.exit_code == 0, done.output
    assert "4 of 20 rows (20.0 %)" in done.stdout
    assert "general loss before" in done.stdout
    files = {path: path.read_bytes() for path in (out / "data").iterdir()}
    assert sorted(path.name for path in files) == ["general.jsonl", "mixed.jsonl"]
    assert files[out / "data" / "mixed.jsonl"].startswith(data.train.read_bytes())
    assert files[out / "data" / "general.jsonl"].count(b"\n") == 3
    assert not list(out.glob(".data*"))
    again = COMMAND.invoke(app, [*words, "0.2", "--json"])
    assert json.loads(again.stdout)["general"]["rows"] == 3
    other = COMMAND.invoke(app, [*words, "0.4"])
    assert "holds a training with other train, mix" in str(other.exception)
    assert {path: path.read_bytes() for path in (out / "data").iterdir()} == files


def test_a_wrong_setting(tmp_path: Path) -> None:
    """The error names it and says what is near."""
    words = ["finetune", "train.jsonl", "--out", str(tmp_path / "out"), "--set", "learningrate=1"]
    failed = COMMAND.invoke(app, words)
    assert failed.exit_code != 0
    assert "learning_rate" in str(failed.exception)


def test_no_such_trainer(tmp_path: Path) -> None:
    """The error lists those that there are."""
    words = ["finetune", "train.jsonl", "--out", str(tmp_path / "out"), "--trainer", "magic"]
    failed = COMMAND.invoke(app, words)
    assert "no trainer 'magic'; there are lora" in str(failed.exception)


@pytest.mark.parametrize("weights", ["f16", "f32"])
@pytest.mark.parametrize("method", ["lora", "adapters", "partial", "full"])
def test_trainer_and_server_agree(tmp_path: Path, method: str, weights: str) -> None:
    """Log-probabilities of all tokens after each token of an answer are equal within 1e-2.

    Both read the file. That it holds what was trained, its validation loss tells.
    """
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    made = settings(
        tmp_path, method=method, weights=weights, top_layers=1 if method == "partial" else None
    )
    data = training_data(tmp_path)
    trained = asyncio.run(fine_tune(made, data, context(tmp_path)))
    valid = prepared(made, data, SilentProgress()).valid
    model = model_of(Path(trained.model.model))
    assert trained.summary["validation loss"] == pytest.approx(loss(model, valid), abs=1e-2)
    row = valid[0]
    first = next(at for at, label in enumerate(row.labels) if label >= 0)
    with torch.no_grad():
        expected = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], dim=-1)
    served = asyncio.run(served_logprobs(trained, row.ids, first))
    assert len(served) == len(row.ids) - first
    for at, logprobs in served.items():
        assert len(logprobs) == 280
        for token, logprob in logprobs.items():
            assert logprob == pytest.approx(float(expected[at - 1, token]), abs=1e-2)


def loss(model: PreTrainedModel, rows: Sequence[Encoded]) -> float:
    """Mean of -log p over all learnt tokens, each row by itself."""
    told: list[float] = []
    for row in rows:
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], dim=-1)
        told += [
            -float(logprobs[at - 1, label]) for at, label in enumerate(row.labels) if label >= 0
        ]
    return sum(told) / len(told)


async def served_logprobs(
    trained: Trained, ids: tuple[int, ...], first: int
) -> dict[int, dict[int, float]]:
    """By position and token, what the embedded server says of the tokens after a prefix."""
    chat = await embedded(trained)
    try:
        found = {}
        for at in range(first, len(ids)):
            body: dict[str, Any] = {
                "prompt": list(ids[:at]), "n_predict": 1, "n_probs": 280, "temperature": -1,
            }  # fmt: skip
            reply: Any = await chat.ask_root("/completion", body)
            (told,) = reply["completion_probabilities"]
            found[at] = {each["id"]: each["logprob"] for each in told["top_logprobs"]}
        return found
    finally:
        await chat.close()


async def embedded(trained: Trained) -> EmbeddedChat:
    model = model_named(trained.model.model)
    assert model is not None
    account = Budget(BudgetSettings(), Spend()).account(model.name, None, Meter())
    return await EmbeddedChat.start(trained.model, model, account=account, note=print)


def test_the_trained_model_answers_through_the_seam(tmp_path: Path) -> None:
    """What was learnt by heart is answered; the identity is that of the weights."""
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    made = settings(tmp_path, method="full", epochs=12, patience=None)
    trained = asyncio.run(fine_tune(made, training_data(tmp_path), context(tmp_path)))

    async def answer() -> tuple[str, str]:
        model = await open_model(trained.model, cache_path=None, meter=Meter())
        try:
            messages = (Message("user", "the colour of a?"),)
            asked = ChatRequest(messages, max_output_tokens=8, temperature=0.0)
            return (await model.complete(asked)).text, model.identity
        finally:
            await model.close()

    text, identity = asyncio.run(answer())
    assert text in ("red", "blue")
    assert identity == model_identity(trained.model)
    assert identity.startswith("weights:")


@pytest.mark.llm
def test_the_catalogue_model_can_be_written_back() -> None:
    """Its quantized weights come into torch and back without a change."""
    weights = weights_of(DEFAULT_MODEL, note=print)
    require_faithful(model_of(weights), weights)
