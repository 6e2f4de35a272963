"""Waiting for locks without making everybody else wait: briefly, then step back, then again."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from psycopg import errors

from payments_client.migrations.errors import MigrationError

TRANSIENT = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)
_LONGEST_PAUSE_SECONDS = 5.0
Result = TypeVar("Result")


def retried(label: str, action: Callable[[], Result], attempts: int, say: Callable[[str], None]) -> Result:
    """Run an action that rolls back when it does not get its locks. Raises ``MigrationError`` after the last attempt.

    Pauses grow up to 5 s and have a share of chance: those who queue get through in between.
    """
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except TRANSIENT as error:
            if attempt == attempts:
                break
            say(f"{label}: {error.diag.message_primary}; attempt {attempt} of {attempts}")
            time.sleep(min(_LONGEST_PAUSE_SECONDS, 0.2 * attempt) * random.uniform(0.5, 1.5))  # noqa: S311
    raise MigrationError(
        f"{label} did not get its locks in {attempts} attempts; "
        "end the long transactions that hold them and run it again"
    )
