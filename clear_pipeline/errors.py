"""Every exception that this package raises on purpose.

Each message names what happened, where, and what to do about it::

    ClearPipelineError
    ├── UsageError            wrong command line, config or input; exit code 2
    │   ├── ConfigError       a setting, with its place in the YAML file
    │   ├── NothingReadableError  no usable row in DATA
    │   ├── RunMismatchError  the run directory belongs to another dataset
    │   └── MissingExtraError an optional dependency, with the pip line
    ├── RunFailedError        the run stopped and can be resumed; exit code 1
    │   ├── UnreachableError  the model server does not answer
    │   ├── CircuitOpenError  nearly every question to a model fails
    │   ├── TooManyFailuresError  a stage had more failed rows than max_failed_fraction
    │   ├── NoSurvivorsError  a filter would keep nothing
    │   ├── DamagedRunError   a file of the run directory does not match its checksum
    │   ├── RunLockedError    another process works on this run
    │   ├── UntrainableError  a training came to no model with its settings
    │   ├── RemoteError       a file elsewhere cannot be fetched or written
    │   ├── UnwritableError   a full disk, a file or directory that may not be written
    │   └── WeightsError      model weights could not be fetched or verified
    ├── BudgetExceededError   a cap was reached, stopped cleanly; exit code 3
    ├── BatchPendingError     batches have yet to answer, stopped cleanly; exit code 4
    ├── PendingError          one answer that a batch has yet to bring; never leaves a run
    └── CallError             one model call failed; becomes data of its row, never a crash
"""

from __future__ import annotations

from typing import ClassVar, Final

ALLOWANCE: Final = 1.2
"""So much of what rows are expected to take is allowed for where a cap is proposed."""


class ClearPipelineError(Exception):
    """Root of the tree. `exit_code` is what the command line returns for it."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[object, ...]:
        """A copy in another process has the same type, message and attributes.

        An exception is otherwise made anew from its message alone, whatever its class takes.
        """
        return _copied, (type(self), self.args, self.__dict__)


def _copied(
    kind: type[ClearPipelineError], args: tuple[object, ...], attributes: dict[str, object]
) -> ClearPipelineError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(ClearPipelineError):
    """Wrong command line, config or input."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown or out of range; the message starts with its place."""


class NothingReadableError(UsageError):
    """No file or row in DATA could be used."""


class RunMismatchError(UsageError):
    """The run directory holds a run of another dataset."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the message holds the pip line."""


class RunFailedError(ClearPipelineError):
    """The run stopped; what was done is kept and the same command resumes it."""


class UnreachableError(RunFailedError):
    """The model server does not answer."""


class CircuitOpenError(RunFailedError):
    """Nearly every question to a model fails, so that no more are asked."""


class TooManyFailuresError(RunFailedError):
    """More rows failed than `max_failed_fraction` allows."""


class NoSurvivorsError(RunFailedError):
    """A filter would keep no row."""


class DamagedRunError(RunFailedError):
    """A file of the run directory does not match its checksum."""


class RunLockedError(RunFailedError):
    """Another process works on this run directory."""


class UntrainableError(RunFailedError):
    """A training came to no model with its settings: no loss, or too little memory."""


class RemoteError(RunFailedError):
    """A file of an object store could not be listed, fetched or written."""


class UnwritableError(RunFailedError):
    """A file could not be written: a full disk, a quota, a directory that may not be changed.

    Args:
        path: Which.
        reason: What the operating system said.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(
            f"{path}: cannot be written ({reason}); what was finished before is kept: once there "
            "is room and leave to write, the same command goes on from there"
        )


class WeightsError(RunFailedError):
    """Model weights could not be fetched or do not match their checksum."""


class BudgetExceededError(ClearPipelineError):
    """A cap on calls, tokens or dollars was reached before the next call was sent.

    Args:
        message: Which cap, what was spent, what the next call may take.
        cap: Name of the setting: max_usd, max_tokens or max_calls.
        limit: Its value.
        needed: The least value with which the next call could be sent.
        spent: What of it was spent.
        projected: What the work is likely to take in all; 0 where that is not known.

    Attributes:
        estimated: What an estimate finds likely to do; 0 where there is none.
        learnt: Whether it has learnt from answers of the run. Then it goes before `projected`,
            since it knows how many rows each stage asks about.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        cap: str,
        limit: float,
        needed: float,
        spent: float = 0.0,
        projected: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.cap = cap
        self.limit = limit
        self.needed = needed
        self.spent = spent
        self.projected = projected
        self.estimated = 0.0
        self.learnt = False

    @property
    def enough(self) -> float:
        """A value of the cap that is likely to do, and lets the next call through.

        Where no estimate is above the cap that stopped the work, it is twice that cap or more:
        enough for all rows if those to come take what those before took.
        """
        if self.estimated > self.limit:
            return max(self.needed, self.estimated, 0.0 if self.learnt else self.projected)
        return max(2 * self.limit, self.needed, self.projected)

    def with_work_left(
        self, left: str, *, rows_done: int = 0, rows_left: int = 0
    ) -> BudgetExceededError:
        """The same, with what is left to do.

        Args:
            left: That, in words.
            rows_done: Rows that were finished with what was spent.
            rows_left: Rows that are not; `ALLOWANCE` of what those took is expected.
        """
        rest = ALLOWANCE * self.spent * rows_left / rows_done if rows_done else 0.0
        return BudgetExceededError(
            f"{self}. {left}",
            cap=self.cap,
            limit=self.limit,
            needed=self.needed,
            spent=self.spent,
            projected=self.spent + rest if rows_done else self.projected,
        )


class BatchPendingError(ClearPipelineError):
    """Questions wait for the answers of batches; the same command goes on when they are there."""

    exit_code = 4


class PendingError(ClearPipelineError):
    """The answer is yet to come with a batch: its row is neither failed nor unscored."""


TRANSIENT_KINDS = ("garbled", "outage", "rate_limit", "timeout", "unreachable")
"""Kinds of `CallError` after which a resumed run asks for the row again."""

ROW_KINDS = ("content_filter", "context")
"""Kinds of `CallError` that come from the row itself and say nothing about the next one."""


class CallError(ClearPipelineError):
    """One model call got no usable answer.

    Args:
        kind: A short stable word for the ledger: `unreachable`, `outage`, `timeout`,
            `rate_limit`, `auth`, `bad_request`, `context`, `content_filter`, `garbled` (no
            answer of the API at all: a proxy's page, broken JSON), `bad_reply` (an answer that
            is none to what was asked).
        message: What the server said, for people.
        transient: True if the same call may succeed later, so that a resumed run asks again.
        retry_after: Seconds that the server asked to wait, if it did.
    """

    def __init__(
        self, kind: str, message: str, *, transient: bool, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.transient = transient
        self.retry_after = retry_after
