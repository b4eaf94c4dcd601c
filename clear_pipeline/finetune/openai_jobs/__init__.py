"""Training on somebody else's machines: the fine-tuning jobs API of OpenAI and its likes."""

from clear_pipeline.finetune.openai_jobs.trainer import OpenAIJobs

__all__ = ["OpenAIJobs"]
