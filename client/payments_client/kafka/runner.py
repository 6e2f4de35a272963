"""The consumer of a service: at least once, in order per key, until SIGTERM."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer

from payments_client.kafka.access import Access
from payments_client.kafka.contract import RACK_VARIABLE, KafkaContract, KafkaGroup
from payments_client.kafka.handling import Handler, Handling, Parking
from payments_client.kafka.loop import Loop, LoopOptions
from payments_client.kafka.metrics import Metrics, NoMetrics
from payments_client.kafka.producer import EventProducer
from payments_client.kafka.properties import Properties, group_properties, producer_properties, retry_properties

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Runner:
    """One member of a consumer group, and of the group that reads its retry topic.

    ``handler`` gets a ``confluent_kafka.Message``; it is called from several threads, but within
    one process never from two for one partition: after a handover that did not wait for a handler, a partition that
    comes back waits for it. Between processes that does not hold: the next owner of such a partition handles the same
    message beside the handler that does not end.
    A message is committed after the handler has returned, or after the retry or dead-letter topic has acknowledged it.
    ``uses_retry_topic=False`` for handlers that must not see a key's later messages before an earlier one that failed:
    what fails ``group.attempts`` times goes to the dead-letter topic at once.
    ``rack`` is the pod's zone, ``KAFKA_RACK`` of the environment unless it is given.
    """

    def __init__(
        self,
        group_id: str,
        handler: Handler,
        contract: KafkaContract,
        access: Access | None = None,
        *,
        options: LoopOptions | None = None,
        metrics: Metrics | None = None,
        uses_retry_topic: bool = True,
        rack: str | None = None,
        consumer: Callable[[Properties], Any] = Consumer,
        parking: Parking | None = None,
    ) -> None:
        group = contract.group(group_id)
        chosen = options or LoopOptions()
        zone = rack or os.environ.get(RACK_VARIABLE)
        properties = group_properties(group, contract, access, rack=zone)
        counts = metrics or NoMetrics()
        handling = Handling(
            handler=handler,
            group=group,
            parking=parking or _parking(group, contract, access, counts),
            metrics=counts,
            uses_retry_topic=uses_retry_topic,
            first_pause_seconds=chosen.first_pause_seconds,
            longest_pause_seconds=chosen.longest_pause_seconds,
        )
        self._loops = [Loop(group.topic, properties, handling, chosen, consumer=consumer)]
        if uses_retry_topic:
            again = retry_properties(properties, group)
            self._loops.append(Loop(group.retry_topic, again, handling, chosen, consumer=consumer))
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """Consume until ``stop``, SIGTERM or SIGINT; then finish what is being handled, commit, and leave the group.

        Signals are heard where this is called from the main thread. Raises ``AccessError`` when the brokers refuse the
        user, ``FatalError`` when a consumer or the producer is beyond repair: end the process, it is started again.
        """
        # No daemon: one that still is inside librdkafka while the interpreter ends would abort the process.
        others = [threading.Thread(target=self._guard, args=(loop,), daemon=False) for loop in self._loops[1:]]
        with _stopped_by_signals(self.stop):
            for thread in others:
                thread.start()
            try:
                self._guard(self._loops[0])
            finally:
                self.stop()
                for thread in others:
                    thread.join()
        if self._failures:
            raise self._failures[0]

    def stop(self) -> None:
        """End ``run`` soon. Any thread may call it."""
        for loop in self._loops:
            loop.stop()

    @property
    def seconds_since_poll(self) -> float:
        """How long the slowest loop has not asked for messages. A liveness probe may fail above the poll interval."""
        return time.monotonic() - min(loop.polled_at for loop in self._loops)

    @property
    def seconds_in_handler(self) -> float:
        """How long the slowest handler has been at its message; 0 while none is called.

        A handler that hangs stops its partition and nothing else: polls go on, and so does the membership. A liveness
        probe may fail above the longest time that a handler may take.
        """
        return max(loop.seconds_in_handler for loop in self._loops)

    def _guard(self, loop: Loop) -> None:
        """Run one loop; when it ends, so do the others."""
        try:
            loop.run()
        except BaseException as error:  # noqa: BLE001 # raised again by run
            self._failures.append(error)
        finally:
            self.stop()


def _parking(group: KafkaGroup, contract: KafkaContract, access: Access | None, metrics: Metrics) -> Parking:
    topics = (group.retry_topic, group.dead_letter_topic)
    properties = producer_properties(contract, access, client_id=group.application, topics=topics)
    return EventProducer(properties, metrics=metrics)


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
