"""Arms and test rows: settings that are refused, examples in the prompt, leaks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.cli.evaluate_model import ArmOptions
from clear_pipeline.errors import ConfigError, NothingReadableError, UsageError
from clear_pipeline.evaluate.models.arms import read_settings
from clear_pipeline.evaluate.models.held_out import draw_examples, leak, read_held_out
from clear_pipeline.load import LoadSettings
from clear_pipeline.prompts.few_shot import few_shot_messages
from clear_pipeline.schema import Example, Message

URL = "http://127.0.0.1:8000/v1"
LOAD = LoadSettings()


def arm(name: str, model: str = "", **more: object) -> dict[str, Any]:
    return {"name": name, "model": {"model": model or name, "base_url": URL}, **more}


def rows(path: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    lines = [json.dumps({"prompt": asked, "completion": said}) for asked, said in pairs]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_file_and_the_command_line_make_one_list(tmp_path: Path) -> None:
    """Arms of both are compared; seeds of one name are a group; the first arm is the baseline."""
    file = tmp_path / "arms.yaml"
    file.write_text(
        "arms:\n"
        f"- {{name: zero-shot, model: {{model: base, base_url: {URL}}}}}\n"
        f"- {{name: few-shot, model: {{model: base, base_url: {URL}}}, few_shot: 2,"
        " examples: train.jsonl}\n"
        "resamples: 200\n"
    )
    found = read_settings(file, arms=[arm("filter@1", "f1"), arm("filter@2", "f2")])
    assert {name: len(arms) for name, arms in found.groups.items()} == {
        "zero-shot": 1,
        "few-shot": 1,
        "filter": 2,
    }
    assert (found.base, found.resamples, found.max_answer_tokens) == ("zero-shot", 200, 512)


@pytest.mark.parametrize(
    ("arms", "more", "said"),
    [
        ([arm("a"), arm("a", "b")], {}, "two arms are called 'a'; seeds are told apart as a@1"),
        ([arm("a"), arm("A", "b")], {}, "two arms are called 'a'"),
        ([arm("a", "m"), arm("b", "m")], {}, "a and b ask the same of one model"),
        ([arm("../a")], {}, "String should match pattern"),
        ([arm("judge")], {}, "'judge' means the judge"),
        ([arm("a", few_shot=2)], {}, "few_shot: N and examples: FILE go together"),
        ([arm("a")], {"baseline": "b"}, "baseline: no arm 'b'; there are a"),
        ([arm("a", sed=1)], {}, "unknown key 'sed'; did you mean 'seed'?"),
        ([arm("a")], {"judge": {"model": {"model": "j"}, "form": "stars"}}, "'rating'"),
    ],
)
def test_wrong_settings_are_refused(
    arms: list[dict[str, Any]], more: Mapping[str, Any], said: str
) -> None:
    """Whatever would compare nothing, or something else than it says, is told before any call."""
    with pytest.raises(ConfigError) as caught:
        read_settings(None, arms=arms, **more)
    assert said in str(caught.value)


def test_a_file_of_weights_is_an_arm(tmp_path: Path) -> None:
    """Two GGUF files are told apart by what they hold; one that is not there is told at once."""
    files = [tmp_path / "one.gguf", tmp_path / "two.gguf"]
    arms = [{"name": file.stem, "model": {"model": str(file)}} for file in files]
    files[0].write_bytes(b"GGUF 1")
    with pytest.raises(UsageError, match=r"two\.gguf: no such file"):
        read_settings(None, arms=arms)
    files[1].write_bytes(b"GGUF 2")
    assert len(read_settings(None, arms=arms).arms) == 2
    files[1].write_bytes(b"GGUF 1")
    with pytest.raises(ConfigError, match="one and two ask the same of one model"):
        read_settings(None, arms=arms)


@pytest.mark.parametrize("role", ["arm", "judge"])
def test_a_directory_without_a_model(tmp_path: Path, role: str) -> None:
    """Its path is no name that OpenAI knows; a server that knows it has an address."""
    model: dict[str, Any] = {"model": str(tmp_path)}
    arms = [{"name": "a", "model": model}] if role == "arm" else [arm("a")]
    judge = {"model": model} if role == "judge" else None
    told = f"{tmp_path} is a directory that holds no model.*--base-url"
    with pytest.raises(ConfigError, match=told):
        read_settings(None, arms=arms, judge=judge)
    model["base_url"] = URL
    assert read_settings(None, arms=arms, judge=judge).arms


def test_no_arm_says_how_to_name_one() -> None:
    """Without arms there is nothing to do."""
    with pytest.raises(UsageError, match="--arm NAME=MODEL"):
        read_settings(None)


def test_two_servers_with_one_model_name_are_refused() -> None:
    """Answers are kept without the port: both would get those of the first."""
    other = {"name": "b", "model": {"model": "m", "base_url": "http://localhost:9000/v1"}}
    with pytest.raises(ConfigError, match="set `revision` of each"):
        read_settings(None, arms=[arm("a", "m", few_shot=1, examples="t"), other])
    other["model"] = {"model": "m", "base_url": "http://localhost:9000/v1", "revision": "r2"}
    assert len(read_settings(None, arms=[arm("a", "m"), other]).arms) == 2


def test_an_error_in_the_file_names_its_place(tmp_path: Path) -> None:
    """File, line and column, as for a config."""
    file = tmp_path / "arms.yaml"
    file.write_text("arms:\n- name: a\n  model: {modle: x}\n")
    with pytest.raises(ConfigError) as caught:
        read_settings(file)
    assert f"{file}:3:11" in str(caught.value)
    assert "did you mean 'model'" in str(caught.value)


def test_options_say_the_same_as_a_file(tmp_path: Path) -> None:
    """The endpoint is that of arms and judge; limits of the file stay beside them."""
    file = tmp_path / "arms.yaml"
    file.write_text("load: {max_line_bytes: 4096}\nbudget: {max_usd: 1}\nbaseline: b\n")
    options = ArmOptions(
        arm=["a=m=1", "b=n"], arms=file, base_url=URL, judge="j", judge_form="rating",
        max_answer_tokens=9, mapping=["prompt=q,response=r"], limit=5,
    )  # fmt: skip
    found = options.settings({"max_calls": 3})
    assert [(a.name, a.model.model, a.model.base_url) for a in found.arms] == [
        ("a", "m=1", URL),
        ("b", "n", URL),
    ]
    assert found.judge is not None
    assert (found.judge.model.model, found.judge.model.url, found.judge.form) == (
        "j",
        URL,
        "rating",
    )
    assert (found.base, found.max_answer_tokens) == ("b", 9)
    assert (found.load.map, found.load.limit) == ({"prompt": "q", "response": "r"}, 5)
    assert found.load.max_line_bytes == 4096
    assert (found.budget.max_usd, found.budget.max_calls) == (1, 3)


def example(*turns: tuple[str, str], answer: str = "?") -> Example:
    messages = tuple(Message(role, text) for role, text in turns)
    return Example("t:1", "t", 1, "openai", messages, Message("assistant", answer), "{}")


def test_examples_stand_between_the_instructions_and_the_question() -> None:
    """The row's own system turn comes first; those of the examples are left out."""
    shot = example(("system", "Be long."), ("user", "1 + 1?"), answer="2")
    asked = example(("system", "Be short."), ("user", "2 + 2?"))
    assert [(turn.role, turn.text) for turn in few_shot_messages(asked, [shot])] == [
        ("system", "Be short."),
        ("user", "1 + 1?"),
        ("assistant", "2"),
        ("user", "2 + 2?"),
    ]
    assert few_shot_messages(asked, []) == asked.messages


