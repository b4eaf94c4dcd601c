"""The trainer `openai-jobs` before anything is uploaded: files, price, settings, curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.errors import DamagedRunError, UsageError
from clear_pipeline.finetune import Finding, Point, TrainingContext, TrainingData
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.finetune.openai_jobs.curve import curve_of
from clear_pipeline.finetune.openai_jobs.record import Job, Record
from clear_pipeline.finetune.openai_jobs.trainer import CLOSING
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.stages.base import SilentProgress

ELSEWHERE = ModelSettings(model="some-model", base_url="https://tuning.example.org/v1")


def row(question: str, answer: str = "yes", **columns: Any) -> dict[str, Any]:  # noqa: ANN401
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **columns}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def rows(count: int, prefix: str = "q") -> list[dict[str, Any]]:
    return [row(f"{prefix}{number}") for number in range(count)]


def found(trainer: OpenAIJobs, data: TrainingData, folder: Path) -> tuple[list[str], list[str]]:
    """Errors and warnings, as they are shown."""
    findings = trainer.preflight(data, TrainingContext(folder, SilentProgress()))
    told: dict[str, list[str]] = {"error": [], "warning": []}
    for each in findings:
        assert isinstance(each, Finding)
        told[each.severity].append(str(each))
    return told["error"], told["warning"]


def test_good_files(tmp_path: Path) -> None:
    """Ten different rows and another to measure on: nothing is found."""
    train = write(tmp_path / "train.jsonl", *rows(10))
    valid = write(tmp_path / "valid.jsonl", row("other"))
    assert found(OpenAIJobs(base=ELSEWHERE), TrainingData(train, valid), tmp_path) == ([], [])


def test_findings_have_their_lines(tmp_path: Path) -> None:
    """Each error names file, line and reason; what is no JSON is one of them."""
    train = write(tmp_path / "train.jsonl", *rows(10), {"messages": [{"role": "user"}]})
    with train.open("a") as file:
        file.write("{oops\n")
    errors, warnings = found(OpenAIJobs(base=ELSEWHERE), TrainingData(train), tmp_path)
    assert errors[:2] == [
        "train.jsonl:11: turn 1: content is missing",
        "train.jsonl:11: no turn of the assistant: there is nothing to learn",
    ]
    assert errors[2].startswith("train.jsonl:12: no JSON: ")
    assert (len(errors), warnings) == (3, [])


def test_files_as_a_whole(tmp_path: Path) -> None:
    """Nine rows are too few, an empty validation file is none, and a file has a size limit."""
    train = write(tmp_path / "train.jsonl", *rows(9))
    valid = write(tmp_path / "valid.jsonl")
    size = train.stat().st_size
    trainer = OpenAIJobs(base=ELSEWHERE, max_file_bytes=size - 1)
    errors, _ = found(trainer, TrainingData(train, valid), tmp_path)
    assert errors == [
        f"train.jsonl: {size:,} bytes, at most {size - 1:,} are taken (max_file_bytes)",
        "train.jsonl: 9 rows, at least 10 are needed",
        "valid.jsonl: no row: leave the validation file out",
    ]


def test_repeats_are_warnings(tmp_path: Path) -> None:
    """A row that stands twice, and one that is learnt and measured on, are told with both lines."""
    train = write(tmp_path / "train.jsonl", *rows(10), row("q2"))
    valid = write(tmp_path / "valid.jsonl", row("other"), row("q4"))
    errors, warnings = found(OpenAIJobs(base=ELSEWHERE), TrainingData(train, valid), tmp_path)
    assert errors == []
    assert warnings == [
        "train.jsonl:11: says the same as line 3",
        "valid.jsonl:2: is learnt as well: line 5 of the training file says the same",
    ]


def test_earlier_turns_are_learnt_too(tmp_path: Path) -> None:
    """The platform learns every turn of the assistant that has no weight 0: that is told."""
    turns = [*row("a")["messages"], *row("b")["messages"]]
    weighted = [turns[0], turns[1] | {"weight": 0}, *turns[2:]]
    train = write(tmp_path / "train.jsonl", *rows(9), {"messages": turns}, {"messages": weighted})
    _, warnings = found(OpenAIJobs(base=ELSEWHERE), TrainingData(train), tmp_path)
    assert len(warnings) == 1
    assert warnings[0].startswith("train.jsonl: 1 rows have earlier turns of the assistant")


def test_long_rows(tmp_path: Path) -> None:
    """399 bytes are 100 tokens by length, with 4 a turn and 3 at the end 111: told as such."""
    train = write(tmp_path / "train.jsonl", *rows(9), row("x" * 377, "y" * 6))
    data = TrainingData(train)
    # user, x..., assistant, y..., with three line feeds: 4 + 377 + 9 + 6 + 3 = 399 bytes
    errors, _ = found(OpenAIJobs(base=ELSEWHERE, max_tokens_per_row=111), data, tmp_path)
    assert errors == []
    errors, _ = found(OpenAIJobs(base=ELSEWHERE, max_tokens_per_row=110), data, tmp_path)
    (error,) = errors
    assert error == (
        "train.jsonl:10: 111 tokens, counted by length, 4 bytes each: the model reads 110, and the "
        "end, which is to be learnt, would be cut off (max_tokens_per_row)"
    )


def test_images_are_not_counted(tmp_path: Path) -> None:
    """The bytes of a picture are no tokens, and that they are left out is told."""
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    turns = [
        {"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A cat."},
    ]
    train = write(tmp_path / "train.jsonl", *rows(9), {"messages": turns})
    trainer = OpenAIJobs(base=ELSEWHERE, max_tokens_per_row=100)
    assert found(trainer, TrainingData(train), tmp_path) == (
        [],
        ["train.jsonl: 1 rows have images, whose tokens are not counted"],
    )


def test_price(tmp_path: Path) -> None:
    """Tokens times epochs times dollars: 10 rows of 16 tokens, 4 times, at $25 a million."""
    # user, q0, assistant, yes and three line feeds: 4 + 2 + 9 + 3 + 3 = 21 bytes = 5 tokens;
    # two turns of 4 and 3 at the end: 16
    data = TrainingData(write(tmp_path / "train.jsonl", *rows(10)))
    price = OpenAIJobs(base=ELSEWHERE, n_epochs=4, price_per_mtok=25.0).price(data)
    assert price.tokens == 640
    assert price.usd == pytest.approx(0.016)
    assert price.basis == (
        "counting 160 tokens by length, 4 bytes each (the platform's own count is billed) in 4 "
        "epochs, at $25 per million"
    )


def test_price_that_is_not_known(tmp_path: Path) -> None:
    """Without a price, and where the platform chooses the epochs, nothing is made up."""
    data = TrainingData(write(tmp_path / "train.jsonl", *rows(10)))
    unknown = OpenAIJobs(base=ELSEWHERE).price(data)
    assert (unknown.tokens, unknown.usd) == (480, None)
    assert unknown.basis.endswith("no price is known: give price_per_mtok")
    open_ = OpenAIJobs(base=ELSEWHERE, n_epochs="auto", price_per_mtok=25.0).price(data)
    assert (open_.tokens, open_.usd) == (None, None)
    assert open_.basis.endswith("n_epochs: auto leaves their number open")


def test_price_on_own_machines(tmp_path: Path) -> None:
    """A platform on a machine of one's own costs nothing, however many epochs it takes."""
    data = TrainingData(write(tmp_path / "train.jsonl", *rows(10)))
    own = ModelSettings(model="m", base_url="http://127.0.0.1:9/v1")
    assert OpenAIJobs(base=own).price(data).usd == 0
    assert OpenAIJobs(base=own, n_epochs="auto").price(data).usd == 0


