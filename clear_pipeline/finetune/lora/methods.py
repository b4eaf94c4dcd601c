"""What of a model is trained, at what rate, and how it becomes a plain model again."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from clear_pipeline.errors import UsageError
from clear_pipeline.finetune.lora.checkpoints import Checkpoint
from clear_pipeline.finetune.lora.settings import Lora
from clear_pipeline.llm.quiet import quiet

_LAYER: Final = re.compile(r"\.layers\.(\d+)\.")
_BLOCK: Final = 32
"""Feed-forward widths are multiples of it, as the block formats of GGUF need them."""


class ParallelAdapter(nn.Module):
    """A narrow feed-forward layer beside the one that is there, gated like it.

    It adds nothing at first. Since both have the same form, they can be joined into one wider
    feed-forward layer, and any program that runs the model runs it with its adapters.
    """

    def __init__(self, mlp: nn.Module, *, rank: int, dropout: float) -> None:
        super().__init__()
        inputs = mlp.gate_proj.in_features
        self.mlp = mlp
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(inputs, rank, bias=False)
        self.down = nn.Linear(rank, inputs, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The sum of both."""
        seen = self.dropout(hidden)
        added: torch.Tensor = self.down(self.mlp.act_fn(self.gate(seen)) * self.up(seen))
        return self.mlp(hidden) + added

    def joined(self, width: int) -> nn.Module:
        """One feed-forward layer that computes the same, `width` wide."""
        mlp = self.mlp
        spare = width - mlp.gate_proj.out_features - self.gate.out_features
        for old, new in ((mlp.gate_proj, self.gate), (mlp.up_proj, self.up)):
            old.weight = nn.Parameter(_padded(old.weight, new.weight, spare, dim=0))
            old.out_features = width
        down = _padded(mlp.down_proj.weight, self.down.weight, spare, dim=1)
        mlp.down_proj.weight = nn.Parameter(down)
        mlp.down_proj.in_features = width
        return mlp


def _padded(old: torch.Tensor, new: torch.Tensor, spare: int, *, dim: int) -> torch.Tensor:
    shape = list(new.shape)
    shape[dim] = spare
    return torch.cat([old.detach(), new.detach(), new.new_zeros(shape)], dim=dim)


@quiet()
def trainable(model: PreTrainedModel, settings: Lora) -> PreTrainedModel | PeftModel:
    """The model with what is trained marked by `requires_grad`, and nothing else.

    Args:
        model: It has the `top_layers` that are to be trained, see `source.require_layers`.
        settings: Of the trainer.

    Raises:
        UsageError: It has no gated feed-forward layers.
    """
    layers = model.get_decoder().layers
    top = len(layers) if settings.top_layers is None else settings.top_layers
    trained = range(len(layers) - top, len(layers))
    if settings.method == "lora":
        return get_peft_model(
            model,
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=settings.dropout,
                target_modules=_linear(model, trained),
                task_type="CAUSAL_LM",
            ),
        )
    whole = settings.method == "full" and settings.top_layers is None
    model.requires_grad_(whole)
    if settings.method == "adapters":
        for index in trained:
            layers[index].mlp = _with_adapter(layers[index].mlp, settings)
    elif not whole:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(depth(name, len(layers)) in {*trained, len(layers)})
    return model


def _linear(model: nn.Module, trained: Collection[int]) -> list[str]:
    """Names of the linear modules of these layers."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and (found := _LAYER.search(name)) is not None
        and int(found[1]) in trained
    ]


def _with_adapter(mlp: nn.Module, settings: Lora) -> ParallelAdapter:
    if not all(hasattr(mlp, part) for part in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        raise UsageError("method adapters needs gated feed-forward layers; take lora")
    return ParallelAdapter(mlp, rank=settings.rank, dropout=settings.dropout)


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Put what was trained until a checkpoint into the model."""
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(checkpoint.path / "adapter_model.safetensors"))
    else:  # tied weights stand there once
        model.load_state_dict(load_file(checkpoint.path / "model.safetensors"), strict=False)


def plain(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The same model without anything beside its layers; what was trained is part of them."""
    if isinstance(model, PeftModel):
        merged: PreTrainedModel = model.merge_and_unload()
        return merged
    layers = model.get_decoder().layers
    adapters = [layer.mlp for layer in layers if isinstance(layer.mlp, ParallelAdapter)]
    if adapters:
        widest = model.config.intermediate_size + adapters[0].gate.out_features
        width = -(-widest // _BLOCK) * _BLOCK
        for layer in layers:
            mlp = layer.mlp
            if not isinstance(mlp, ParallelAdapter):  # all layers have the same width
                mlp = ParallelAdapter(mlp, rank=1, dropout=0.0).to(mlp.gate_proj.weight)
            layer.mlp = mlp.joined(width)
        model.config.intermediate_size = width
    return model


def depth(name: str, layers: int) -> int:
    """Where a parameter stands: -1 for embeddings, its layer, or `layers` for what is above."""
    if (found := _LAYER.search(name)) is not None:
        return int(found[1])
    return -1 if "embed_tokens" in name else layers


def by_depth(model: nn.Module, layers: int) -> Mapping[int, list[nn.Parameter]]:
    """The parameters that are trained, those at the top first."""
    found: dict[int, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[depth(name, layers)].append(parameter)
    return {at: found[at] for at in sorted(found, reverse=True)}


def parameter_groups(
    groups: Mapping[int, list[nn.Parameter]], settings: Lora
) -> list[dict[str, Any]]:
    """What the optimiser takes: rates that fall from layer to layer, decay of matrices alone."""
    top = max(groups)
    made: list[dict[str, Any]] = []
    for at, parameters in groups.items():
        rate = settings.peak_rate * settings.layer_decay ** (top - at)
        for decays in (True, False):
            chosen = [each for each in parameters if (each.ndim > 1) is decays]
            if chosen:
                decay = settings.weight_decay if decays else 0.0
                made.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return made


def thawed(groups: Mapping[int, list[nn.Parameter]], share: float) -> int:
    """How many of the groups, from the top, are trained when `share` of the thaw is over."""
    return len(groups) if share >= 1 else min(len(groups), 1 + int(share * len(groups)))
