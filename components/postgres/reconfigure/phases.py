"""What has to be changed, and in which order. Pure functions."""

from collections.abc import Iterator, Mapping
from typing import Any

SHARED_MEMORY = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
"""A standby with less than its primary cannot replay (postgresql.org, "Hot Standby", "Administrator's Overview")."""
Json = dict[str, Any]


def difference(current: Mapping[str, Any], desired: Mapping[str, Any]) -> Json:
    """The merge patch (RFC 7396) that leads from one to the other.

    Keys that nobody asked for are left alone (``pause`` or ``slots`` may be somebody's work of this minute), except
    parameters of PostgreSQL: what the settings no longer name goes back to its default.
    """
    patch: Json = {}
    for key, value in desired.items():
        if isinstance(value, Mapping):
            found = current.get(key)
            inner = difference(found if isinstance(found, Mapping) else {}, value)
            if key == "parameters" and isinstance(found, Mapping):
                inner |= {name: None for name in found if name not in value}
            if inner or not isinstance(found, Mapping):
                patch[key] = inner
        elif not _same(current.get(key), value):
            patch[key] = value
    return patch


def phases(current: Mapping[str, Any], desired: Mapping[str, Any]) -> Iterator[Json]:
    """Yield each patch.

    What takes more shared memory reaches standbys first and then the primary; what takes less the other way round.
    A change of both kinds is made in two steps, the greater values first.
    """
    patch = difference(current, desired)
    parameters = patch.get("postgresql", {}).get("parameters", {})
    found = current.get("postgresql", {}).get("parameters", {})
    lower = {
        name: parameters[name]
        for name in SHARED_MEMORY
        if name in parameters and name in found and (parameters[name] is None or _less(parameters[name], found[name]))
    }
    first = _without(patch, lower)
    if first:
        yield first
    if lower:
        yield {"postgresql": {"parameters": lower}}


def superseded(pending: Mapping[str, Any], current: Mapping[str, Any], desired: Mapping[str, Any]) -> Json:
    """The merge patch that takes back what a server does not run yet and nobody wants any more.

    ``pending`` is Patroni's ``pending_restart_reason`` of the primary. Such a value may be one that no server starts
    with. Shared memory goes back to what runs, so that what is wanted is reached from there, in its order; of the
    others it does not matter.
    """
    found = current.get("postgresql", {}).get("parameters", {})
    wanted = desired.get("postgresql", {}).get("parameters", {})
    back: Json = {}
    for name in pending:
        if _same(found.get(name), wanted.get(name)):
            continue
        running = str(pending[name]["old_value"])
        back[name] = int(running) if name in SHARED_MEMORY and running.isdigit() else wanted.get(name)
    return {"postgresql": {"parameters": back}} if back else {}


def takes_less_memory(pending: Mapping[str, Any]) -> bool:
    """Whether a restart gives a server less than a standby needs that still has the old values.

    ``pending`` is Patroni's ``pending_restart_reason``: parameter → ``old_value`` and ``new_value``, as text, empty
    where it is not known.
    """
    changes = [(change["new_value"], change["old_value"]) for name, change in pending.items() if name in SHARED_MEMORY]
    return any(new.isdigit() and old.isdigit() and _less(new, old) for new, old in changes)


def _without(patch: Json, lower: Mapping[str, Any]) -> Json:
    rest = {key: value for key, value in patch.items() if key != "postgresql"}
    server = {key: value for key, value in patch.get("postgresql", {}).items() if key != "parameters"}
    parameters = patch.get("postgresql", {}).get("parameters", {})
    kept = {name: value for name, value in parameters.items() if name not in lower}
    if kept:
        server["parameters"] = kept
    return {**rest, **({"postgresql": server} if server else {})}


def _same(found: object, wanted: object) -> bool:
    """Whether two values mean the same: Patroni hands numbers back as it got them, as text or as numbers."""
    return (found is not None and type(found) is not bool and str(found) == str(wanted)) or found is wanted


def _less(wanted: object, found: object) -> bool:
    return int(str(wanted)) < int(str(found))
