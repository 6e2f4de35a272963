"""What a caller is told beside PostgreSQL's own errors."""


class DatabaseError(Exception):
    """Base of this package's errors."""


class DeadlineExceededError(DatabaseError):
    """The deadline passed and nothing was committed: the same call may be made again."""


class OutcomeUnknownError(DatabaseError):
    """COMMIT was sent and not answered. Repeat it only with an idempotency key; without one, look before you act."""


class KeyReusedError(DatabaseError):
    """An idempotency key came back with another request. Nothing was done; this is a mistake of the caller."""
