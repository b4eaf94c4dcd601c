"""The model that is trained: its tokenizer and weights, of a GGUF file or a directory, in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from clear_pipeline.errors import UsageError
from clear_pipeline.finetune.lora.hub import HubModel
from clear_pipeline.llm.catalog import CATALOG, require_safetensors
from clear_pipeline.llm.pull import obtain
from clear_pipeline.llm.quiet import silent

Note = Callable[[str], None]


def weights_of(base: str, *, note: Note) -> Path:
    """The file or directory; a model of the catalogue or of the hub is fetched if need be.

    Raises:
        UsageError: As `HubModel.folder`.
        WeightsError: It could not be had.
    """
    if base in CATALOG:
        return obtain(CATALOG[base], note=note)
    if (model := HubModel.named(base)) is not None:
        return model.folder(note)
    return Path(base)


@lru_cache(maxsize=1)
def tokenizer_of(weights: Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside the weights, with its chat template.

    Raises:
        UsageError: There is none that transformers can read, or no chat template.
    """
    with silent():
        try:
            made = AutoTokenizer.from_pretrained(**_place(weights))
        except Exception as error:
            raise UsageError(f"{weights}: its tokenizer cannot be read: {error}") from error
    if not made.chat_template:
        raise UsageError(f"{weights}: has no chat template, so no model to train on conversations")
    if made.pad_token is None:
        made.pad_token = made.eos_token
    return made


def model_of(weights: Path) -> PreTrainedModel:
    """The model in 32-bit floats, whatever its precision on disk.

    Raises:
        UsageError: transformers does not know its architecture, or a directory has no safetensors.
    """
    if weights.is_dir():
        require_safetensors(weights)
    with silent():
        try:
            model = AutoModelForCausalLM.from_pretrained(
                **_place(weights),
                **(
                    {"use_safetensors": True}
                    if weights.is_dir()
                    else {"quantization_config": GgufConfig(dequantize=True)}
                ),
                dtype="float32",
            )
        except Exception as error:
            raise UsageError(f"{weights}: cannot be read as a model: {error}") from error
    # It is a plain model from here on, and nothing may take it for a quantized one.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        model.__dict__.pop(name, None)
    model.config.use_cache = False
    model.name_or_path = model.config.name_or_path = ""  # nobody may look for it on a hub
    return model


def require_layers(weights: Path, top: int | None) -> None:
    """Make sure that a model has so many layers; nothing but its description is read.

    Raises:
        UsageError: It has fewer, or transformers does not know its architecture.
    """
    if top is None:
        return
    with silent():
        try:
            config = AutoConfig.from_pretrained(**_place(weights))
        except Exception as error:
            raise UsageError(f"{weights}: cannot be read as a model: {error}") from error
    layers = config.get_text_config(decoder=True).num_hidden_layers
    if top > layers:
        raise UsageError(f"top_layers={top}, but the model has {layers} layers")


def _place(weights: Path) -> dict[str, Any]:
    """Where the library reads them: from this machine alone, and no code that lies beside them."""
    place: dict[str, Any] = {
        "local_files_only": True,
        "trust_remote_code": False,  # else the library asks, whoever sits there
    }
    if weights.is_dir():
        return {"pretrained_model_name_or_path": weights, **place}
    return {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name, **place}
