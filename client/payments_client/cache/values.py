"""What passes through the caches: loaded truth, encoded entries, and how they compare."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Versions = Mapping[str, int]
"""Aggregate id → version of its stream. A value made of several aggregates (a user's wallets) names all of them."""
NO_VERSIONS: Versions = MappingProxyType({})


def covers(have: Versions, wanted: Versions) -> bool:
    """Whether ``have`` is at no aggregate older than ``wanted``."""
    return all(have.get(aggregate, 0) >= version for aggregate, version in wanted.items())


def highest(one: Versions, other: Versions) -> Versions:
    """The newer version of each aggregate."""
    if not other:
        return one
    return {aggregate: max(one.get(aggregate, 0), other.get(aggregate, 0)) for aggregate in (*one, *other)}


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """What the source says: a value, or ``None`` for "there is no such thing", and the versions it was made of.

    The versions are read in the same transaction as the value. A list of wallets names closed ones too.
    """

    value: T | None
    versions: Versions


@dataclass(frozen=True, slots=True)
class Entry:
    """An encoded value. ``payload`` is ``None`` for "there is no such thing"; ``read_at_seconds`` is this process'
    monotonic time at which the truth was read, or an earlier one.
    """

    payload: bytes | None
    versions: Versions
    read_at_seconds: float


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Bytes and back. ``schema`` changes with the shape: payloads of another schema are not read."""

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    schema: int = 1


def _read_only(value: Any) -> Any:
    """Callers share what L1 holds: a change by one must not be seen by the others."""
    if isinstance(value, dict):
        return MappingProxyType({key: _read_only(item) for key, item in value.items()})
    if isinstance(value, list):
        return tuple(_read_only(item) for item in value)
    return value


def json_codec(schema: int = 1) -> Codec[Any]:
    """JSON; mappings and lists come back read-only."""
    return Codec(
        encode=lambda value: json.dumps(value, separators=(",", ":")).encode(),
        decode=lambda payload: _read_only(json.loads(payload)),
        schema=schema,
    )
