"""A request that arrives twice takes effect once: its key and its answer are committed with its rows."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from payments_client.database.errors import KeyReusedError

IDEMPOTENCY_TABLE = """
CREATE TABLE IF NOT EXISTS idempotency_keys (
    scope text NOT NULL,
    key text NOT NULL,
    request_digest bytea NOT NULL,
    answer jsonb,
    replays integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_created_at ON idempotency_keys (created_at);
"""
"""For the service's migrations: two statements. ``Database.forget`` deletes rows that are older than any retry."""

# A replay writes too. Its own COMMIT waits for the synchronous replica, and so vouches for the first one, whose wait
# may have been cut short: an answer that is given was replicated.
CLAIM = """
INSERT INTO idempotency_keys AS k (scope, key, request_digest) VALUES (%s, %s, %s)
ON CONFLICT (scope, key) DO UPDATE SET replays = k.replays + 1
RETURNING replays, request_digest, answer
"""
STORE = "UPDATE idempotency_keys SET answer = %s WHERE scope = %s AND key = %s"
# The oldest first by the index, deleted by their places: a join with the keys would read the whole table. A row that a
# repetition has locked at this moment is left for the next call.
FORGET = """
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < now() - make_interval(secs => %s)
    ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED
))
"""
MIN_AGE_SECONDS = 3600
"""A key that is forgotten while somebody still retries lets the request take effect twice."""
MAX_FORGET_ROWS = 50_000
"""In one transaction: its WAL, its locks and its time at the replica stay small."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IdempotencyKey:
    """A client's key within a scope (for example a merchant and an operation), and a digest of the request."""

    scope: str
    key: str
    digest: bytes

    @property
    def claim(self) -> tuple[str, str, bytes]:
        """Parameters of ``CLAIM``."""
        return self.scope, self.key, self.digest

    def store(self, answer: Any) -> tuple[str, str, str]:
        """Parameters of ``STORE``. Raises ``TypeError`` when the answer is not JSON."""
        return json.dumps(answer, separators=(",", ":")), self.scope, self.key

    def replayed(self, row: tuple[Any, ...] | None) -> tuple[bool, Any]:
        """Whether ``CLAIM`` found an earlier request, and its answer. Raises ``KeyReusedError`` for another request."""
        assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
        replays, digest, answer = row
        if bytes(digest) != self.digest:
            raise KeyReusedError(f"key '{self.key}' of '{self.scope}' was used for another request")
        return bool(replays), answer


def forget_parameters(older_than_seconds: float, limit: int) -> tuple[float, int]:
    """Parameters of ``FORGET``. Raises ``ValueError`` for keys that may still be retried, or for too many at once."""
    if not older_than_seconds >= MIN_AGE_SECONDS:
        raise ValueError(
            f"older_than_seconds is {older_than_seconds}; a key that is younger than {MIN_AGE_SECONDS} s may still be "
            "retried, and its request would take effect twice"
        )
    if not 1 <= limit <= MAX_FORGET_ROWS:
        raise ValueError(f"limit is {limit}; expected 1 … {MAX_FORGET_ROWS}: call it again while it returns the limit")
    return float(older_than_seconds), limit


def idempotent(key: str, *, scope: str, request: Any) -> IdempotencyKey:
    """The key for ``Database.write(work, once=…)``.

    ``request`` is what the caller asked for, as JSON: the same key with another request is refused. What ``work``
    returns must be JSON as well, since a repetition returns it from the table.
    """
    if not key or not scope:
        raise ValueError("an idempotency key needs a key and a scope; neither may be empty")
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return IdempotencyKey(scope=scope, key=key, digest=hashlib.sha256(text.encode()).digest())
