"""What a caller is told beside PostgreSQL's own errors."""


class DatabaseError(Exception):
    """Base of this package's errors."""


class DeadlineExceededError(DatabaseError):
    """The deadline passed and nothing was committed: the same call may be made again."""


class OutcomeUnknownError(DatabaseError):
    """COMMIT was sent and not answered. Repeat it only with an idempotency key; without one, look before you act."""


class TransactionBrokenError(DatabaseError):
    """``work`` hid a failed statement, or ended the transaction itself: COMMIT would keep nothing and say nothing."""


class WriteInReadError(DatabaseError):
    """``work`` of a read tried to write, or to lock rows. Nothing was done; this is a mistake of the caller."""


class KeyReusedError(DatabaseError):
    """An idempotency key came back with another request. Nothing was done; this is a mistake of the caller."""
