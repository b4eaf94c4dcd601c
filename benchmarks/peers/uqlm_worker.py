"""Scores given responses with uqlm, without the NLI model that it fetches from a hub.

    uqlm_worker.py ensemble
    uqlm_worker.py judge

`ensemble` is its default, that of BSDetector, less `noncontradiction`: exact match with 5 sampled
answers (weight 0.14) and its judge (0.30). `judge` is the judge alone, on its scale of 0 to 100.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.peers import worker

os.environ |= {"HF_HUB_OFFLINE": "1", "LANGSMITH_TRACING": "false", "OPENAI_API_KEY": "none"}
worker.stay_on_loopback()

from langchain_openai import ChatOpenAI  # noqa: E402 -- reads the environment above
from uqlm import LLMPanel, UQEnsemble  # noqa: E402

SAMPLES = 5
"""uqlm's default."""

_LLM = ChatOpenAI(
    model=worker.MODEL,
    base_url=worker.BASE_URL,
    api_key="none",
    temperature=0.0,
    max_tokens=worker.ANSWER_TOKENS,
    timeout=600,
)


async def ensemble(prompt: str, response: str) -> float:
    """Exact match with samples and the judge's verdict, weighted as uqlm weights them."""
    scorer = UQEnsemble(
        llm=_LLM, scorers=["exact_match", _LLM], weights=[0.14, 0.30], use_best=False
    )
    samples = await scorer.generate_candidate_responses([prompt], num_responses=SAMPLES)
    result = await scorer.score([prompt], [response], samples, show_progress_bars=False)
    return float(result.data["ensemble_scores"][0])


async def judge(prompt: str, response: str) -> float:
    """The judge's number, which ranks finer than its three words."""
    panel = LLMPanel(judges=[_LLM], scoring_templates=["continuous"])
    result = await panel.score([prompt], [response], show_progress_bars=False)
    return float(result.data["judge_1"][0])


def main(name: str) -> None:
    """Serve; all rows in one event loop, to which the client's connections belong."""
    method = {"ensemble": ensemble, "judge": judge}[name]
    with asyncio.Runner() as runner:
        worker.serve(
            lambda messages, response: runner.run(method(worker.prompt_text(messages), response))
        )


if __name__ == "__main__":
    main(sys.argv[1])
