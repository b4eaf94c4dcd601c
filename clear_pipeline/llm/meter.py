"""What a run has used: requests, retries, answers from the cache, tokens, dollars."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from clear_pipeline.llm.base import Usage

logger = logging.getLogger(__name__)

_NOTHING = {"calls": 0, "tokens": 0, "usd": 0.0}


def nanodollars(usd: float) -> int:
    """Billionths of a dollar, rounded up: whole numbers add up without an error."""
    return math.ceil(round(usd * 1e9, 3))


@dataclass(frozen=True, slots=True)
class Amount:
    """What a cap can limit.

    Attributes:
        calls: Requests sent.
        tokens: Of prompts and completions.
        nanodollars: Their price; 0 where it is not known.
    """

    calls: int = 0
    tokens: int = 0
    nanodollars: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.nanodollars + other.nanodollars,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.calls - other.calls,
            self.tokens - other.tokens,
            self.nanodollars - other.nanodollars,
        )

    @property
    def usd(self) -> float:
        """US dollars."""
        return self.nanodollars / 1e9

    def to_json(self) -> dict[str, Any]:
        """As plain values, the price in dollars."""
        return {"calls": self.calls, "tokens": self.tokens, "usd": self.usd}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read `to_json` back."""
        return cls(value["calls"], value["tokens"], nanodollars(value["usd"]))


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since a meter was made; sums of totals are totals.

    Attributes:
        requests: HTTP requests sent to the model, retries included.
        retries: Requests among them that repeat a failed one.
        failed: Questions given up after the last attempt.
        samples: Samples that the server answered.
        cached_samples: Samples that the cache answered, free of charge.
        usage: Tokens that the server counted, for every reply that it billed.
        usd: Spend in US dollars; None where the price is not known.
        served: Model names that the server reported, sorted.
        unaccounted: Requests among them whose bill is not known (killed, timed out), at the most
            that they can have cost. In neither `usage` nor `usd`.
        failures: Requests that failed, by kind of `CallError`; most are answered when repeated.
    """

    requests: int = 0
    retries: int = 0
    failed: int = 0
    samples: int = 0
    cached_samples: int = 0
    usage: Usage = field(default_factory=Usage)
    usd: float | None = None
    served: tuple[str, ...] = ()
    unaccounted: Amount = Amount()
    failures: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Totals) -> Totals:
        priced = [usd for usd in (self.usd, other.usd) if usd is not None]
        return Totals(
            self.requests + other.requests,
            self.retries + other.retries,
            self.failed + other.failed,
            self.samples + other.samples,
            self.cached_samples + other.cached_samples,
            self.usage + other.usage,
            sum(priced) if priced else None,
            _together(self.served, other.served),
            self.unaccounted + other.unaccounted,
            _summed(self.failures, other.failures),
        )

    @property
    def spent(self) -> Amount:
        """All that counts against a cap: what was billed, and what may have been."""
        billed = Amount(
            calls=self.requests - self.unaccounted.calls,
            tokens=self.usage.prompt + self.usage.completion,
            nanodollars=nanodollars(self.usd or 0.0),
        )
        return billed + self.unaccounted

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a manifest."""
        return {
            **asdict(self),
            "served": list(self.served),
            "unaccounted": self.unaccounted.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read `to_json` back."""
        return cls(
            **{
                **value,
                "usage": Usage(**value["usage"]),
                "served": tuple(value["served"]),
                "unaccounted": Amount.from_json(value.get("unaccounted", _NOTHING)),
            }
        )


def _together(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """All names, sorted. Most sums have names on one side alone, and there is one a call."""
    return tuple(sorted({*one, *other})) if one and other else one or other


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    """Both counts, sorted by name; as `_together`."""
    if not (one and other):
        return one or other
    return dict(sorted((Counter(one) + Counter(other)).items()))


class Meter:
    """Counts what one model does. Every layer of the stack that `open_model` builds reports here.

    One event loop writes and reads it.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._usage = Usage()
        self._usd: float | None = None
        self._served: tuple[str, ...] = ()
        self._failures: Counter[str] = Counter()

    def snapshot(self) -> Totals:
        """The counts so far."""
        counts = self._counts
        return Totals(
            requests=counts["requests"],
            retries=counts["retries"],
            failed=counts["failed"],
            samples=counts["samples"],
            cached_samples=counts["cached_samples"],
            usage=self._usage,
            usd=self._usd,
            served=self._served,
            failures=dict(sorted(self._failures.items())),
        )

    def priced(self) -> None:
        """The model's prices are known: as long as nothing is billed, the spend is 0."""
        self._usd = self._usd or 0.0

    def sent(self) -> None:
        """A request goes out."""
        self._counts["requests"] += 1

    def billed(self, usage: Usage, *, usd: float | None) -> None:
        """A reply came that the server counts, usable or not."""
        self._usage += usage
        if usd is not None:
            self._usd = (self._usd or 0.0) + usd

    def answered(self, samples: int) -> None:
        """Samples came from the server."""
        self._counts["samples"] += samples

    def attempt_failed(self, kind: str) -> None:
        """A request failed in this way, whether it is repeated or not."""
        self._failures[kind] += 1

    def retried(self) -> None:
        """A request is about to be repeated."""
        self._counts["retries"] += 1

    def gave_up(self) -> None:
        """The last attempt of a question failed."""
        self._counts["failed"] += 1

    def from_cache(self, samples: int) -> None:
        """Samples were found in the cache."""
        self._counts["cached_samples"] += samples

    def served_by(self, model: str) -> None:
        """Note the name that the server gave itself; a second name in one run is warned about."""
        if model in self._served:
            return
        if self._served:
            logger.warning(
                "the endpoint now answers as %r, before as %s: scores of this run may not be "
                "comparable; pin the model's version",
                model,
                ", ".join(map(repr, self._served)),
            )
        self._served = tuple(sorted({*self._served, model}))
