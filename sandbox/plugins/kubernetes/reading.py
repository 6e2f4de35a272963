"""What a live object means for the declared inputs: drift without phantom differences."""

from typing import Any, Final

from sandbox.plugins.kubernetes.checking import AUTONAMED
from sandbox.plugins.kubernetes.paths import get
from sandbox.plugins.kubernetes.values import UNKNOWN, Secret

_ABSENT: Final = object()
# What the server writes and a declaration does not.
_SERVER_METADATA: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_UNKNOWN_IN_PREVIEW: Final = ("creationTimestamp", "generation", "resourceVersion", "uid")
_ASSIGNED_TO_SERVICES: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort")


def live_inputs(declared: Any, normal: Any, live: Any) -> Any:
    """The declared inputs, updated where the live object differs from what they mean.

    ``normal`` is what the API server makes of the declared inputs (a dry run): the server writes ``1000m`` as
    ``1`` and fills in defaults, which is no drift. Fields that were not declared are not looked at.
    """
    if isinstance(declared, Secret):
        return Secret(live_inputs(declared.value, normal, live))
    if isinstance(declared, dict):
        if not isinstance(live, dict):
            return declared if normal == live else live
        found = {}
        for key, item in declared.items():
            inner = live_inputs(item, _child(normal, key), _child(live, key))
            if inner is not _ABSENT:
                found[key] = inner
        return found
    if isinstance(declared, list) and isinstance(live, list) and isinstance(normal, list):
        if len(live) == len(declared) == len(normal):
            return [live_inputs(*triple) for triple in zip(declared, normal, live, strict=True)]
        return declared if normal == live else live
    return declared if normal == live else live


def _child(value: Any, key: str) -> Any:
    return value.get(key, _ABSENT) if isinstance(value, dict) else _ABSENT


def refreshed_inputs(declared: dict[str, Any], normal: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """``live_inputs`` of a whole object; what is not part of the object itself stays as declared."""
    apart = {key: value for key, value in declared.items() if key in {AUTONAMED, "stringData"}}
    rest = {key: value for key, value in declared.items() if key not in apart and value is not None}
    updated = live_inputs(rest, normal, live)
    result: dict[str, Any] = {**updated, **apart}
    # stringData is write-only: the server answers with data.
    if "stringData" in declared and normal.get("data") != live.get("data"):
        result.pop("stringData")
        result["data"] = Secret(live.get("data", {}))
    return result


def imported_inputs(live: dict[str, Any]) -> dict[str, Any]:
    """The inputs of an object that was not declared so far: everything that is not the server's own."""
    metadata = {key: value for key, value in live["metadata"].items() if key not in _SERVER_METADATA}
    inputs = {key: value for key, value in live.items() if key not in {"status", "metadata"}}
    inputs["metadata"] = metadata
    return hide_secret_data(inputs)


def hide_secret_data(value: dict[str, Any]) -> dict[str, Any]:
    """A Secret's data is secret wherever it comes from."""
    if value.get("kind") != "Secret" or value.get("apiVersion") != "v1":
        return value
    hidden = dict(value)
    for key in ("data", "stringData"):
        if key in hidden and not isinstance(hidden[key], Secret) and hidden[key] is not UNKNOWN:
            hidden[key] = Secret(hidden[key])
    return hidden


def without_bookkeeping(live: dict[str, Any]) -> dict[str, Any]:
    """The object without ``managedFields``: as large as the rest, and no use to a program."""
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    return {**live, "metadata": metadata}


def as_preview(answer: dict[str, Any], declared: dict[str, Any], *, creating: bool) -> dict[str, Any]:
    """A dry run's answer with what only the real run will know marked as unknown."""
    known = ("resourceVersion", "generation") if not creating else _UNKNOWN_IN_PREVIEW
    metadata = {**answer["metadata"], **{key: UNKNOWN for key in known if key in answer["metadata"]}}
    result = {**answer, "metadata": metadata}
    if creating and "status" in result:
        result["status"] = UNKNOWN
    if creating and answer.get("kind") == "Service" and isinstance(answer.get("spec"), dict):
        assigned = [key for key in _ASSIGNED_TO_SERVICES if get(declared, ("spec", key)) is None]
        result["spec"] = {**answer["spec"], **{key: UNKNOWN for key in assigned if key in answer["spec"]}}
    return result