def test_drawn_examples_hang_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    """The same file in another order gives the same examples, another seed others; no test row."""
    pairs = [(f"What is {n} + {n}?", str(2 * n)) for n in range(40)]
    test = read_held_out(rows(tmp_path / "test.jsonl", [*pairs[:5]]), LOAD)
    forth = rows(tmp_path / "forth.jsonl", pairs)
    back = rows(tmp_path / "back.jsonl", pairs[::-1])

    def drawn(file: Path, seed: int) -> list[str]:
        found = draw_examples(file, LOAD, count=8, seed=seed, test=test)
        return [row.messages[0].text for row in found]

    assert drawn(forth, 0) == drawn(back, 0)
    assert drawn(forth, 0) != drawn(forth, 1)
    everything = draw_examples(forth, LOAD, count=35, seed=0, test=test)
    assert {row.response for row in everything} == {said for _, said in pairs[5:]}
    with pytest.raises(UsageError, match="36 examples are wanted"):
        draw_examples(forth, LOAD, count=36, seed=0, test=test)


def test_test_rows_in_a_training_file_are_counted(tmp_path: Path) -> None:
    """Two are the same, white space aside; one has its request there with another response."""
    test = read_held_out(
        rows(tmp_path / "test.jsonl", [("a?", "1"), ("b?", "2"), ("c?", "3"), ("d?", "4")]), LOAD
    )
    train = rows(tmp_path / "train.jsonl", [("a? ", "1"), ("b?", "2"), ("c?", "5"), ("e?", "6")])
    found = leak(test, train, LOAD)
    assert (found.rows, found.prompts, found.of) == (2, 1, 4)
    assert found.warning().startswith(f"leak: 3 of 4 test rows stand in {train} (2 with the same")


