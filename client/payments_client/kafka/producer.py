"""Writing events: idempotent, acknowledged by every in-sync replica, with Java's partitioner."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from payments_client.kafka.errors import DeliveryError, FatalError, KafkaClientError
from payments_client.kafka.metrics import OF_PRODUCERS, Count, Metrics, NoMetrics
from payments_client.kafka.properties import Properties

Delivered = Callable[[KafkaError | None, Message], None]
_POLL_SECONDS = 0.05
_FULL_SECONDS = 30.0
# Longer than the properties' delivery timeout: by then each message has an answer.
_FLUSH_SECONDS = 130.0
# librdkafka tries again until the delivery timeout, and then only says that it is over.
_TOO_FEW = {"_MSG_TIMED_OUT", "NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND"}
_HINT = ": fewer replicas are in sync than the topic demands, or no broker can be reached; it may be written or not"
_log = logging.getLogger(__name__)


class EventProducer:
    """A ``confluent_kafka.Producer`` that loses nothing silently. Any thread may use it.

    ``send`` queues a message; ``flush`` raises for what was not acknowledged since the last flush, and the first such
    message is logged when it is known. As a context manager it flushes at the end. Where a ``DeliveryError`` is
    promised, a ``FatalError`` comes instead once the client is beyond repair: an idempotent producer whose numbering
    the brokers refuse takes no message any more. ``metrics`` count both, by topic.
    """

    def __init__(self, properties: Properties, *, metrics: Metrics | None = None, client: Any = None) -> None:
        self._client = client if client is not None else Client(properties)
        self._metrics = metrics or NoMetrics()
        self._written: set[str] = set()
        self._lock = threading.Lock()
        self._failed = 0
        self._first_failure: KafkaClientError | None = None

    def send(
        self,
        topic: str,
        *,
        key: bytes | str | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        on_delivery: Delivered | None = None,
    ) -> None:
        """Queue one message; waits while the queue is full.

        ``key`` is the value of the topic's key field: messages of one key keep their order. With ``on_delivery`` the
        caller hears of a failure instead of ``flush``. Raises ``DeliveryError`` when the queue stays full for 30 s or
        the message is too large.
        """
        if topic not in self._written:
            self._written.add(topic)
            for what in OF_PRODUCERS:
                self._metrics.count(what, topic, 0)
        told = self._remember if on_delivery is None else self._telling(on_delivery)
        deadline = time.monotonic() + _FULL_SECONDS
        while True:
            try:
                self._client.produce(topic, value=value, key=key, headers=list(headers), on_delivery=told)
                break
            except BufferError:
                if time.monotonic() > deadline:
                    self._metrics.count(Count.NOT_ACKNOWLEDGED, topic)
                    raise DeliveryError(f"{topic}: no message was acknowledged for {_FULL_SECONDS:.0f} s") from None
                self._client.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise self._counted(topic, error.args[0]) from error
        self._client.poll(0)

    def send_and_wait(
        self,
        topic: str,
        *,
        key: bytes | str | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        timeout_seconds: float = _FLUSH_SECONDS,
    ) -> None:
        """Write one message and return when it is acknowledged. Raises ``DeliveryError`` when it is not."""
        answers: list[KafkaError | None] = []
        self.send(topic, key=key, value=value, headers=headers, on_delivery=lambda error, _: answers.append(error))
        deadline = time.monotonic() + timeout_seconds
        while not answers:
            self._client.poll(_POLL_SECONDS)
            if not answers and time.monotonic() > deadline:
                raise DeliveryError(f"{topic}: not acknowledged within {timeout_seconds:.0f} s")
        if answers[0] is not None:
            raise _failure(topic, answers[0])

    def flush(self, timeout_seconds: float = _FLUSH_SECONDS) -> None:
        """Wait until every message has its answer. Raises ``DeliveryError`` with what was not acknowledged."""
        left = self._client.flush(timeout_seconds)
        with self._lock:
            failed, first = self._failed, self._first_failure
            self._failed, self._first_failure = 0, None
        if left:
            unanswered = DeliveryError(f"{left} messages without an answer after {timeout_seconds:.0f} s")
            failed, first = failed + left, first or unanswered
        if first is not None:
            raise type(first)(f"{failed} not acknowledged; first: {first}")

    def close(self) -> None:
        """The same as ``flush``."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _remember(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        failure = self._counted(message.topic() or "", error)
        with self._lock:
            is_first = self._first_failure is None
            self._failed += 1
            if is_first:
                self._first_failure = failure
        if is_first:
            _log.error("not acknowledged, more are only counted until the next flush: %s", self._first_failure)

    def _telling(self, on_delivery: Delivered) -> Delivered:
        def tell(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._counted(message.topic() or "", error)
            on_delivery(error, message)

        return tell

    def _counted(self, topic: str, error: Any) -> KafkaClientError:
        failure = _failure(topic, error)
        broken = isinstance(failure, FatalError)
        self._metrics.count(Count.PRODUCER_BROKEN if broken else Count.NOT_ACKNOWLEDGED, topic)
        return failure


def _failure(topic: str, error: Any) -> KafkaClientError:
    # librdkafka's own word for a dead client carries no mark of being fatal.
    dead = isinstance(error, KafkaError) and (error.fatal() or error.name() == "_FATAL")
    return (FatalError if dead else DeliveryError)(f"{topic}: {_words(error)}")


def _words(error: Any) -> str:
    if not isinstance(error, KafkaError):
        return str(error)
    hint = _HINT if error.name() in _TOO_FEW else ""
    return f"{error.str()} ({error.name()}){hint}"
