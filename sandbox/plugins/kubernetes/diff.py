"""What changed between two declarations of an object, and whether it can change in place."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sandbox.plugins.kubernetes.checking import AUTONAMED
from sandbox.plugins.kubernetes.paths import Path, get
from sandbox.plugins.kubernetes.values import UNKNOWN, Secret

_MISSING: Final = object()


class Kind(StrEnum):
    """What happened at a path."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference; ``replaces`` when the object has to be made anew for it."""

    path: Path
    kind: Kind
    replaces: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectDiff:
    """All differences of an object."""

    changes: tuple[Change, ...]
    delete_before_replace: bool = False

    @property
    def replaces(self) -> bool:
        """Whether any difference needs a new object."""
        return any(change.replaces for change in self.changes)


def changes(old: Any, new: Any, path: Path = ()) -> Iterator[Change]:
    """The differences from ``old`` to ``new``, deepest paths; null and absent are the same.

    A value that is not known yet differs from everything. Making a value secret or public is a difference
    for the engine's state and none for the object, hence it counts only where the value differs too.
    """
    old, new = _bare(old), _bare(new)
    if old is _MISSING and new is _MISSING:
        return
    if old is _MISSING:
        yield Change(path=path, kind=Kind.ADD)
    elif new is _MISSING:
        yield Change(path=path, kind=Kind.DELETE)
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from changes(old.get(key, _MISSING), new.get(key, _MISSING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from changes(_at(old, index), _at(new, index), (*path, index))
    elif new is UNKNOWN or type(old) is not type(new) or old != new:
        yield Change(path=path, kind=Kind.UPDATE)


def _bare(value: Any) -> Any:
    while isinstance(value, Secret):
        value = value.value
    return _MISSING if value is None else value


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _MISSING


def object_diff(old: dict[str, Any], new: dict[str, Any], immutable: list[Path]) -> ObjectDiff:
    """The differences of two declarations.

    A replacement deletes first when both have the same name and namespace and the user chose the name:
    two objects cannot share it. A generated name changes with the replacement.
    """
    found = tuple(
        Change(path=change.path, kind=change.kind, replaces=any(_touches(change.path, p) for p in immutable))
        for change in changes(old, new)
        if change.path != (AUTONAMED,)
    )
    same_place = all(get(old, ("metadata", key)) == get(new, ("metadata", key)) for key in ("name", "namespace"))
    first = any(change.replaces for change in found) and same_place and not new.get(AUTONAMED)
    return ObjectDiff(changes=found, delete_before_replace=first)


def _touches(path: Path, immutable: Path) -> bool:
    """Whether a change at ``path`` changes what stands at ``immutable``: inside it, or around it."""
    shared = min(len(path), len(immutable))
    return path[:shared] == immutable[:shared]