def test_training_files_need_not_be_laid_out_as_the_test_rows(tmp_path: Path) -> None:
    """The format that is given is that of the test rows; an exported file is read as it is."""
    given = LoadSettings(format="prompt-completion")
    test = read_held_out(rows(tmp_path / "test.jsonl", [("a?", "1"), ("b?", "2")]), given)
    alike = rows(tmp_path / "alike.jsonl", [("a?", "1")])
    turns = [{"role": "user", "content": "b?"}, {"role": "assistant", "content": "2"}]
    exported = tmp_path / "train.jsonl"
    exported.write_text(json.dumps({"messages": turns}) + "\n")
    assert [leak(test, train, given).rows for train in (alike, exported)] == [1, 1]


def test_rows_without_a_reference_are_left_out_and_told(tmp_path: Path) -> None:
    """A row without a response cannot be scored; it is no wrong answer."""
    file = rows(tmp_path / "test.jsonl", [("a?", "1"), ("b?", ""), ("c?", "3")])
    with file.open("a") as more:
        more.write('{"prompt": "d?"}\n')
    test = read_held_out(file, LOAD)
    assert [row.id for row in test.rows] == ["test.jsonl:1", "test.jsonl:3"]
    (remark,) = test.remarks()
    assert remark.startswith("left out 2 test rows: test.jsonl:2: ")
    assert "test.jsonl:4: missing key 'completion'" in remark


def test_a_limit_is_of_the_test_rows_alone(tmp_path: Path) -> None:
    """With --limit 1 the training file is still read to its end."""
    test = read_held_out(rows(tmp_path / "t.jsonl", [("b?", "2"), ("a?", "1")]), LOAD)
    limited = LoadSettings(limit=1)
    assert len(read_held_out(tmp_path / "t.jsonl", limited).rows) == 1
    train = rows(tmp_path / "train.jsonl", [("x?", "0"), ("a?", "1")])
    assert leak(test, train, limited).rows == 1


@pytest.mark.parametrize("text", ["", '{"prompt": "a?"}\n'])
def test_an_empty_test_set_is_refused(tmp_path: Path, text: str) -> None:
    """No row with a response, no evaluation."""
    file = tmp_path / "test.jsonl"
    file.write_text(text)
    with pytest.raises(NothingReadableError, match="no usable row"):
        read_held_out(file, LOAD)
