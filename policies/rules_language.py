"""The part of Cloudflare's Rules language that caching rules need: parsed, and evaluated over one request.

Reference: developers.cloudflare.com/ruleset-engine/rules-language. Precedence is not, and, xor, or. What is outside
of the part raises `ExpressionError`: a rule that cannot be read is not taken for a harmless one.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Fields = Mapping[str, object]
"""Field, such as `http.request.uri.path`, to its value: text, number, truth, list, or mapping of lists."""
_Node = Callable[[Fields], object]
_Each = tuple[object, ...]
"""The elements behind `[*]`: what is applied to it is applied to each."""
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>\d+)|(?P<word>[A-Za-z_][\w.]*)|(?P<sign>\[\*\]|&&|\|\||\^\^"""
    r"""|==|!=|<=|>=|[()\[\]{},!<>~]))"""
)
_SAME: Final = {"&&": "and", "||": "or", "^^": "xor", "!": "not", "==": "eq", "!=": "ne", "<": "lt", "<=": "le"}
_SIGNS: Final = {**_SAME, ">": "gt", ">=": "ge"}


class ExpressionError(ValueError):
    """An expression that cannot be parsed, or that uses what this module does not know."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression."""

    source: str
    literals: tuple[str, ...]
    """Every text in it."""
    _node: _Node

    def holds(self, fields: Fields) -> bool:
        """Tell whether a request matches. Raises ExpressionError for a field that `fields` does not have."""
        answer = self._node(fields)
        if not isinstance(answer, bool):
            message = f"the expression is no truth value: {self.source}"
            raise ExpressionError(message)
        return answer


@functools.lru_cache(maxsize=1024)
def parse(source: str) -> Expression:
    """Parse an expression. Raises ExpressionError."""
    parser = _Parser(source)
    node = parser.either()
    parser.expect_end()
    return Expression(source, tuple(parser.literals), node)


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = _tokens(source)
        self._position = 0
        self.literals: list[str] = []

    def either(self) -> _Node:
        return self._chain(self._exclusive, "or", lambda left, right: left or right)

    def _exclusive(self) -> _Node:
        return self._chain(self._both, "xor", lambda left, right: left is not right)

    def _both(self) -> _Node:
        return self._chain(self._negation, "and", lambda left, right: left and right)

    def _chain(self, part: Callable[[], _Node], word: str, combine: Callable[[bool, bool], bool]) -> _Node:
        node = part()
        while self._take(word):
            node = _combined(node, part(), combine)
        return node

    def _negation(self) -> _Node:
        if self._take("not"):
            inner = self._negation()
            return lambda fields: not _truth(inner(fields))
        return self._comparison()

    def _comparison(self) -> _Node:
        left = self._value()
        operator = self._peek()
        if operator in _OPERATORS:
            self._position += 1
            right = self._value()
            return lambda fields: _compared(left(fields), right(fields), _OPERATORS[operator])
        if self._take("in"):
            members = self._members()
            return lambda fields: _compared(left(fields), members, lambda one, _members: one in members)
        return left

    def _value(self) -> _Node:
        token = self._next()
        if token == "(":  # noqa: S105 - a sign
            node = self.either()
            self._expect(")")
            return node
        if token.startswith('"') or token.isdigit():
            constant = self._constant(token)
            return lambda _fields: constant
        if token in ("true", "false"):
            return lambda _fields: token == "true"  # noqa: S105 - a word
        node = self._call(token) if self._peek() == "(" else _field(token)
        return self._indexed(node)

    def _call(self, name: str) -> _Node:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise self._error(f"unknown function {name}")
        self._expect("(")
        arguments = [self.either()]
        while self._take(","):
            arguments.append(self.either())
        self._expect(")")
        return lambda fields: function(*(argument(fields) for argument in arguments))

    def _indexed(self, node: _Node) -> _Node:
        while self._peek() in ("[", "[*]"):
            if self._take("[*]"):
                node = _each(node)
                continue
            self._expect("[")
            node = _item(node, self._constant(self._next()))
            self._expect("]")
        return node

    def _members(self) -> frozenset[object]:
        self._expect("{")
        found: set[object] = set()
        while not self._take("}"):
            found.add(self._constant(self._next()))
        return frozenset(found)

    def _constant(self, token: str) -> str | int:
        if token.isdigit():
            return int(token)
        if not token.startswith('"'):
            raise self._error(f"a text or a number is expected at {token}")
        value = re.sub(r"\\(.)", r"\1", token[1:-1])
        self.literals.append(value)
        return value

    def _peek(self) -> str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _next(self) -> str:
        token = self._peek()
        if token is None:
            raise self._error("it ends too early")
        self._position += 1
        return token

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._position += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._error(f"{token} is expected at {self._peek() or 'the end'}")

    def expect_end(self) -> None:
        if self._peek() is not None:
            raise self._error(f"nothing is expected at {self._peek()}")

    def _error(self, reason: str) -> ExpressionError:
        return ExpressionError(f"{reason}: {self._source}")


def _tokens(source: str) -> list[str]:
    found, position, end = [], 0, len(source.rstrip())
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None:
            message = f"unknown sign at {source[position : position + 10]!r}: {source}"
            raise ExpressionError(message)
        text = match[match.lastgroup or 0]
        found.append(_SIGNS.get(text, text))
        position = match.end()
    return found


def _combined(left: _Node, right: _Node, combine: Callable[[bool, bool], bool]) -> _Node:
    return lambda fields: combine(_truth(left(fields)), _truth(right(fields)))


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"a truth value is expected instead of {value!r}"
        raise ExpressionError(message)
    return value


def _field(name: str) -> _Node:
    def value(fields: Fields) -> object:
        if name not in fields:
            message = f"unknown field {name}"
            raise ExpressionError(message)
        return fields[name]

    return value


def _each(node: _Node) -> _Node:
    def elements(fields: Fields) -> _Each:
        value = node(fields)
        if not isinstance(value, list):
            message = "[*] needs a list"
            raise ExpressionError(message)
        return tuple(value)

    return elements


def _item(node: _Node, key: str | int) -> _Node:
    def item(fields: Fields) -> object:
        value = node(fields)
        if isinstance(value, Mapping) and isinstance(key, str):
            return value.get(key)
        if isinstance(value, list) and isinstance(key, int):
            return value[key] if key < len(value) else None
        if value is None:
            return None
        message = f"[{key!r}] does not fit"
        raise ExpressionError(message)

    return item


def _compared(left: object, right: object, operator: Callable[[object, object], bool]) -> object:
    """The comparison, or one for each element; what is missing compares as false."""
    if isinstance(left, tuple):
        return [_compared(one, right, operator) for one in left]
    if left is None:
        return False
    try:
        return operator(left, right)
    except TypeError:
        message = f"{left!r} and {right!r} cannot be compared"
        raise ExpressionError(message) from None


_OPERATORS: Final[Mapping[str | None, Callable[..., bool]]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "contains": lambda left, right: right in left,
}


def _mapped(change: Callable[[str], str]) -> Callable[..., object]:
    """A function of a text; of the elements behind `[*]` it makes a list."""

    def call(value: object) -> object:
        if isinstance(value, tuple):
            return [change(str(one)) for one in value]
        return None if value is None else change(str(value))

    return call


_FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = {
    "any": lambda values: any(map(_truth, values)),
    "all": lambda values: all(map(_truth, values)),
    "lower": _mapped(str.lower),
    "upper": _mapped(str.upper),
    "len": lambda value: 0 if value is None else len(value),
    "starts_with": lambda value, start: value is not None and value.startswith(start),
    "ends_with": lambda value, end: value is not None and value.endswith(end),
}