def test_openai_is_told_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever trains at OpenAI is told in one line until when; nobody else is."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    data = TrainingData(write(tmp_path / "train.jsonl", *rows(10)))
    for model, notes in ((ModelSettings(model="gpt-4.1-mini"), [CLOSING]), (ELSEWHERE, [])):
        progress = SilentProgress()
        OpenAIJobs(base=model).preflight(data, TrainingContext(tmp_path, progress))
        assert progress.notes == notes


def test_long_rows_at_openai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's limit of 65,536 tokens holds without a setting."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    train = write(tmp_path / "train.jsonl", *rows(9), row("word " * 65_600))
    errors, _ = found(
        OpenAIJobs(base=ModelSettings(model="gpt-4.1-mini")), TrainingData(train), tmp_path
    )
    assert len(errors) == 1
    assert "the model reads 65,536" in errors[0]


def test_no_key_and_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told before a file is looked at."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ctx = TrainingContext(tmp_path, SilentProgress())
    data = TrainingData(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="no model is given"):
        OpenAIJobs().preflight(data, ctx)
    with pytest.raises(UsageError, match="OPENAI_API_KEY is empty or not set"):
        OpenAIJobs(base=ModelSettings(model="gpt-4.1-mini")).preflight(data, ctx)


def test_identity_is_what_is_asked_for() -> None:
    """Another key, price or waiting time goes on with the same job; other epochs do not."""
    trainer = OpenAIJobs(base=ELSEWHERE)
    keyed = ELSEWHERE.model_copy(update={"api_key_env": "OTHER_KEY", "timeout_s": 5.0})
    same = OpenAIJobs(base=keyed, price_per_mtok=9.0, poll_s=1.0, wait=False)
    assert same.identity() == trainer.identity()
    assert OpenAIJobs(base=ELSEWHERE, n_epochs=4).identity() != trainer.identity()
    assert OpenAIJobs(base=ELSEWHERE, suffix="x").identity() != trainer.identity()


def test_curve() -> None:
    """Losses of one step make one point; a loss over all validation rows goes first."""
    events: list[dict[str, Any]] = [
        {"data": {"step": 2, "train_loss": 1.5}},
        {"data": {"step": 1, "train_loss": 2, "valid_loss": 2.5}},
        {"data": {"step": 2, "valid_loss": 1.75, "full_valid_loss": 1.25}},
        {"data": {"step": True, "train_loss": 9.0}},
        {"data": {"step": 3, "train_loss": float("nan")}},
        {"data": None, "message": "Created"},
    ]
    assert curve_of(events) == (
        Point(step=1, train_loss=2.0, valid_loss=2.5),
        Point(step=2, train_loss=1.5, valid_loss=1.25),
    )


def test_record(tmp_path: Path) -> None:
    """What is written is read again; a file that was changed is refused, not believed."""
    record = Record(tmp_path)
    assert record.read() is None
    job = record.write(Job(job_id="ftjob-1", state="running"))
    assert Record(tmp_path).read() == job
    record.path.write_text(record.path.read_text().replace("ftjob-1", "ftjob-2"))
    with pytest.raises(DamagedRunError, match=r"job\.json: cannot be used"):
        record.read()
