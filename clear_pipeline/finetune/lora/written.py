"""A trained model on disk, in the form in which it was given, and how it is asked from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from transformers import PreTrainedModel

from clear_pipeline.durable import sync_directory, writing
from clear_pipeline.errors import UsageError
from clear_pipeline.finetune.lora.checkpoints import CHECKPOINTS
from clear_pipeline.finetune.lora.gguf_file import Precision, write_gguf
from clear_pipeline.finetune.lora.prepare import Prepared
from clear_pipeline.llm.settings import ModelSettings

GGUF: Final = "model.gguf"
DIRECTORY: Final = "model"


def require_place(folder: Path, source: Path, precision: Precision) -> None:
    """Make sure, before anything is read or trained, that a model like `source` can go there.

    Raises:
        UsageError: It cannot, or `source` would be written over.
    """
    places = [(folder / name).resolve() for name in (DIRECTORY, GGUF, CHECKPOINTS)]
    if any(map(source.resolve().is_relative_to, places)):
        raise UsageError(f"base: {source} is where this training writes to; give another --out")
    if source.is_dir() and precision == "q8_0":
        raise UsageError("weights: q8_0 is for GGUF files; a directory takes f16 or f32")


def written(
    model: PreTrainedModel, ready: Prepared, folder: Path, precision: Precision
) -> ModelSettings:
    """Write a plain model; returns how it is asked.

    Raises:
        UnwritableError: A full disk, or no leave to write there.
    """
    if not ready.weights.is_dir():
        path = (folder / GGUF).resolve()
        write_gguf(model, ready.weights, path, precision)
        return ModelSettings(model=str(path))
    path = (folder / DIRECTORY).resolve()
    _write_directory(model, ready, path, precision)
    return ModelSettings(model=str(path))


def _write_directory(
    model: PreTrainedModel, ready: Prepared, path: Path, precision: Precision
) -> None:
    partial, old = (path.with_name(f".{path.name}.{word}") for word in ("partial", "old"))
    with writing(path):
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        (model.half() if precision == "f16" else model).save_pretrained(partial)
        ready.tokenizer.save_pretrained(partial)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        sync_directory(path.parent)
        shutil.rmtree(old, ignore_errors=True)
