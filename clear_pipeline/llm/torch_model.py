"""A causal language model in torch: it answers chats with log-probabilities, or scores a turn.

The model is a directory of safetensors with its tokenizer and chat template. Nothing is fetched,
and no code that lies beside the weights is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.catalog import require_safetensors
from clear_pipeline.llm.quiet import silent
from clear_pipeline.llm.torch_question import Question, RefusedError, for_template

_HERE: Final = {"local_files_only": True, "trust_remote_code": False}
"""Nothing is fetched, and nobody is asked whether code may be run."""
_PROBE: Final = "0123456789"
"""A turn that no template has in it."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token: its id, its text, its log-probability, and the likeliest alternatives."""

    id: int
    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer: its text, `stop` or `length`, its tokens, and how many were computed."""

    text: str
    finish_reason: str
    tokens: tuple[TokenScore, ...]
    computed: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question.

    Attributes:
        samples: The answers.
        prompt_tokens: Of the prompt.
        prompt: Its tokens but the first, if they were asked for.
    """

    samples: tuple[Sample, ...]
    prompt_tokens: int
    prompt: tuple[TokenScore, ...] | None = None


class TorchModel:
    """Answers one question at a time, on a GPU if torch sees one.

    On CPUs it computes in 32-bit floats, whatever the precision of the file.

    Args:
        weights: The directory.

    Raises:
        UsageError: transformers cannot read it, or it has no safetensors or no chat template.
    """

    def __init__(self, weights: Path) -> None:
        require_safetensors(weights)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with silent():
            try:
                self._tokenizer = AutoTokenizer.from_pretrained(weights, **_HERE)
                self._model = AutoModelForCausalLM.from_pretrained(
                    weights,
                    use_safetensors=True,
                    dtype="float32" if device == "cpu" else "auto",
                    **_HERE,
                ).to(device)
            except Exception as error:
                raise UsageError(f"{weights}: cannot be read as a model: {error}") from error
        if not self._tokenizer.chat_template:
            raise UsageError(f"{weights}: has no chat template, so no model to hold conversations")
        self._model.eval()
        self._ends = self._end_tokens()
        # Nothing but what is asked for shapes the answers.
        self._model.generation_config = GenerationConfig()
        self._window: int | None = getattr(self._model.config, "max_position_embeddings", None)

    def answer(self, question: Question, is_cancelled: Callable[[], bool]) -> Answer:
        """Answer, or score.

        Raises:
            RefusedError: The template has no place for a turn, or the prompt is too long.
        """
        if is_cancelled():
            raise RefusedError("nobody waits for the answer")
        ids = self._prompt(question)
        room = question.max_tokens or 1 << 20
        if self._window is not None:
            if len(ids) >= self._window:
                raise RefusedError(
                    f"the prompt has {len(ids)} tokens, which is not less than the model's context "
                    f"length of {self._window}"
                )
            room = min(room, self._window - len(ids))
        scored = None if question.prompt_logprobs is None else self._scored(ids)
        samples = self._samples(question, ids, room, is_cancelled)
        return Answer(samples, len(ids), scored)

    def count(self, asked: str | Question) -> int:
        """Tokens of a text alone, or of a question's prompt as the chat template writes it.

        Raises:
            RefusedError: The template has no place for a turn.
        """
        if isinstance(asked, Question):
            return len(self._prompt(asked))
        return len(self._tokenizer(asked, add_special_tokens=False)["input_ids"])

    def _prompt(self, question: Question) -> list[int]:
        try:
            text = self._tokenizer.apply_chat_template(
                [for_template(message) for message in question.messages],
                tools=question.tools,
                tokenize=False,
                add_generation_prompt=question.add_generation_prompt
                and not question.continue_final_message,
                continue_final_message=question.continue_final_message,
            )
        except Exception as error:  # whatever a template raises
            raise RefusedError(f"the chat template refuses it: {error}") from error
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _scored(self, ids: Sequence[int]) -> tuple[TokenScore, ...]:
        with torch.inference_mode():
            logits = self._model(torch.tensor([ids], device=self._model.device)).logits[0, :-1]
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        chosen = torch.tensor(ids[1:], device=logprobs.device)
        values = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
        return tuple(
            TokenScore(id_, self._text(id_, before), value)
            for before, id_, value in zip(ids, ids[1:], values, strict=False)
        )

    def _samples(
        self, question: Question, ids: Sequence[int], room: int, is_cancelled: Callable[[], bool]
    ) -> tuple[Sample, ...]:
        drawn = question.temperature > 0
        told = _Told(question.top_logprobs if question.logprobs else None)
        config = GenerationConfig(
            max_new_tokens=room,
            do_sample=drawn,
            num_return_sequences=question.n if drawn else 1,
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=next(iter(self._ends), 0),
            stop_strings=list(question.stop) or None,
            **({"temperature": question.temperature, "top_k": 0, "top_p": 1.0} if drawn else {}),
        )
        prompt = torch.tensor([ids], device=self._model.device)
        with torch.random.fork_rng():
            if question.seed is None:
                torch.seed()  # else each question begins at the state that the last one restored
            else:
                torch.manual_seed(question.seed)
            made = self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=config,
                logits_processor=[told],
                stopping_criteria=[_Cancelled(is_cancelled)],
                tokenizer=self._tokenizer,
            )[:, len(ids) :]
        told.settle(made[:, -1])
        samples = tuple(
            self._sample(row, told.of(number), before=ids[-1], stop=question.stop)
            for number, row in enumerate(made.tolist())
        )
        return samples if drawn else samples * question.n

    def _sample(
        self, made: Sequence[int], told: Sequence[_Step], *, before: int, stop: Sequence[str]
    ) -> Sample:
        """One answer, without the mark of its end and what stands after it."""
        length = next((at for at, id_ in enumerate(made) if id_ in self._ends), len(made))
        kept = list(made[:length])
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        cut = min((at for each in stop if (at := text.find(each)) >= 0), default=None)
        pieces = [self._text(id_, prior) for prior, id_ in zip([before, *kept], kept, strict=False)]
        if cut is not None:
            text = text[:cut]
            ends = [sum(map(len, pieces[:at])) for at in range(len(pieces))]
            pieces = [piece for piece, start in zip(pieces, ends, strict=True) if start < cut]
        ended = length < len(made) or cut is not None
        tokens = tuple(
            TokenScore(
                id_,
                piece,
                step.logprob,
                tuple((self._text(other, prior), value) for other, value in step.top),
            )
            for prior, id_, piece, step in zip([before, *kept], kept, pieces, told, strict=False)
        )
        computed = min(len(made), length + 1)
        return Sample(text, "stop" if ended else "length", tokens, computed)

    def _text(self, token: int, before: int) -> str:
        """A token as it reads after another one: some tokenizers drop spaces at the beginning."""
        both: str = self._tokenizer.decode([before, token])
        return both[len(self._tokenizer.decode([before])) :]

    def _end_tokens(self) -> frozenset[int]:
        """What ends an answer: what the model's files say, and what its template ends a turn with.

        A file that was trained further need not say that a turn's end is an end.
        """
        told = self._model.generation_config.eos_token_id
        ends = {told} if isinstance(told, int) else set(told or ())
        ends |= {self._tokenizer.eos_token_id} - {None}
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}]
        with suppress(Exception):  # a template may refuse it
            text = self._tokenizer.apply_chat_template(turns, tokenize=False)
            after = self._tokenizer(text.rpartition(_PROBE)[2], add_special_tokens=False)
            ends |= set(after["input_ids"][:1]) & set(self._tokenizer.added_tokens_decoder)
        return frozenset(ends)


