"""What of a conversation is learnt, and what a chat template has no way to say."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from transformers import PreTrainedTokenizerBase

from clear_pipeline.finetune import TrainingData
from clear_pipeline.finetune.lora.labels import IGNORED, encode
from clear_pipeline.finetune.lora.source import tokenizer_of
from clear_pipeline.finetune.rows import TrainingRow, training_rows
from clear_pipeline.formats import RowError
from lora_rows import chat, colours, context, settings, write
from tiny_llama import TEMPLATE, tiny_llama


def read(folder: Path, row: dict[str, Any]) -> TrainingRow:
    (found,) = training_rows(write(folder / "row.jsonl", [row]))
    assert isinstance(found, TrainingRow)
    return found


def tokenizer(folder: Path, template: str) -> PreTrainedTokenizerBase:
    """That of the tiny model, with another chat template."""
    tiny_llama(folder / "tiny.gguf")
    made = deepcopy(tokenizer_of(folder / "tiny.gguf"))
    made.chat_template = template
    return made


def learnt(folder: Path, row: dict[str, Any], template: str = TEMPLATE) -> list[str | None]:
    """The tokens of a row, None in place of those that are not learnt."""
    written = tokenizer(folder, template)
    encoded = encode(read(folder, row), written)
    tokens = written.convert_ids_to_tokens(encoded.ids)
    for id_, label in zip(encoded.ids, encoded.labels, strict=True):
        assert label in (IGNORED, id_)
    pairs = zip(tokens, encoded.labels, strict=True)
    return [None if label == IGNORED else token for token, label in pairs]


def calling(arguments: str) -> dict[str, Any]:
    """A row whose answer is a call."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    row = chat("hi", "x")
    row["messages"][1] = {"role": "assistant", "tool_calls": [call]}
    return row


def test_only_the_answer_is_learnt(tmp_path: Path) -> None:
    """Its text and the mark of its end, and nothing of prompt, roles and line ends."""
    # <s> user \n h i </s> \n <s> as sistant \n | a b </s> | \n
    expected = [None] * 11 + ["a", "b", "</s>", None]
    assert learnt(tmp_path, chat("hi", "ab")) == expected


def test_weights_choose_the_turns(tmp_path: Path) -> None:
    """With weight 0 on the last answer the one before is learnt."""
    row = chat("hi", "ab")
    row["messages"][1]["weight"] = 1
    row["messages"] += chat("h", "b")["messages"]
    row["messages"][3]["weight"] = 0
    # <s> user \n h i </s> \n <s> as sistant \n | a b </s> | \n <s> user \n h </s> \n
    # <s> as sistant \n b </s> \n
    assert learnt(tmp_path, row) == [None] * 11 + ["a", "b", "</s>"] + [None] * 14


def test_tools_without_a_place(tmp_path: Path) -> None:
    """A template that passes over tool calls would have nothing learnt: the row is left out."""
    rows = [*colours("abcdefghij"), calling("{}")]
    data = TrainingData(write(tmp_path / "train.jsonl", rows), write(tmp_path / "v.jsonl", rows))
    found = settings(tmp_path).preflight(data, context(tmp_path))
    assert [(each.row, each.severity) for each in found] == [(11, "warning")] * 2
    assert "no place for tool calls: left out" in found[0].reason


CALLS = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}WRITTEN{% endfor %}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
"""A chat template with a place for calls."""


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("{{ call.function.arguments | tojson }}", '{"b": 1, "a": "x"}'),
        (
            "{% for k, v in call.function.arguments | items %}{{ k }}={{ v }},{% endfor %}",
            "b=1,a=x,",
        ),
    ],
)
def test_arguments_are_an_object(tmp_path: Path, written: str, text: str) -> None:
    """Templates that write arguments as JSON, or one by one, are given the object."""
    found = learnt(tmp_path, calling('{"b": 1, "a": "x"}'), CALLS.replace("WRITTEN", written))
    shown = "".join(token for token in found if token).replace("Ġ", " ")
    assert shown == text + "</s>"


def test_arguments_that_are_no_object(tmp_path: Path) -> None:
    """They reach the template as the text that they are."""
    written = CALLS.replace("WRITTEN", "{{ call.function.arguments | tojson }}")
    found = learnt(tmp_path, calling("[1"), written)
    assert "".join(token for token in found if token) == '"[1"</s>'


@pytest.mark.parametrize(
    ("changed", "answer", "said"),
    [
        (("<s>assistant\n{% endif", "<s>assistant\n<think>{% endif"), "ab", "<think>"),
        (
            (
                "{{ message['content'] }}",
                "{{ message['content'] if loop.last or message.role == 'user' }}",
            ),
            "ab",
            "turn 2 anew",
        ),
        (("</s>", ""), "", "is empty, and the chat template marks no end"),
    ],
    ids=["thinks", "forgets", "marks no end"],
)
def test_templates_that_cannot_be_learnt_from(
    tmp_path: Path, changed: tuple[str, str], answer: str, said: str
) -> None:
    """The reason says what the template does, or that there is nothing to learn."""
    row = chat("hi", answer)
    row["messages"] += chat("h", "b")["messages"]
    row["messages"][1]["weight"], row["messages"][3]["weight"] = 1, 0
    with pytest.raises(RowError, match=said):
        encode(read(tmp_path, row), tokenizer(tmp_path, TEMPLATE.replace(*changed)))


def test_no_weight(tmp_path: Path) -> None:
    """Where every turn has weight 0, that is the reason."""
    row = chat("hi", "ab")
    row["messages"][1]["weight"] = 0
    with pytest.raises(RowError, match="every weight is 0"):
        learnt(tmp_path, row)


def test_a_lone_surrogate(tmp_path: Path) -> None:
    """No tokenizer reads it: the row is left out with the reason, as a run does."""
    with pytest.raises(RowError, match="lone surrogate"):
        learnt(tmp_path, chat("hi", "a\ud800"))
