"""Changes of a stack file that keep its comments, its order and what other parts share with the changed one."""

import copy
import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

PLATFORM = ("config", "payments:platform")
_WIDTH = 4096
"""Never fold a line."""


class EditError(ValueError):
    """A change that does not fit the stack file; the message names the path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One value under ``payments:platform``."""

    path: tuple[str, ...]
    before: object
    after: object

    @property
    def dotted(self) -> str:
        """The path as messages show it."""
        return ".".join(self.path)

    def __str__(self) -> str:
        return f"{self.dotted}: {self.before} → {self.after}"


def reversed_edits(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """What takes the edits back."""
    return tuple(Edit(path=edit.path, before=edit.after, after=edit.before) for edit in edits)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    # The library would write the null of `storage: null` as nothing at all.
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The stack file's text with other values at the edits' paths.

    A mapping that other parts share through an anchor is copied first: they keep what they have. Raises ``EditError``
    when a path does not exist or holds another value than the edit starts from.
    """
    yaml = _yaml()
    document = yaml.load(text)
    for edit in edits:
        _apply(document, edit)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _apply(document: Any, edit: Edit) -> None:
    node = document
    path = (*PLATFORM, *edit.path)
    for index, key in enumerate(path[:-1]):
        if not isinstance(node, dict) or key not in node:
            message = f"{edit.dotted}: the stack file has no '{key}'; fix: write it there before it can be changed"
            raise EditError(message)
        if index >= len(PLATFORM) and node[key] is not None:
            _own(document, node, key)
        node = node[key]
    last = path[-1]
    found = node.get(last) if isinstance(node, dict) else None
    if found != edit.before:
        message = (
            f"{edit.dotted}: is {found}, and the change starts from {edit.before}; fix: look at the file and retry"
        )
        raise EditError(message)
    node[last] = edit.after


def _own(document: Any, parent: Any, key: str) -> None:
    """Give the parent a copy of its own when the node is used in more than one place."""
    node = parent[key]
    if _uses(document, node, set()) < 2:  # noqa: PLR2004 # its own place is one
        return
    own = copy.deepcopy(node)
    own.yaml_set_anchor(None)
    parent[key] = own


def _uses(tree: Any, node: Any, seen: set[int]) -> int:
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    count = 0
    for child in children:
        count += child is node
        if id(child) not in seen:
            seen.add(id(child))
            count += _uses(child, node, seen)
    return count


def diff(before: str, after: str, name: str) -> str:
    """Unified diff of two texts of the same file; encrypted values are not repeated in it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=2
    )
    return "".join(f"{line.split('secure:')[0]}secure: …\n" if "secure:" in line else line for line in lines)
