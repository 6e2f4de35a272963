"""When a call may be made again, and how long to wait before it."""

import random
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg

from payments_client.eventstore.calls import Call
from payments_client.eventstore.errors import TryAgainError, UncertainError, translate

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 2.0
# A standby that was asked to write, a server that is starting or going down: nothing was done.
_NOTHING_DONE = frozenset({"25006", "57P03"})
# The server ended the connection, perhaps while it committed.
_CONNECTION_ENDED = frozenset({"57P01", "57P02"})


@dataclass(kw_only=True, slots=True)
class Attempts:
    """The attempts of one call."""

    deadline_seconds: float
    """How long to try altogether; a failover takes 10 to 40 s."""
    _started: float = field(default_factory=time.monotonic)
    _number: int = 0

    def pause_after(self, error: psycopg.Error, call: Call[Any], *, sent: bool) -> float:
        """Seconds until the next attempt. Raises what the caller is to see when there is none.

        ``sent``: the statement may have reached a server.
        """
        shown = _shown(error, call, sent=sent)
        if shown is not None:
            raise shown from error
        self._number += 1
        longest: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(self._number, 10))
        pause = longest * random.random()  # noqa: S311
        if time.monotonic() - self._started + pause > self.deadline_seconds:
            raise translate(error) or error
        return pause


def _shown(error: psycopg.Error, call: Call[Any], *, sent: bool) -> Exception | None:
    """What ends the attempts; ``None`` for an error after which the call may be made again."""
    translated = translate(error)
    if translated is not None:
        return None if isinstance(translated, TryAgainError) else translated
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate != "25006":
        return error
    if not sent or error.sqlstate in _NOTHING_DONE:
        return None
    if error.sqlstate is None or error.sqlstate in _CONNECTION_ENDED or error.sqlstate.startswith("08"):
        return None if call.repeatable else UncertainError("the connection broke during a change without a key")
    return error
