"""Property paths in Pulumi's syntax: ``spec.template.metadata.labels["app.kubernetes.io/name"]``, ``a[0].b``."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

Path = tuple[str | int, ...]
WILDCARD: Final = "*"
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*\Z")
_TOKEN = re.compile(r"""\.?([^.\[\]"]+)|\[(\d+|\*)\]|\.?\["((?:[^"\\]|\\.)*)"\]""")


def show(path: Sequence[str | int]) -> str:
    """The path as text."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def parse(text: str) -> Path:
    """The path that a text states. Raises ``ValueError`` when it is none."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            message = f"{text!r} is not a property path (at character {position + 1})"
            raise ValueError(message)
        key, index, quoted = match.groups()
        if key is not None:
            parts.append(key)
        elif index is not None:
            parts.append(index if index == WILDCARD else int(index))
        else:
            parts.append(json.loads(f'"{quoted}"'))
        position = match.end()
    return tuple(parts)


def get(value: Any, path: Iterable[str | int], default: Any = None) -> Any:
    """What stands at a path, or the default."""
    for part in path:
        found = [] if part == WILDCARD else _children(value, part)
        if not found:
            return default
        value = found[0][1]
    return value


def expand(value: Any, path: Path) -> list[Path]:
    """The existing paths that a path with wildcards means inside a value."""
    found: list[tuple[Path, Any]] = [((), value)]
    for part in path:
        found = [((*prefix, key), item) for prefix, node in found for key, item in _children(node, part)]
    return [prefix for prefix, _ in found]


def _children(node: Any, part: str | int) -> list[tuple[str | int, Any]]:
    if isinstance(node, dict):
        return list(node.items()) if part == WILDCARD else [(part, node[part])] if part in node else []
    if isinstance(node, list):
        return [(index, item) for index, item in enumerate(node) if part in {WILDCARD, index}]
    return []


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy of the value with something else at an existing path."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, dict):
        return {key: replaced(item, tuple(rest), new) if key == head else item for key, item in value.items()}
    return [replaced(item, tuple(rest), new) if index == head else item for index, item in enumerate(value)]


def without(value: Any, path: Path) -> Any:
    """A copy of the value without what stands at a path; the value itself when nothing does."""
    head, *rest = path
    if isinstance(value, dict) and head in value:
        if not rest:
            return {key: item for key, item in value.items() if key != head}
        return {key: without(item, tuple(rest)) if key == head else item for key, item in value.items()}
    if isinstance(value, list) and isinstance(head, int) and head < len(value):
        if not rest:
            return [item for index, item in enumerate(value) if index != head]
        return [without(item, tuple(rest)) if index == head else item for index, item in enumerate(value)]
    return value
