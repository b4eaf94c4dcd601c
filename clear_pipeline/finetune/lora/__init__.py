"""Training on this machine: LoRA and its relatives, with torch, transformers and peft."""

from clear_pipeline.finetune.lora.settings import Lora

__all__ = ["Lora"]
