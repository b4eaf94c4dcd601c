"""Scores given responses with cleanlab's TLM (PyPI `trustworthy-llm`), default quality preset.

TLM takes its model from the environment: its self-reflection does not see what `score` is given.
It asks for log-probabilities only from models that it knows by name, so two names are measured:
the served one (`openai/NAME`), as a user of a local server gives it, and TLM's own default model,
which the proxy turns into the served one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.peers import worker

os.environ |= {
    "OPENAI_API_BASE": worker.BASE_URL,
    "OPENAI_BASE_URL": worker.BASE_URL,
    "OPENAI_API_KEY": "none",
    "DEFAULT_API_KEY": "none",
    "DEFAULT_PROVIDER": "openai",
    "DEFAULT_MODEL": worker.MODEL,
    # litellm else fetches its price list and reads a .env file.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
worker.stay_on_loopback()

from tlm import TLM  # noqa: E402 -- reads the environment above

_TLM = TLM()


def score(messages: Sequence[worker.Turn], response: str) -> float | None:
    """Trustworthiness of a response that is given, in [0, 1]."""
    completion = {"choices": [{"message": {"role": "assistant", "content": response}}]}
    result = _TLM.score(
        response={"chat_completion": completion}, messages=list(messages), model=worker.MODEL
    )
    value: float | None = result["trustworthiness_score"]
    return value


if __name__ == "__main__":
    worker.serve(score)
