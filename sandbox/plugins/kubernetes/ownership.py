"""Who owns a field of a live object, as its ``managedFields`` say, and what that means for ignored fields."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.plugins.kubernetes.paths import Path, expand, get, replaced, without

_ABSENT = object()


def applied_by(live: Mapping[str, Any], manager: str) -> bool:
    """Whether this manager has applied the object before."""
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in _managed(live))


def owners(live: Mapping[str, Any], path: Path) -> set[str]:
    """The managers that own what stands at a path, or a part of it."""
    return {entry["manager"] for entry in _managed(live) if _owns(entry.get("fieldsV1") or {}, path, live)}


def _managed(live: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (live.get("metadata") or {}).get("managedFields") or []


def _owns(fields: Mapping[str, Any], path: Path, live: Any) -> bool:
    """Follow a path through a field set; an empty set is a leaf and covers everything below it."""
    value = live
    for part in path:
        if isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
            inner = _element(fields, value)
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
            inner = fields.get(f"f:{part}")
        if inner is None:
            return False
        if not inner:
            return True
        fields = inner
    return True


def _element(fields: Mapping[str, Any], element: Any) -> Mapping[str, Any] | None:
    """The field set of a list's element: named by its keys, or by its value."""
    for name, inner in fields.items():
        if name.startswith("k:") and isinstance(element, Mapping):
            keys = json.loads(name[2:])
            if all(element.get(key) == value for key, value in keys.items()):
                return dict(inner)
        elif name.startswith("v:") and json.loads(name[2:]) == element:
            return dict(inner)
    return None


def settle_ignored(
    desired: dict[str, Any], live: Mapping[str, Any], ignored: list[Path], manager: str
) -> dict[str, Any]:
    """The object to apply when changes at some paths are to be ignored.

    Where another manager owns the field (a scaler owns ``spec.replicas`` once it has scaled), it is left out:
    the field keeps its value and its owner. Where only we own it, leaving it out would reset it to the
    default, so the live value is sent. Where nobody owns it, it is left out too.
    """
    for pattern in ignored:
        # From the last element to the first: removing one must not move the next.
        for path in reversed(expand(desired, pattern)):
            owning = owners(live, path)
            value = get(live, path, _ABSENT)
            if owning == {manager} and value is not _ABSENT:
                desired = replaced(desired, path, value)
            else:
                desired = without(desired, path)
    return desired


def conflict_message(kind: str, name: str, causes: list[tuple[str, str]], manager: str) -> str:
    """What a person reads when another manager owns a field: pairs of field and the server's explanation."""
    lines = [f"{kind} {name} is also managed by someone else; nothing was changed:"]
    lines += [f"  {field}: {explanation}" for field, explanation in causes]
    lines.append(
        "Leave the field to its owner (ignore_changes, or do not declare it), or take it over with the annotation "
        f'pulumi.com/patchForce: "true" (field manager {manager}).'
    )
    return "\n".join(lines)
