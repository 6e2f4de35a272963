"""Reading resource properties that may be missing, of the wrong shape, or not known before the update.

Every rule reads through these functions. A value that the preview does not know reads as `UNKNOWN`, so one
unknown field passes over the checks of that field only: the SDK would otherwise give up the whole policy for
the resource and report an advisory instead of the violation.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from pulumi_policy.proxy import UnknownValueError


class Unknown(Enum):
    """The type of `UNKNOWN`."""

    UNKNOWN = "not known before the update"


UNKNOWN: Final = Unknown.UNKNOWN


def read(value: object, *path: str) -> object:
    """Return the value at `path`: None where it is missing, `UNKNOWN` where it or a part above it is not
    known.
    """
    for key in path:
        if value is UNKNOWN:
            return UNKNOWN
        if not isinstance(value, Mapping):
            return None
        try:
            value = value[key]
        except KeyError:
            return None
        except UnknownValueError:
            return UNKNOWN
    return value


def elements(value: object) -> list[object]:
    """Return the elements of a list, unknown ones as `UNKNOWN`; nothing for a value that is no list."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    found: list[object] = []
    for position in range(len(value)):
        try:
            found.append(value[position])
        except UnknownValueError:
            found.append(UNKNOWN)
    return found


def fields(value: object) -> dict[str, object]:
    """Return the fields of a mapping, unknown ones as `UNKNOWN`; nothing for a value that is no mapping."""
    if not isinstance(value, Mapping):
        return {}
    return {str(key): read(value, key) for key in value}


def text(value: object) -> str | None:
    """Return the value if it is a string."""
    return value if isinstance(value, str) else None


def scalar(value: object) -> str | float | Unknown | None:
    """Return a value that can be a name or a port; None for a collection, which the API server refuses there."""
    return value if isinstance(value, str | int | float | Unknown) else None


def number(value: object) -> float | None:
    """Return the value if it is a number, or a string that holds one (KEDA writes its numbers as strings)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def plain(value: object) -> object:
    """Return a copy made of dict, list and scalars, for comparing; `UNKNOWN` if any part is not known."""
    if isinstance(value, Mapping):
        mapping = {key: plain(part) for key, part in fields(value).items()}
        return UNKNOWN if any(part is UNKNOWN for part in mapping.values()) else mapping
    if isinstance(value, Sequence) and not isinstance(value, str):
        sequence = [plain(part) for part in elements(value)]
        return UNKNOWN if any(part is UNKNOWN for part in sequence) else sequence
    return value


def show(value: object) -> str:
    """Write a number, name or flag for a message. Numbers arrive as floats and are written as people write
    them.
    """
    if value is None:
        return "not set"
    if value is UNKNOWN:
        return UNKNOWN.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    return f"'{value}'"
