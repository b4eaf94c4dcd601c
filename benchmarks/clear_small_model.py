"""The model of `benchmarks/clear_small.py`: read once, trained by `lora`, asked in batches."""

from __future__ import annotations

import copy
import gc
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import torch
from transformers import PreTrainedModel

from clear_pipeline.finetune.base import TrainingContext
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.lora.labels import Encoded, encode
from clear_pipeline.finetune.lora.prepare import Prepared
from clear_pipeline.finetune.lora.source import model_of, tokenizer_of
from clear_pipeline.finetune.lora.train import fit
from clear_pipeline.finetune.rows import TrainingRow
from clear_pipeline.formats.base import Parsed
from clear_pipeline.llm.base import Choice
from clear_pipeline.schema import Example, Message
from clear_pipeline.stages.base import SilentProgress

Numbers: TypeAlias = Literal["f32", "bf16"]
_TYPES: Final = {"f32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Learnt:
    """A trained model, and how its training went."""

    model: PreTrainedModel
    steps: int
    best_step: int


class SmallModel:
    """A model in memory, of which every training gets a copy.

    Args:
        weights: GGUF file or directory.
        rows_at_once: How many rows are answered in a batch.
        numbers: In which products of matrices are computed; with `bf16` a model answers with
            weights in 16 bits too, and only those that are trained have 32.
    """

    def __init__(self, weights: Path, *, rows_at_once: int, numbers: Numbers) -> None:
        self.numbers: Final = numbers
        self._weights = weights
        self._rows_at_once = rows_at_once
        self._tokenizer = tokenizer_of(weights)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        if self._device == "cuda":
            torch.set_float32_matmul_precision("high")
        self._encoded: dict[tuple[tuple[Message, ...], Message], Encoded] = {}
        self._untrained = model_of(weights).to(self._device)
        self.base = copy.deepcopy(self._untrained).to(_TYPES[numbers])

    def trained(
        self, settings: Lora, rows: Sequence[Example], *, valid: Sequence[Example]
    ) -> Learnt:
        """A copy of the model that was trained on rows.

        Raises:
            RunFailedError: The loss became no number before the first checkpoint.
        """
        ready = Prepared(self._weights, self._tokenizer, self._all(rows), self._all(valid), ())
        with tempfile.TemporaryDirectory(prefix="clear-small-") as folder:
            ctx = TrainingContext(Path(folder), SilentProgress())
            with self._computing():
                fitted = fit(self._copied(settings), settings, ready, ctx)
        gc.collect()  # the loop and its model refer to each other, and fill a GPU otherwise
        steps, best = (int(fitted.summary[name] or 0) for name in ("steps", "weights of step"))
        model = fitted.model.to(_TYPES[self.numbers])
        model.requires_grad_(True)  # else torch copies the head's weights for each row of a batch
        return Learnt(model, steps, best)

    def _copied(self, settings: Lora) -> PreTrainedModel:
        """The model to train; what of it stays as it is has the numbers of the products."""
        model = copy.deepcopy(self._untrained)
        decoder = model.get_decoder()
        if settings.method == "lora":
            return model.to(_TYPES[self.numbers])
        if settings.top_layers is not None:
            frozen = len(decoder.layers) - settings.top_layers
            for module in (decoder.embed_tokens, *decoder.layers[:frozen]):
                module.to(_TYPES[self.numbers])
        return model

    def _computing(self) -> torch.autocast:
        """Without a cache: it would keep weights of the first step for all others."""
        return torch.autocast(
            self._device, torch.bfloat16, enabled=self.numbers == "bf16", cache_enabled=False
        )

    def _all(self, rows: Sequence[Example]) -> list[Encoded]:
        return [self._of(row) for row in rows]

    def _of(self, row: Example) -> Encoded:
        """The tokens of a row; most rows are in most arms."""
        key = row.messages, row.target
        if key not in self._encoded:
            parsed = Parsed(messages=row.messages, target=row.target)
            self._encoded[key] = encode(TrainingRow(row.line, {}, parsed), self._tokenizer)
        return self._encoded[key]

    def answers(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[Message]], *, max_tokens: int
    ) -> list[Choice]:
        """What a model says, the most likely token at each place, in the order of the prompts."""
        texts = [self._rendered(turns) for turns in prompts]
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        found: dict[int, Choice] = {}
        model.eval()
        for start in range(0, len(order), self._rows_at_once):
            numbers = order[start : start + self._rows_at_once]
            said = self._generated(model, [texts[n] for n in numbers], max_tokens)
            found.update(zip(numbers, said, strict=True))
        return [found[n] for n in range(len(texts))]

    def _rendered(self, turns: Sequence[Message]) -> str:
        chat = [{"role": turn.role, "content": turn.text} for turn in turns]
        text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return str(text)

    def _generated(
        self, model: PreTrainedModel, texts: Sequence[str], max_tokens: int
    ) -> list[Choice]:
        batch = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(self._device)
        end, pad = self._tokenizer.eos_token_id, self._tokenizer.pad_token_id
        with torch.inference_mode():
            made = model.generate(
                **batch,
                max_new_tokens=max_tokens,
                do_sample=False,
                use_cache=True,
                eos_token_id=end,
                pad_token_id=pad,
            )
        width = batch["input_ids"].shape[1]
        return [self._choice(ids, end) for ids in made[:, width:].tolist()]

    def _choice(self, ids: Sequence[int], end: int) -> Choice:
        whole = end in ids
        text = self._tokenizer.decode(ids[: ids.index(end)] if whole else ids)
        return Choice(str(text), "stop" if whole else "length")
