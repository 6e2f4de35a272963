"""What a caller may have to handle; a database's own errors that are none of these pass through unchanged."""

import psycopg


class EventStoreError(Exception):
    """Any error of the event store and the ledger."""


class ConflictError(EventStoreError):
    """The stream has another version than expected: read it, decide anew, append again."""

    actual: int | None = None
    """The version that the stream has."""


class KeyReusedError(EventStoreError):
    """The idempotency key or transfer id was used before, for something else."""


class TryAgainError(EventStoreError):
    """The transaction cannot go on beside the others. Begin a new one; outside of one the store does it itself."""


class UncertainError(EventStoreError):
    """The connection broke and nobody knows whether the change was committed. With an idempotency key the store finds
    out by itself; without one, read the stream.
    """


class ArchivedError(EventStoreError):
    """Events that were asked for are in the archive: begin at a snapshot, or a projection after the archive's last."""


class InsufficientFundsError(EventStoreError):
    """The wallet does not hold enough."""


class UnknownWalletError(EventStoreError):
    """No such wallet, or twice the same one."""


class CurrencyError(EventStoreError):
    """Unknown currency, or not that of the wallet."""


class AmountError(EventStoreError):
    """Not above zero, or more digits than the currency has."""


class WalletOwnerError(EventStoreError):
    """The wallet exists with another user, currency or kind, and keeps them for ever."""


class BucketClosedError(EventStoreError):
    """The shard refused: the user's bucket moves away from it or has moved. Nothing was written.

    Ask the shard that it names (``ShardMap.moved``) and read the contract anew; while the bucket is on its way that one
    refuses as well, with the same error: try again for as long as the caller waits. A transfer keeps its id: what was
    carried out before is answered, not repeated.
    """

    bucket: int
    shard: str
    """Where the users of the bucket live, or will when it has arrived."""


_BY_STATE: dict[str, type[EventStoreError]] = {
    "ES001": ConflictError,
    "ES002": KeyReusedError,
    "ES003": ArchivedError,
    "40001": TryAgainError,
    "40P01": TryAgainError,
    "LE001": InsufficientFundsError,
    "LE002": UnknownWalletError,
    "LE003": CurrencyError,
    "LE004": AmountError,
    "LE005": WalletOwnerError,
    "SH001": BucketClosedError,
}


def translate(error: psycopg.Error) -> EventStoreError | None:
    """The error that a database error stands for; ``None`` for one that is not ours."""
    kind = _BY_STATE.get(error.sqlstate or "")
    if kind is None:
        return None
    translated = kind(error.diag.message_primary or "")
    detail = error.diag.message_detail or ""
    if isinstance(translated, ConflictError) and detail.isdecimal():
        translated.actual = int(detail)
    if isinstance(translated, BucketClosedError):
        bucket, _, translated.shard = detail.partition(" ")
        if not bucket.isdecimal() or not translated.shard:
            return None  # somebody else's state of the same name
        translated.bucket = int(bucket)
    return translated
