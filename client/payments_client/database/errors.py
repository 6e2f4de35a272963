"""What a caller is told beside PostgreSQL's own errors."""


class DatabaseError(Exception):
    """Base of this package's errors."""


class DeadlineExceeded(DatabaseError):
    """The deadline passed and nothing was committed: the same call may be made again."""


class OutcomeUnknown(DatabaseError):
    """COMMIT was sent and not answered. Repeat it only with an idempotency key; without one, look before you act."""


class KeyReused(DatabaseError):
    """An idempotency key came back with another request. Nothing was done; this is a mistake of the caller."""
