"""The cross-encoder: what it computes, shown on a model of three weights, and what it needs."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path

import pytest

from clear_pipeline.errors import CallError, MissingExtraError, UsageError, WeightsError
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.scoring.cross_encoder import load_cross_encoder
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score

LABELS = {"0": "entailment", "1": "neutral", "2": "CONTRADICTION"}
WORDS = ["[UNK]", "wrong"]


def row(response: str) -> Example:
    return Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", "What is it?"),),
        target=Message("assistant", response),
        original="{}",
    )


def tiny_model(folder: Path, *, window: int = 64, labels: dict[str, str] = LABELS) -> str:
    """Logits are 0, 0 and ln 2 for every word "wrong" in the hypothesis."""
    for needed in ("onnxruntime", "tokenizers", "onnx"):
        pytest.importorskip(needed, reason="pip install 'clear-pipeline[nli]' onnx")
    import onnx
    import tokenizers
    from onnx import TensorProto, helper

    ids, types = (
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, None])
        for name in ("input_ids", "token_type_ids")
    )
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    weights = [0.0, 0.0, 0.0, 0.0, 0.0, math.log(2)]
    table = helper.make_tensor("table", TensorProto.FLOAT, [2, 3], weights)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["second", "two"], ["mask"]),
        helper.make_node("Mul", ["each", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["logits"], keepdims=0),
    ]
    axes = [helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("one", 1), ("two", 2))]
    graph = helper.make_graph(nodes, "tiny", [ids, types], [logits], [table, *axes])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "model.onnx")
    words = tokenizers.models.WordLevel(dict(zip(WORDS, range(2), strict=True)), "[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(4)  # as saved models often say; it must not be obeyed
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"id2label": labels}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": window}))
    return str(folder)


def test_agreement_is_one_minus_the_mean_contradiction_of_both_directions(tmp_path: Path) -> None:
    """Contradiction 1/3 one way and 2/4 the other, read from the label of that name."""
    model = load_cross_encoder(tiny_model(tmp_path))
    found = asyncio.run(model.agreement(row("right"), "wrong"))
    assert found == pytest.approx(1 - (1 / 3 + 1 / 2) / 2)


def test_a_long_answer_counts_with_all_its_sentences(tmp_path: Path) -> None:
    """Passages with one and no "wrong", of 2 sentences each: the mean of 1/2 and 1/3."""
    model = load_cross_encoder(tiny_model(tmp_path))
    long = "It is right. It is right. It is right. It is wrong."
    found = asyncio.run(model.agreement(row("right"), long))
    assert found == pytest.approx(1 - (1 / 3 + (1 / 2 + 1 / 3) / 2) / 2)


def test_a_pair_beyond_the_window_is_an_error_and_is_not_cut(tmp_path: Path) -> None:
    """With the number of tokens, although the saved tokenizer would cut it."""
    model = load_cross_encoder(tiny_model(tmp_path, window=8))
    with pytest.raises(CallError, match=r"context: .* is \d\d tokens long.* takes 8"):
        asyncio.run(model.agreement(row("right"), "wrong"))


def test_a_model_that_does_not_name_contradiction_is_refused(tmp_path: Path) -> None:
    """The order of labels is never guessed."""
    labels = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    name = tiny_model(tmp_path, labels=labels)
    with pytest.raises(UsageError, match="LABEL_0, LABEL_1, LABEL_2"):
        load_cross_encoder(name)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    """With the command that makes one."""
    for needed in ("onnxruntime", "tokenizers"):
        pytest.importorskip(needed, reason="pip install 'clear-pipeline[nli]'")
    with pytest.raises(WeightsError, match="optimum-cli export onnx"):
        load_cross_encoder(str(tmp_path))


def test_without_the_extra_the_error_has_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is installed here or not."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = ScriptedChat(lambda r, i: "FINAL RESPONSE: 4")
    ctx = Context(models={"scorer": model})
    stage = Score(k=1, similarity="nli")
    with pytest.raises(MissingExtraError, match=r"pip install 'clear-pipeline\[nli\]'"):
        asyncio.run(stage.annotate(Shard("s", rows_table([row("4")])), [True], None, ctx))
    assert model.requests == [], "said before the first call"
