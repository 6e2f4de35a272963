"""What happens to one message: handled, tried again, sent to the retry topic, or given up."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Message

from payments_client.kafka.contract import KafkaGroup
from payments_client.kafka.errors import DeliveryError, FatalError, GiveUpError, UnavailableError
from payments_client.kafka.failures import Failure, Headers
from payments_client.kafka.lane import Lane
from payments_client.kafka.metrics import Count, Metrics

Handler = Callable[[Message], None]
"""Handles one message, idempotently: it may come more than once.

Raising means "not handled"; see ``GiveUpError`` and ``UnavailableError``. A ``FatalError`` is about no message: it ends
the runner.
"""

# Doubled so often, any pause is the longest one; a power without a bound overflows within hours.
_MOST_DOUBLINGS = 16
_log = logging.getLogger(__name__)


class Parking(Protocol):
    """Where failed messages are written: an ``EventProducer``."""

    def send_and_wait(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Return when the message is acknowledged; raise ``DeliveryError`` otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handling:
    """The handler and the rules for what it cannot handle.

    An attempt that fails is made again where the message stands, after a pause that doubles; the partition waits, so
    that the order of its keys holds. One that raises ``UnavailableError`` is made again like that for as long as it
    takes, and does not count: a database that fails over for 20 s must not turn a topic into dead letters. After
    ``group.attempts`` the message leaves: to the retry topic while it has been there fewer than
    ``group.retry_deliveries`` times, otherwise to the dead-letter topic. A message that neither topic takes stays where
    it is.
    """

    handler: Handler
    group: KafkaGroup
    parking: Parking
    metrics: Metrics
    first_pause_seconds: float
    longest_pause_seconds: float
    uses_retry_topic: bool = True

    def handle_first(self, lane: Lane) -> bool:
        """Deal with a lane's first message. Whether it is done with; else ``lane.ready_at`` says when to come again."""
        message = lane.messages[0]
        failure = Failure.read(message) if lane.topic == self.group.retry_topic else None
        if failure is not None:
            wait_seconds = failure.not_before_ms / 1000 - time.time()
            if wait_seconds > 0:
                lane.ready_at = time.monotonic() + min(wait_seconds, self.group.retry_delay_seconds)
                return False
        try:
            self._call(lane, message)
        except FatalError:
            raise
        except UnavailableError as error:
            return self._unavailable(lane, message, error)
        except Exception as error:  # noqa: BLE001 # whatever a handler raises decides where its message goes
            return self._failed(lane, message, error, failure)
        return True

    def _call(self, lane: Lane, message: Message) -> None:
        started = lane.began_at = time.monotonic()
        try:
            self.handler(message)
        finally:
            lane.began_at = None
        self.metrics.handler_seconds(lane.topic, time.monotonic() - started)

    def _unavailable(self, lane: Lane, message: Message, error: UnavailableError) -> bool:
        pause_seconds = self._pause_seconds(lane.waits)
        lane.waits += 1
        lane.ready_at = time.monotonic() + pause_seconds
        self.metrics.count(Count.UNAVAILABLE, lane.topic)
        _log.warning(
            "%s[%d]@%s: waits for %.1f s: %s", lane.topic, lane.partition, message.offset(), pause_seconds, error
        )
        return False

    def _failed(self, lane: Lane, message: Message, error: Exception, before: Failure | None) -> bool:
        lane.attempts += 1
        self.metrics.count(Count.FAILED, lane.topic)
        place = f"{lane.topic}[{lane.partition}]@{message.offset()}"
        if lane.attempts < self.group.attempts and not isinstance(error, GiveUpError):
            _log.warning("%s: attempt %d failed: %s", place, lane.attempts, type(error).__name__)
            lane.ready_at = time.monotonic() + self._pause_seconds(lane.attempts - 1)
            return False
        returns = before.deliveries_so_far if before else 0
        again = self.uses_retry_topic and not isinstance(error, GiveUpError) and returns < self.group.retry_deliveries
        topic = self.group.retry_topic if again else self.group.dead_letter_topic
        try:
            self._park(message, error, topic, wait=again)
        except DeliveryError as refused:
            _log.error("%s: stays where it is, %s does not take it: %s", place, topic, refused)
            self.metrics.count(Count.PARK_FAILED, lane.topic)
            lane.ready_at = time.monotonic() + self._pause_seconds(lane.attempts - 1)
            return False
        _log.warning("%s: moved to %s after %d attempts: %s", place, topic, lane.attempts, type(error).__name__)
        self.metrics.count(Count.RETRIED if again else Count.DEAD_LETTERED, lane.topic)
        return True

    def _park(self, message: Message, error: Exception, topic: str, *, wait: bool) -> None:
        not_before_ms = int((time.time() + self.group.retry_delay_seconds) * 1000) if wait else 0
        failure = Failure.of(message, error, group=self.group.id, not_before_ms=not_before_ms)
        self.parking.send_and_wait(topic, key=message.key(), value=message.value(), headers=failure.headers(message))

    def _pause_seconds(self, before: int) -> float:
        """Pause after an attempt that had so many ``before`` it."""
        return min(self.first_pause_seconds * 2.0 ** min(before, _MOST_DOUBLINGS), self.longest_pause_seconds)
