"""How long each action has before it is judged, counted from its deployment."""

from collections.abc import Mapping

_PODS_SECONDS = 900
"""Pods start and take their share, or a backlog is worked off, while the finding's own duration passes."""

WINDOW_SECONDS: Mapping[str, int] = {
    "API_LATENCY": _PODS_SECONDS,
    "CONSUMER_LAG": _PODS_SECONDS,
    # Every pod is replaced, one after the other, before the new limit counts for all of them.
    "MEMORY_PRESSURE": 1800,
    # A node copies the whole shard and catches up before it serves a read: chosen for a small one, not measured.
    "DB_CONNECTIONS": 7200,
}
"""Kind of finding → seconds; ``payctl act --verify-seconds`` says otherwise for one run."""
