"""Which model is trained, and where what came out is written."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from clear_pipeline.errors import UnwritableError, UsageError  # noqa: E402
from clear_pipeline.finetune.lora.prepare import Prepared  # noqa: E402
from clear_pipeline.finetune.lora.source import model_of, tokenizer_of  # noqa: E402
from clear_pipeline.finetune.lora.written import written  # noqa: E402
from clear_pipeline.llm.torch_model import TorchModel  # noqa: E402
from lora_rows import settings, trained  # noqa: E402
from tiny_llama import tiny_llama  # noqa: E402


def test_a_directory_becomes_a_directory(tmp_path: Path) -> None:
    """A model of safetensors is read from and written to a directory, and named by it."""
    tiny = tiny_llama(tmp_path / "tiny.gguf")
    base = tmp_path / "base"
    tiny.save_pretrained(base)
    tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(base)
    from_file = trained(tmp_path, method="adapters", weights="f32")
    (tmp_path / "out").rename(tmp_path / "of the file")
    done = trained(tmp_path, base=str(base), method="adapters", weights="f32")
    assert done.curve == from_file.curve
    assert done.model.model == str(tmp_path / "out" / "model")
    assert done.model.base_url is None  # torch serves it in this process
    assert done.summary["faster server"] == f"vllm serve {tmp_path / 'out' / 'model'}"
    one, other = (
        model_of(path).state_dict()
        for path in (Path(done.model.model), tmp_path / "of the file" / "model.gguf")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_how_the_base_is_asked(tmp_path: Path) -> None:
    """A file and a directory by their paths; a name of the hub not before it is here."""
    made = settings(tmp_path)
    base = tmp_path / "base"
    tiny_llama(tmp_path / "tiny.gguf").save_pretrained(base)
    for path in (Path(made.base), base):
        route = made.model_copy(update={"base": str(path)}).base_model()
        assert route is not None
        assert (route.model, route.base_url) == (str(path), None)
    assert made.model_copy(update={"base": "org/name"}).base_model() is None


def test_no_such_model(tmp_path: Path) -> None:
    """The error says what a base may be; what could be a path here is not looked up on a hub."""
    with pytest.raises(UsageError, match=r"no name of the Hugging Face Hub \(ORG/NAME\)"):
        settings(tmp_path, base="no-such-model").identity()
    with pytest.raises(UsageError, match="is no GGUF file"):
        settings(tmp_path, base=str(tmp_path / "model")).identity()


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (model_of, ""),
        (tokenizer_of, ""),
        (TorchModel, ""),
        (model_of, "tiny.gguf"),
        (tokenizer_of, "tiny.gguf"),
    ],
)
def test_code_beside_the_weights_is_not_run(
    tmp_path: Path, read: Callable[[Path], object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the configuration asks for, and whatever would be said to a question."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    tiny_llama(tmp_path / "tiny.gguf").save_pretrained(tmp_path / "base")
    tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(tmp_path / "base")
    tokenizer_of.cache_clear()
    (tmp_path / "tiny.gguf").rename(tmp_path / "base" / "tiny.gguf")
    asks: dict[str, object] = {
        "config.json": {"AutoConfig": "odd.Odd"},
        "tokenizer_config.json": {"AutoTokenizer": [None, "odd.Odd"]},
    }
    for file, code in asks.items():
        path = tmp_path / "base" / file
        told = json.loads(path.read_bytes())
        told |= {"model_type": "odd", "tokenizer_class": "Odd", "auto_map": code}
        path.write_text(json.dumps(told))
    run = tmp_path / "was-run"
    (tmp_path / "base" / "odd.py").write_text(f"open({str(run)!r}, 'w')\nclass Odd: pass\n")
    with suppress(UsageError):  # a GGUF file may need nothing of what lies beside it
        read(tmp_path / "base" / name)
    assert not run.exists()


@pytest.mark.parametrize("read", [model_of, TorchModel])
def test_pickled_weights_are_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """They could run code; the error says how a model comes to safetensors."""
    tiny = tiny_llama(tmp_path / "tiny.gguf")
    base = tmp_path / "base"
    tiny.save_pretrained(base)
    tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(base)
    (base / "model.safetensors").unlink()
    torch.save(tiny.state_dict(), base / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"no safetensors, .* save it with save_pretrained"):
        read(base)


def test_q8_0_in_a_directory(tmp_path: Path) -> None:
    """It is refused before anything is trained."""
    tiny_llama(tmp_path / "tiny.gguf").save_pretrained(tmp_path / "base")
    tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(tmp_path / "base")
    with pytest.raises(UsageError, match="q8_0 is for GGUF files"):
        trained(tmp_path, base=str(tmp_path / "base"), weights="q8_0")


def test_the_folder_is_recognised_by_the_content_of_the_weights(tmp_path: Path) -> None:
    """A file that was renamed is the same model, another file is another."""
    first = settings(tmp_path)
    identity = first.identity()
    renamed = Path(first.base).rename(tmp_path / "renamed.gguf")
    assert settings(tmp_path, base=str(renamed)).identity() == identity
    tiny_llama(tmp_path / "other.gguf", seed=1)
    other = settings(tmp_path, base=str(tmp_path / "other.gguf")).identity()
    assert other["base"] != identity["base"]
    assert {**other, "base": identity["base"]} == identity


@pytest.mark.parametrize("name", ["model", "model.gguf", "checkpoints/checkpoint-4"])
def test_the_base_is_not_written_over(tmp_path: Path, name: str) -> None:
    """A base that lies where the result would go is refused, and stays."""
    base = tmp_path / "out" / name
    base.parent.mkdir(parents=True)
    if name != "model.gguf":
        tiny_llama(tmp_path / "tiny.gguf").save_pretrained(base)
        tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(base)
    else:
        tiny_llama(base)
    with pytest.raises(UsageError, match="is where this training writes to; give another --out"):
        trained(tmp_path, base=str(base))
    assert base.exists()


class Full:
    """A tokenizer that no disk takes."""

    def save_pretrained(self, _: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """As long as the new one is not complete the old one is there."""
    model = tiny_llama(tmp_path / "tiny.gguf")
    base, out = tmp_path / "base", tmp_path / "out"
    base.mkdir()
    (out / "model").mkdir(parents=True)
    (out / "model" / "old").touch()
    tokenizer: Any = Full()
    with pytest.raises(UnwritableError):
        written(model, Prepared(base, tokenizer, (), (), ()), out, "f32")
    assert (out / "model" / "old").exists()
    tokenizer = tokenizer_of(tmp_path / "tiny.gguf")
    written(model, Prepared(base, tokenizer, (), (), ()), out, "f32")
    assert [path.name for path in out.iterdir()] == ["model"]
    assert not (out / "model" / "old").exists()
