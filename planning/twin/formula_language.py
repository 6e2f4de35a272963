"""Words, types and operations of the formulas, as expr computes them: floats like Go's, divisions by 0 included.

Source: expr-lang/expr 1.17.8, ``builtin`` and ``vm/runtime``.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, copysign, floor, inf, isfinite, isnan, nan
from typing import Any

from planning.twin.quantity import truncate_int64

Values = Mapping[str, float | None]
"""Triggers by name; ``None`` where a trigger has no value."""
Run = Callable[[Values], Any]
"""A part of a formula, ready to run."""

KEYWORDS = frozenset(
    {
        "let",
        "if",
        "else",
        "in",
        "not",
        "and",
        "or",
        "matches",
        "contains",
        "startsWith",
        "endsWith",
        "true",
        "false",
        "nil",
    }
)
"""Words that are never a name."""
# fmt: off
BUILTINS = frozenset({
    "all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count",
    "sum", "groupBy", "sortBy", "reduce", "len", "type", "abs", "ceil", "floor", "round", "int", "float",
    "string", "trim", "trimPrefix", "trimSuffix", "upper", "lower", "split", "splitAfter", "replace", "repeat",
    "join", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix", "max", "min", "mean", "median", "toJSON",
    "fromJSON", "toBase64", "fromBase64", "now", "duration", "date", "timezone", "first", "last", "get", "take",
    "keys", "values", "toPairs", "fromPairs", "reverse", "uniq", "concat", "flatten", "sort", "bitand", "bitor",
    "bitxor", "bitnand", "bitshl", "bitshr", "bitushr", "bitnot",
})
# fmt: on
"""Functions of the language: ``floor`` as a trigger's name would be read as the function when a ``(`` follows."""


class FormulaError(ValueError):
    """A formula that KEDA would refuse or that fails while it runs; says where."""


def choose(condition: Run, then: Run, otherwise: Run) -> Run:
    """One of two, without running the other."""
    return lambda values: then(values) if condition(values) else otherwise(values)


def both(left: Run, right: Run) -> Run:
    """The second is run only when the first holds."""
    return lambda values: left(values) and right(values)


def _either(left: Run, right: Run) -> Run:
    return lambda values: left(values) or right(values)


def _coalesce(left: Run, right: Run) -> Run:
    def run(values: Values) -> Any:
        value = left(values)
        return right(values) if value is None else value

    return run


def _divide(left: float, right: float) -> float:
    """Float division as Go does it: by 0 it gives an infinity, or NaN for 0/0."""
    if right != 0:
        return left / right
    if left == 0 or isnan(left):
        return nan
    return copysign(inf, left) * copysign(1.0, float(right))


def _remainder(left: int, right: int) -> int:
    """The remainder as Go computes it: with the sign of the dividend."""
    if right == 0:
        message = "a formula takes the remainder of a division by 0"
        raise FormulaError(message)
    remainder = abs(left) % abs(right)
    return remainder if left >= 0 else -remainder


def _round(value: float) -> float:
    """Half away from zero, as Go's math.Round."""
    return copysign(floor(abs(value) + 0.5), value) if isfinite(value) and abs(value) < 2**52 else value


def _unary_function(apply: Callable[[Any], Any]) -> Callable[..., Run]:
    return lambda argument: lambda values: apply(argument(values))


def _extreme(pick: Callable[[Sequence[Any]], Any]) -> Callable[..., Run]:
    return lambda *arguments: lambda values: pick([argument(values) for argument in arguments])


FUNCTIONS: Mapping[str, Callable[..., Run]] = {
    "min": _extreme(min),
    "max": _extreme(max),
    "abs": _unary_function(abs),
    "ceil": _unary_function(lambda value: float(ceil(value)) if isfinite(value) else value),
    "floor": _unary_function(lambda value: float(floor(value)) if isfinite(value) else value),
    "round": _unary_function(lambda value: _round(float(value))),
    "int": _unary_function(lambda value: truncate_int64(float(value))),
    "float": _unary_function(float),
}
OPERATORS: Mapping[str, Callable[[Run, Run], Run]] = {
    "||": _either,
    "&&": both,
    "??": _coalesce,
    "==": lambda left, right: lambda values: left(values) == right(values),
    "!=": lambda left, right: lambda values: left(values) != right(values),
    "<": lambda left, right: lambda values: left(values) < right(values),
    ">": lambda left, right: lambda values: left(values) > right(values),
    "<=": lambda left, right: lambda values: left(values) <= right(values),
    ">=": lambda left, right: lambda values: left(values) >= right(values),
    "+": lambda left, right: lambda values: left(values) + right(values),
    "-": lambda left, right: lambda values: left(values) - right(values),
    "*": lambda left, right: lambda values: left(values) * right(values),
    "/": lambda left, right: lambda values: _divide(left(values), right(values)),
    "%": lambda left, right: lambda values: _remainder(left(values), right(values)),
}
