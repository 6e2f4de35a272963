"""Property values as the engine sends them, decoded to plain Python with marks for secrets and unknowns.

The engine's markers are a published part of its protocol: a secret is an object with a signature key, a
value that is not known yet is one fixed string.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a marker of the protocol, not a secret
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# Shorter plain texts occur by chance ("1", "true") and would mark half an object as secret.
SHORTEST_RECOGNISABLE_SECRET: Final = 4


class _Unknown:
    """A value that only the update will know."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must stay encrypted in the state and out of every message."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(...)"


def decode(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The mapping in a protobuf struct. Whole numbers become integers: Kubernetes knows no ``3.0`` replicas."""
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def _decode_value(value: struct_pb2.Value) -> Any:  # noqa: PLR0911 - JSON has seven shapes
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text: str = value.string_value
        return UNKNOWN if text == UNKNOWN_STRING else text
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE_KEY in fields and fields[SIGNATURE_KEY].string_value == SECRET_SIGNATURE:
            return Secret(_decode_value(fields["value"]))
        return {key: _decode_value(item) for key, item in fields.items()}
    if kind == "list_value":
        return [_decode_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number: float = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    return None


def encode(mapping: Mapping[str, Any]) -> struct_pb2.Struct:
    """A protobuf struct of decoded values."""
    struct = struct_pb2.Struct()
    _fill_struct(struct, mapping)
    return struct


def _fill_struct(struct: struct_pb2.Struct, mapping: Mapping[str, Any]) -> None:
    fields = struct.fields
    for key, value in mapping.items():
        _fill_value(fields[key], value)


def _fill_value(target: struct_pb2.Value, value: Any) -> None:
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        _fill_struct(target.struct_value, value)
    elif isinstance(value, list):
        target.list_value.SetInParent()
        items = target.list_value.values
        for item in value:
            _fill_value(items.add(), item)
    elif value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif value is UNKNOWN:
        target.string_value = UNKNOWN_STRING
    elif isinstance(value, Secret):
        target.struct_value.fields[SIGNATURE_KEY].string_value = SECRET_SIGNATURE
        _fill_value(target.struct_value.fields["value"], value.value)
    else:
        message = f"cannot send a {type(value).__name__} to the engine"
        raise TypeError(message)


def plain(value: Any) -> Any:
    """The value without secret marks and without nulls: what the API server gets."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether anything inside is not known yet."""
    if value is UNKNOWN:
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False


def secret_texts(value: Any, *, inside: bool = False) -> Iterator[str]:
    """Every text that is part of a secret."""
    if isinstance(value, Secret):
        yield from secret_texts(value.value, inside=True)
    elif isinstance(value, dict):
        for item in value.values():
            yield from secret_texts(item, inside=inside)
    elif isinstance(value, list):
        for item in value:
            yield from secret_texts(item, inside=inside)
    elif inside and isinstance(value, str) and len(value) >= SHORTEST_RECOGNISABLE_SECRET:
        yield value


def keep_secrecy(outputs: Any, inputs: Any) -> Any:
    """``outputs`` with a secret mark wherever ``inputs`` has one, and on every text equal to a secret."""
    texts = frozenset(secret_texts(inputs))
    if not texts and not _has_secret(inputs):
        return outputs
    return _mark(outputs, inputs, texts)


def _has_secret(value: Any) -> bool:
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(_has_secret(item) for item in value.values())
    return isinstance(value, list) and any(_has_secret(item) for item in value)


def _mark(output: Any, source: Any, texts: frozenset[str]) -> Any:
    if isinstance(output, Secret):
        return output
    if isinstance(source, Secret):
        return Secret(output)
    if isinstance(output, dict):
        inner = source if isinstance(source, dict) else {}
        return {key: _mark(item, inner.get(key), texts) for key, item in output.items()}
    if isinstance(output, list):
        items = source if isinstance(source, list) else []
        return [_mark(item, items[index] if index < len(items) else None, texts) for index, item in enumerate(output)]
    return Secret(output) if isinstance(output, str) and output in texts else output


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with every leaf replaced by what ``change`` returns for it; secret marks stay."""
    if isinstance(value, Secret):
        return Secret(map_leaves(value.value, change))
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [map_leaves(item, change) for item in value]
    return change(value)
