"""What a service may have to handle, and what its handler may raise."""


class KafkaClientError(Exception):
    """Any error of this package; what a handler raises is never passed on, it decides where the message goes."""


class GiveUpError(KafkaClientError):
    """For handlers: this message can never be handled. It goes to the dead-letter topic without another attempt."""


class UnavailableError(KafkaClientError):
    """For handlers: what the message needs is down, for example the database while it fails over.

    The message waits first in its partition until it can be handled, however long that takes; no attempt is counted.
    """


class FatalError(KafkaClientError):
    """A consumer or producer is beyond repair, and so is the process that needs it: end it, it is started again."""


class AccessError(KafkaClientError):
    """The brokers refuse this user: wrong password, no access to the topic or the group. Trying again is no use."""


class DeliveryError(KafkaClientError):
    """Messages that no sufficient number of replicas has acknowledged; they may or may not be in the topic."""
