"""How long the engine waits for a Job, and what it makes of one that failed."""

_BEYOND_SECONDS = 60
"""The engine's own limit is 10 minutes unless it is told: it would give up on a Job that still works, and the cluster
ends one that does not a moment before."""


def awaited(active_seconds: int) -> dict[str, str]:
    """Annotations of a Job whose ``activeDeadlineSeconds`` are these.

    A run that failed is made anew by the next `up`, not waited for for ever.
    """
    return {
        "pulumi.com/replaceUnready": "true",
        "pulumi.com/timeoutSeconds": str(active_seconds + _BEYOND_SECONDS),
    }
