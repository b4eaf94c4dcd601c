"""A model that answers nothing: it notes what it is asked, for the next batch."""

from __future__ import annotations

from clear_pipeline.errors import PendingError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion
from clear_pipeline.llm.batch.lines import Question
from clear_pipeline.llm.batch.queue import Queue
from clear_pipeline.llm.batch.record import Record
from clear_pipeline.llm.cache import question_hash
from clear_pipeline.llm.dialect import Dialect


class Collector:
    """Stands below the cache, in the place of a client.

    Args:
        identity: Of the model.
        dialect: Makes the bodies.
        record: Knows what is asked by open batches, and what has failed.
        queue: Where new questions go.
        max_attempts: How often one request is submitted before it is given up.
    """

    def __init__(
        self, identity: str, dialect: Dialect, record: Record, queue: Queue, *, max_attempts: int
    ) -> None:
        self._identity = identity
        self._dialect = dialect
        self._record = record
        self._queue = queue
        self._max_attempts = max_attempts

    @property
    def identity(self) -> str:
        """Of the model."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """What is known of the endpoint so far."""
        return self._dialect.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Note the question.

        Raises:
            PendingError: It is in an open batch, or will be in the next one.
            CallError: It has failed for good, or too often; or no batch can take it.
        """
        asked = self._dialect.fit(request)
        question = Question(question_hash(self._identity, request), asked)
        failure = self._record.failure(question.id, max_attempts=self._max_attempts)
        if failure is not None:
            raise failure
        if not self._record.in_flight(question):
            self._queue.add(question, self._dialect.body(asked))
        raise PendingError("the answer is yet to come with a batch")

    async def close(self) -> None:
        """Nothing: whoever made the parts closes them."""