@dataclass(frozen=True, slots=True)
class _Step:
    """What was told of one token: its log-probability, and the likeliest at its place, by id."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class _Told:
    """Takes down log-probabilities as they are before a temperature changes them.

    Args:
        top: How many alternatives of each token; None = nothing is taken down.
    """

    def __init__(self, top: int | None) -> None:
        self._top = top
        self._last: torch.Tensor | None = None
        self._steps: list[list[_Step]] = []

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._top is not None:
            self.settle(ids[:, -1])
            self._last = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def settle(self, chosen: torch.Tensor) -> None:
        """Of the scores that came last, this token was taken in each row."""
        if self._last is None or self._top is None:
            return
        own = self._last.gather(1, chosen[:, None])[:, 0].tolist()
        values, ids = self._last.topk(min(self._top, self._last.shape[1]), dim=-1)
        rows = zip(own, ids.tolist(), values.tolist(), strict=True)
        self._steps.append([_Step(v, tuple(zip(i, top, strict=True))) for v, i, top in rows])
        self._last = None

    def of(self, row: int) -> list[_Step]:
        """What was taken down of one row, in the order of its tokens."""
        return [step[row] for step in self._steps]


class _Cancelled:
    """Ends all rows once nobody waits for them."""

    def __init__(self, is_cancelled: Callable[[], bool]) -> None:
        self._is_cancelled = is_cancelled

    def __call__(self, ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        return torch.full((len(ids),), self._is_cancelled(), device=ids.device)
