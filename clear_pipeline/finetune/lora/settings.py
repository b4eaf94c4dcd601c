"""The trainer `lora`: what is trained of a model, for how long and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import MissingExtraError, UsageError
from clear_pipeline.finetune.base import (
    Finding,
    Measured,
    Price,
    Standing,
    Trained,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.lora.checkpoints import CHECKPOINTS, newest
from clear_pipeline.finetune.lora.hub import HubModel
from clear_pipeline.llm.catalog import (
    CATALOG,
    DEFAULT_MODEL,
    directory_digest,
    is_model_directory,
)
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings

LIBRARIES: Final = ("torch", "transformers", "peft", "accelerate", "gguf")
"""Of the extra `train`."""


class Lora(Settings):
    """Train a model of this machine, and write what came out in the form in which it was given.

    The optimiser is AdamW, gradients are cut at a norm of 1, and the loss is the mean of -log p
    over the learnt tokens alone.
    """

    name: ClassVar[str] = "lora"
    version: ClassVar[int] = 2
    unsearchable: ClassVar[Mapping[str, str]] = {
        "base": "losses of models with other tokens do not compare",
        "max_tokens": "it decides which rows the loss is measured on",
        "seed": "the best of several seeds is luck",
        "weights": "the loss is measured before the model is written",
    }

    kind: Literal["lora"] = "lora"
    base: str = DEFAULT_MODEL
    """A model of the catalogue, the path of a GGUF file, that of a directory of safetensors, or a
    name of the Hugging Face Hub, as ORG/NAME or ORG/NAME@REVISION."""
    method: Literal["lora", "partial", "adapters", "full"] = "lora"
    """`lora`: low-rank matrices beside all linear layers (Hu et al. 2021). `adapters`: a gated
    bottleneck beside each feed-forward layer (He et al. 2022). `partial`: all weights of the top
    layers. `full`: all weights."""
    rank: Annotated[int, Field(ge=1)] = 16
    """Of `lora`, or the width of an adapter."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """What `lora` adds is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of inputs that `lora` and `adapters` leave out at random in each step."""
    top_layers: Annotated[int, Field(ge=1)] | None = None
    """How many layers are trained, from the top; None = all."""
    unfreeze: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the steps over which layers begin to be trained, one after the other from the top;
    0 = all from the first step."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of a layer, as a part of that of the layer above it."""
    epochs: Annotated[int, Field(ge=1)] = 3
    """How often each row is learnt from."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Rows computed at once."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches that make one step."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Its peak; None = 2e-4 for `lora` and `adapters`, 1e-5 (that of the paper) for the others."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps in which the rate rises to its peak."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls from its peak: to 0, or not."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of matrices."""
    max_tokens: Annotated[int, Field(ge=8)] = 1024
    """Longer rows are left out, with a warning."""
    checks_per_epoch: Annotated[int, Field(ge=1)] = 4
    """How often at most the validation loss is measured and a checkpoint written."""
    patience: Annotated[int, Field(ge=1)] | None = 3
    """Measurements in a row without a better validation loss after which training ends; None = all
    epochs. The best step's weights are used in either case."""
    seed: int = 0
    """Of the order of rows and of new weights."""
    weights: Literal["f16", "f32", "q8_0"] = "f16"
    """How the matrices are written; q8_0 in GGUF files alone."""

    @model_validator(mode="after")
    def _partial_is_a_part(self) -> Self:
        if self.method == "partial" and self.top_layers is None:
            raise ValueError("method partial trains the top layers: say how many with top_layers")
        return self

    @property
    def peak_rate(self) -> float:
        """The learning rate at its peak."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.method in ("lora", "adapters") else 1e-5

    def identity(self) -> dict[str, JSON]:
        """The settings, with the content of the weights in place of their path."""
        return {**self.model_dump(mode="json"), "base": base_identity(self.base)}

    def base_model(self) -> ModelSettings | None:
        """As `Trainer.base_model`: one of the catalogue, of a GGUF file or of a directory."""
        require_libraries()
        if self.base in CATALOG:
            return ModelSettings(model=self.base)
        path = Path(self.base).resolve()
        is_here = path.is_file() or is_model_directory(path)
        return ModelSettings(model=str(path)) if is_here else None

    def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
        """As `Trainer.preflight`; the weights are fetched if they are not on this machine yet."""
        require_libraries()
        from clear_pipeline.finetune.lora.prepare import prepared
        from clear_pipeline.finetune.lora.source import require_layers
        from clear_pipeline.finetune.lora.written import require_place

        ready = prepared(self, data, ctx.progress)
        require_place(ctx.folder, ready.weights, self.weights)
        require_layers(ready.weights, self.top_layers)
        return ready.findings

    def standing(self, ctx: TrainingContext) -> Standing:
        """As `Trainer.standing`; a training has begun once it has a checkpoint."""
        return "fresh" if newest(ctx.folder / CHECKPOINTS) is None else "begun"

    def price(self, data: TrainingData) -> Price:  # noqa: ARG002  # as Trainer has it
        """Nothing: this machine computes."""
        return Price(usd=0.0, tokens=None, basis="this machine")

    async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
        """As `Trainer.train`; it computes to its end without a pause."""
        require_libraries()
        from clear_pipeline.finetune.lora.train import train

        return train(self, data, ctx)

    def space(self) -> Mapping[str, JSON]:
        """As `SearchableTrainer.space`: the rate within a factor of ten, and what goes with it."""
        rate: JSON = {"low": self.peak_rate / 10, "high": self.peak_rate * 10, "log": True}
        width: Mapping[str, JSON] = (
            {"rank": [8, 16, 32]} if self.method in ("lora", "adapters") else {}
        )
        epochs: JSON = {"low": 1, "high": 5}
        return {"learning_rate": rate, "batch_size": [4, 8, 16], **width, "epochs": epochs}

    def in_effect(self) -> Mapping[str, Any]:
        """As `SearchableTrainer.in_effect`."""
        return {**self.model_dump(mode="json"), "learning_rate": self.peak_rate}

    async def measure(
        self, data: TrainingData, ctx: TrainingContext, *, early_stop: bool
    ) -> Measured:
        """As `SearchableTrainer.measure`; it computes to its end without a pause."""
        require_libraries()
        from clear_pipeline.finetune.lora.measure import measure

        settings = self if early_stop else self.model_copy(update={"patience": None})
        return measure(settings, data, ctx)


def base_identity(base: str) -> str:
    """What stands for the weights, however they are called.

    Raises:
        UsageError: It is neither in the catalogue nor on this machine, nor on the hub.
        WeightsError: It may be on the hub, which cannot be asked.
    """
    if base in CATALOG:
        return CATALOG[base].identity
    path = Path(base)
    if path.is_file():
        return f"weights:{file_sha256(path)}"
    if (model := HubModel.named(base)) is not None:
        require_libraries()
        return f"hub:{model.name}@{model.commit}"
    if not is_model_directory(path):
        raise UsageError(
            f"base: {base} is no GGUF file, no directory of a model (with config.json), not in the "
            f"catalogue ({', '.join(CATALOG)}), and no name of the Hugging Face Hub (ORG/NAME)"
        )
    return f"directory:{directory_digest(path)}"


def require_libraries() -> None:
    """Make sure that the extra is installed, without importing anything.

    Raises:
        MissingExtraError: One is missing.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"the trainer lora needs {', '.join(missing)}: pip install 'clear-pipeline[train]'"
        )
