"""One assigned partition: its messages in their order, handled by one thread at a time."""

from collections import deque

from confluent_kafka import Message, TopicPartition


class Lane:
    """What a consumer loop knows of a partition.

    The loop's thread adds messages; the one worker that is at work on the partition takes them from the front.
    ``closed`` changes under the loop's lock.
    """

    __slots__ = (
        "_added_bytes",
        "_finished_bytes",
        "attempts",
        "began_at",
        "closed",
        "committed",
        "done",
        "is_new",
        "messages",
        "partition",
        "paused",
        "ready_at",
        "requested",
        "topic",
        "waits",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.messages: deque[Message] = deque()
        # Each has one writer, the loop's thread and the worker: a sum of both would lose additions.
        self._added_bytes = self._finished_bytes = 0
        self.began_at: float | None = None
        """Monotonic time at which the handler was called that is at the first message now."""
        self.closed = False
        """The partition belongs to somebody else, or the loop ends: no other message is begun."""
        self.is_new = True
        self.paused = False
        """The broker is not asked for more."""
        self.ready_at = 0.0
        """Monotonic time before which the first message is not handled: it failed, or its delay is not over."""
        self.attempts = 0
        """Attempts at the first message since it was delivered."""
        self.waits = 0
        """Attempts at the first message that do not count: what it needs was down."""
        self.done: int | None = None
        """Offset after the last message that is done with: what may be committed."""
        self.requested: int | None = None
        """Offset of a commit that is on its way; a commit that was asked for may yet be refused."""
        self.committed: int | None = None
        """Offset that the coordinator has confirmed."""

    def add(self, message: Message) -> None:
        """One more message, behind the others."""
        self._added_bytes += _size_bytes(message)
        self.messages.append(message)

    def finish_first(self) -> None:
        """The first message is handled, or safe in another topic."""
        message = self.messages.popleft()
        self._finished_bytes += _size_bytes(message)
        self.attempts = self.waits = 0
        self.done = (message.offset() or 0) + 1

    @property
    def waiting_bytes(self) -> int:
        """Size of the keys and values that wait."""
        return self._added_bytes - self._finished_bytes

    @property
    def key(self) -> tuple[str, int]:
        """What the partition is known by."""
        return self.topic, self.partition

    def is_due(self, now: float) -> bool:
        """Whether the first message can be handled now."""
        return bool(self.messages) and not self.closed and self.ready_at <= now

    @property
    def uncommitted(self) -> TopicPartition | None:
        """What is done and not confirmed, whether or not a commit of it is on its way."""
        done = self.done  # read once: a worker may raise it meanwhile
        return None if done is None or done == self.committed else TopicPartition(self.topic, self.partition, done)

    def hear(self, offset: int, *, accepted: bool) -> bool:
        """Take the answer to the commit that is on its way; false for an answer to another one."""
        if self.requested != offset:
            return False
        self.requested = None
        if accepted:
            self.committed = offset
        return True

    @property
    def position(self) -> TopicPartition:
        """The partition, without an offset."""
        return TopicPartition(self.topic, self.partition)


def _size_bytes(message: Message) -> int:
    return len(message) + len(message.key() or b"")
