"""How surely a judge prefers a candidate to the dataset's own response.

Source: Chen & Mueller 2024 (arXiv 2403.12776); the confidence of the verdict is BSDetector's
(Chen & Mueller 2023), applied to a comparison.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.judge import (
    DOUBT_VALUES,
    LETTERS,
    Label,
    doubt_prompts,
    one_token_prompt,
    parse_verdict,
    verdicts_request,
    yes_no_prompt,
)
from clear_pipeline.schema import Example
from clear_pipeline.scoring.choice import ask_choice, withheld

Verdict: TypeAlias = Literal["candidate", "original", "tie"]
FormName: TypeAlias = Literal["yes-no", "one-token", "sampled"]
"""What a config calls `YesNo`, `OneToken` and `Sampled`."""

EVEN = 0.5
"""A response is called right above this probability."""


@dataclass(frozen=True, slots=True)
class OrderVerdict:
    """The judgement in one order.

    Attributes:
        preference: How surely the candidate is better, in [0, 1].
        verdict: Which response the judge takes.
        new_right: Probability that the candidate is right by itself, where the form asks that.
        old_right: The same of the original.
    """

    preference: float
    verdict: Verdict
    new_right: float | None = None
    old_right: float | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """The judgement in both orders.

    Attributes:
        first: With the original shown first.
        second: With the candidate shown first.
    """

    first: OrderVerdict
    second: OrderVerdict

    @property
    def score(self) -> float:
        """c_pref, the mean over the two orders, in [0, 1]."""
        return (self.first.preference + self.second.preference) / 2

    @property
    def verdict(self) -> Verdict:
        """What both orders say; a tie if they disagree.

        A tie too where the judge takes the candidate but, over both orders, does not call it
        right and the original wrong: the better of two wrong responses is no correction.
        """
        if self.first.verdict != self.second.verdict:
            return "tie"
        return "tie" if self.first.verdict == "candidate" and self._doubt else self.first.verdict

    @property
    def objection(self) -> str:
        """Why the verdict is not the candidate, though it may be preferred; "" if it is."""
        if self.first.verdict != self.second.verdict:
            return "the orders disagree"
        objections = {"candidate": self._doubt, "original": "the original is taken", "tie": "a tie"}
        return objections[self.first.verdict]

    @property
    def _doubt(self) -> str:
        """What the judge says of the two responses by themselves that forbids to replace; or ""."""
        new = _mean(self.first.new_right, self.second.new_right)
        old = _mean(self.first.old_right, self.second.old_right)
        if new is not None and new <= EVEN:
            return f"the candidate is not called right ({new:.2f})"
        if old is not None and old > EVEN:
            return f"the original is called right too ({old:.2f})"
        return ""


@dataclass(frozen=True, slots=True)
class OneToken:
    """P(candidate) / (P(A) + P(B) + P(tie)) of a single token: one call per order."""

    async def judge(
        self, model: ChatModel, example: Example, pair: tuple[str, str], *, candidate: Label
    ) -> OrderVerdict:
        """Compare `pair`, of which the one labelled `candidate` is the new response."""
        reply = await ask_choice(model, one_token_prompt(example, *pair), choices=LETTERS)
        best = max(LETTERS, key=lambda label: reply.probabilities[label])
        return OrderVerdict(reply.probabilities[candidate], _verdict(best, candidate))


@dataclass(frozen=True, slots=True)
class YesNo:
    """Is A right? Is B right? One token each, both in sight of the other: two calls per order.

    With p and q for "the candidate is right" and "the original is right", the preference is
    p (1 - q) / (p (1 - q) + q (1 - p)): how likely it is the candidate, if just one of them is.
    A small model says Yes or No far more reliably than it names the better of two letters.
    """

    async def judge(
        self, model: ChatModel, example: Example, pair: tuple[str, str], *, candidate: Label
    ) -> OrderVerdict:
        """Compare `pair`, of which the one labelled `candidate` is the new response."""
        right: dict[str, float] = {}
        with Independent() as independent:
            for label in ("A", "B"):
                prompt = yes_no_prompt(example, *pair, label=label)
                with independent.part():
                    reply = await ask_choice(model, prompt, choices=("Yes", "No"))
                    right[label] = reply.probabilities["Yes"]
        new, old = right[candidate], right["B" if candidate == "A" else "A"]
        for_new, for_old = new * (1 - old), old * (1 - new)
        # Neither is likelier if both or none are surely right.
        preference = for_new / (for_new + for_old) if for_new + for_old > 0 else 0.5
        verdict: Verdict = "candidate" if new > old else "original"
        return OrderVerdict(preference, "tie" if new == old else verdict, new, old)


@dataclass(frozen=True, slots=True)
class Sampled:
    """The paper's form: beta * share of k verdicts + (1 - beta) * reflection on the verdict.

    Attributes:
        k: Verdicts drawn per order, >= 1; those that cannot be read are left out of the share.
        beta: Weight of the share, in [0, 1].
        temperature: Of the draws.
        max_tokens: Room for the reasoning and the verdict.
    """

    k: int
    beta: float
    temperature: float
    max_tokens: int

    async def judge(
        self, model: ChatModel, example: Example, pair: tuple[str, str], *, candidate: Label
    ) -> OrderVerdict:
        """Compare `pair`, of which the one labelled `candidate` is the new response.

        Without any verdict for the candidate there is nothing to reflect on: the preference is 0.

        Raises:
            CallError: A call failed, every reply was withheld (`content_filter`), or none held a
                verdict (`bad_reply`).
        """
        request = verdicts_request(
            example,
            *pair,
            samples=range(self.k),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        choices = (await model.complete(request)).choices
        if (error := withheld(choices)) is not None:
            raise error
        said = (parse_verdict(choice.text) for choice in choices if not choice.withheld)
        verdicts = [verdict for verdict in said if verdict is not None]
        if not verdicts:
            raise CallError("bad_reply", f"none of {self.k} replies is a verdict", transient=False)
        share = verdicts.count(candidate) / len(verdicts)
        if share == 0:
            return OrderVerdict(0.0, _verdict(_majority(verdicts), candidate))
        certainty = await _certainty(model, example, pair, candidate=candidate)
        preference = self.beta * share + (1 - self.beta) * certainty
        return OrderVerdict(preference, _verdict(_majority(verdicts), candidate))


Form: TypeAlias = OneToken | YesNo | Sampled
"""How a preference is read off a judge."""


async def prefer(model: ChatModel, example: Example, candidate: str, *, form: Form) -> Preference:
    """Judge a candidate against the row's own response in both orders.

    Args:
        model: The judge.
        example: The row.
        candidate: The new response as text.
        form: How a preference is read.

    Raises:
        CallError: A call failed or its reply could not be read.
    """
    original = example.response
    with Independent() as independent:
        with independent.part():
            first = await form.judge(model, example, (original, candidate), candidate="B")
        with independent.part():
            second = await form.judge(model, example, (candidate, original), candidate="A")
    return Preference(first, second)


async def _certainty(
    model: ChatModel, example: Example, pair: tuple[str, str], *, candidate: Label
) -> float:
    values = []
    with Independent() as independent:
        for prompt in doubt_prompts(example, *pair, label=candidate):
            with independent.part():
                reply = await ask_choice(model, prompt, choices=tuple(DOUBT_VALUES))
                values.append(sum(p * DOUBT_VALUES[w] for w, p in reply.probabilities.items()))
    return sum(values) / len(values)


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2


def _majority(verdicts: list[Literal["A", "B", "tie"]]) -> str:
    (best, count), *others = Counter(verdicts).most_common()
    return "tie" if others and others[0][1] == count else best


def _verdict(label: str, candidate: Label) -> Verdict:
    if label not in ("A", "B"):
        return "tie"
    return "candidate" if label == candidate else "original"
