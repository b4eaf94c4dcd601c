"""Taking the results of a batch into the cache of answers, by id and in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from clear_pipeline.errors import CallError, ClearPipelineError
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.lines import Question, Result, Sent, results
from clear_pipeline.llm.cache import answers_of
from clear_pipeline.llm.meter import Amount, Totals
from clear_pipeline.llm.pricing import cost, prices
from clear_pipeline.llm.settings import Prices
from clear_pipeline.llm.spend import most_nanodollars
from clear_pipeline.llm.wire import parse_usage, thought_tokens

if TYPE_CHECKING:
    from clear_pipeline.llm.openai_chat import OpenAIChat

_OK: Final = 200
_SHOWN: Final = 3
_EXPIRED: Final = "batch_expired"
_CANCELLED: Final = "batch_cancelled"


@dataclass(slots=True)
class Intake:
    """What came of one batch.

    Attributes:
        answered: Requests whose answers are in the cache.
        failures: By id, why the others have none; those of a cancelled batch are not among them.
        usage: Tokens of all replies that count them.
        uncounted: The other replies, and requests of a provider that it says nothing of.
        most: Upper bound of the tokens of these; None if it is not known of one.
        served: Names that the server gave itself.
        samples: Answered samples.
        unasked: Requests of a cancelled batch that nobody worked on.
        oddities: Results that are left out, by what is odd about them.
        fatal: An error that every request of the model will meet.
    """

    answered: int = 0
    failures: dict[str, CallError] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    uncounted: int = 0
    most: Usage | None = field(default_factory=Usage)
    served: set[str] = field(default_factory=set)
    samples: int = 0
    unasked: int = 0
    oddities: Counter[str] = field(default_factory=Counter)
    fatal: ClearPipelineError | None = None

    def totals(self, batch: Batch) -> Totals:
        """The counts of the batch, at batch prices where a provider answered."""
        known = prices(batch.model)
        usd = None if known is None else cost(self.usage, known, batch=not batch.offline)
        return Totals(
            requests=batch.requests - self.unasked,
            samples=self.samples,
            usage=self.usage,
            usd=usd,
            served=tuple(sorted(self.served)),
            unaccounted=self._unaccounted(batch, known) if self.uncounted else Amount(),
        )

    def _unaccounted(self, batch: Batch, known: Prices | None) -> Amount:
        """The most that the replies without a count can have cost."""
        most = self.most
        if most is None:
            return replace(batch.most, calls=self.uncounted)
        price = 0 if known is None else most_nanodollars(most, known, batch=not batch.offline)
        return Amount(self.uncounted, most.prompt + most.completion, price)

    def words(self, batch: Batch) -> str:
        """What came of the batch, in one line."""
        words = [f"{self.answered:,} of {batch.requests:,} requests answered"]
        kinds = Counter(str(error) for error in self.failures.values()).most_common()
        words += [f"{count:,} {why}" for why, count in kinds[:_SHOWN]]
        if rest := sum(count for _, count in kinds[_SHOWN:]):
            words.append(f"{rest:,} otherwise failed")
        if self.unasked:
            words.append(f"{self.unasked:,} not asked")
        if self.oddities:
            odd = ", ".join(f"{count:,} {what}" for what, count in sorted(self.oddities.items()))
            words.append(f"results left out: {odd}")
        return f"batch {batch.number} ({batch.stage}): {batch.state}, {', '.join(words)}"


def take_in(
    lines: Iterable[bytes],
    asked: Mapping[str, Question],
    sent: Mapping[str, Sent],
    *,
    state: str,
    offline: bool,
    chat: OpenAIChat,
    answers: Answers,
) -> Intake:
    """Put the results of a batch into the cache; doing so twice changes nothing.

    Args:
        lines: Of the output file and the error file, in any order.
        asked: What the batch asked, by id.
        sent: For it, by id.
        state: In which the batch ended.
        offline: Whether an engine answered that is started by hand: what its results lack, it has
            not worked on.
        chat: Reads replies as it does live, and learns from them.
        answers: The cache.
    """
    intake = Intake()
    open_, first = dict(asked), {}
    for result in results(lines, chat.without_key):
        if result is None:
            intake.oddities["unreadable"] += 1
        elif result.id in open_:
            question = first[result.id] = open_.pop(result.id)
            _take(result, question, sent.get(result.id), intake, chat=chat, answers=answers)
        else:
            intake.oddities["repeated" if result.id in first else "of no request of it"] += 1
    for id_ in open_:
        if _absent(id_, state, intake) and not offline:
            _count_at_most(sent.get(id_), intake)
    return intake


def _take(
    result: Result,
    question: Question,
    sent: Sent | None,
    intake: Intake,
    *,
    chat: OpenAIChat,
    answers: Answers,
) -> None:
    if result.status == 0:
        _unsent(result, intake)
        return
    body = chat.dialect.body(question.request) if sent is None else sent.body
    if result.status != _OK:
        error = chat.refusal(body, result.status, result.reply)
        _fail(result.id, error or _in_another_form(), intake)
        return
    reply = result.reply if isinstance(result.reply, dict) else {}
    usage = parse_usage(reply, per_choice=chat.dialect.per_choice_usage)
    intake.usage += usage
    if usage == Usage():
        _count_at_most(sent, intake)
    try:
        completion = chat.parsed(reply, question.request, usage)
    except CallError as error:
        intake.failures[result.id] = error
        return
    thought = thought_tokens(reply)
    if chat.dialect.learn_from_reply(question.request, body, completion, thought=thought):
        intake.failures[result.id] = _in_another_form()
        return
    answers.write(question.hash, answers_of(question.request, completion))
    intake.answered += 1
    intake.samples += len(completion.choices)
    intake.served.add(completion.model)


def _unsent(result: Result, intake: Intake) -> None:
    if result.code == _CANCELLED:
        intake.unasked += 1
    elif result.code == _EXPIRED:
        intake.failures[result.id] = _expired()
    else:
        said = f"{result.code}: {result.message}"
        intake.failures[result.id] = CallError("outage", said, transient=True)


def _count_at_most(sent: Sent | None, intake: Intake) -> None:
    """Nobody knows what a request took."""
    intake.uncounted += 1
    if sent is None or intake.most is None:
        intake.most = None
    else:
        intake.most += sent.most


def _absent(id_: str, state: str, intake: Intake) -> bool:
    """Enter a request that the results lack; whether it may have been answered all the same."""
    if state == "cancelled":
        intake.unasked += 1
        return False
    if state == "expired":
        intake.failures[id_] = _expired()
        return False
    error = CallError("garbled", "the results of its batch lack it", transient=True)
    intake.failures[id_] = error
    return True


def _fail(id_: str, error: ClearPipelineError, intake: Intake) -> None:
    if isinstance(error, CallError):
        intake.failures[id_] = error
    else:
        intake.fatal = intake.fatal or error
        intake.unasked += 1


def _expired() -> CallError:
    return CallError("timeout", "its batch expired before it was answered", transient=True)


def _in_another_form() -> CallError:
    return CallError(
        "outage", "the endpoint wants the question in another form, which is known now",
        transient=True,
    )  # fmt: skip
