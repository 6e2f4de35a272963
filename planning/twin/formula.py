"""The part of the expr language that formulas of KEDA's scalingModifiers use, with its types and precedences.

Numbers, trigger names, ``+ - * / %``, comparisons, ``&& || !`` (also ``and or not``), ``?:``, ``??``, parentheses,
and ``min max abs ceil floor round int float``. Anything else is one ``FormulaError``, also where expr could do more.
Source: expr-lang/expr 1.17.8 (parser, checker) and KEDA 2.20.2 (every trigger is a float; the result becomes one).

    formula = compile_formula("max(lag, ratefloor)", names=("lag", "ratefloor"))
    formula.evaluate({"lag": 12000.0, "ratefloor": 4000.0})
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from planning.twin.formula_language import (
    BUILTINS,
    FUNCTIONS,
    KEYWORDS,
    OPERATORS,
    FormulaError,
    Run,
    Values,
    both,
    choose,
)

__all__ = ["Formula", "FormulaError", "check_trigger_names", "compile_formula"]

_LOGICAL = {"and": "&&", "or": "||", "not": "!"}
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d[\d_]*(?:\.\d[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_$])"
    r"|(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)"
    r"|(?P<operator>\?\?|&&|\|\||==|!=|<=|>=|[-+*/%<>!?:(),]))"
)
_UNARY = {"!": 50, "-": 90, "+": 90}
_COMPARISONS = frozenset(("<", ">", "<=", ">="))
_BINARY = {
    "||": 10,
    "&&": 15,
    "==": 20,
    "!=": 20,
    **dict.fromkeys(_COMPARISONS, 20),
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "??": 500,
}


class _Kind(StrEnum):
    WHOLE = "whole number"
    NUMBER = "number"
    TRUTH = "condition"


@dataclass(frozen=True, slots=True)
class _Node:
    kind: _Kind
    run: Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """A formula that was understood."""

    text: str
    names: frozenset[str]
    """The triggers that it reads."""
    _run: Run
    _may_be_nil: bool

    def evaluate(self, values: Values) -> float | None:
        """The composite metric; ``None`` when ``??`` found no value.

        ``None`` for a name is a trigger without a value. Raises ``FormulaError`` when the formula cannot go on
        without it, and for a remainder of a division by 0.
        """
        try:
            result = self._run(values)
        except TypeError as error:
            absent = ", ".join(sorted(name for name in self.names if values.get(name) is None))
            message = f"formula '{self.text}': no value of {absent}, and no '??' that stands in for it"
            raise FormulaError(message) from error
        if result is None:
            if self._may_be_nil:
                return None
            message = f"formula '{self.text}': no value"
            raise FormulaError(message)
        return float(result)


def check_trigger_names(names: Iterable[str]) -> None:
    """Raises ``FormulaError`` for a trigger's name that a formula cannot use."""
    for name in names:
        if _IDENTIFIER.fullmatch(name) is None:
            message = (
                f"trigger name '{name}' cannot stand in a formula; allowed: letters, digits and '_', no digit first"
            )
            raise FormulaError(message)
        if name in BUILTINS or name in KEYWORDS:
            message = (
                f"trigger name '{name}' is a word of the formula language; choose another, for example '{name}_value'"
            )
            raise FormulaError(message)


def compile_formula(text: str, *, names: Iterable[str]) -> Formula:
    """Understand a formula over these triggers. Raises ``FormulaError`` with the place of the first mistake."""
    known = frozenset(names)
    check_trigger_names(sorted(known))
    parser = _Parser(text, known)
    node = parser.whole()
    if node.kind is _Kind.TRUTH:
        raise parser.error("gives a condition, not a number", len(text))
    return Formula(text=text, names=frozenset(parser.used), _run=node.run, _may_be_nil="??" in text)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    """Precedence climbing, step by step as expr does it."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text, self.names = text, names
        self.used: set[str] = set()
        self.tokens, self.index = self.scan(), 0

    def error(self, problem: str, place: int) -> FormulaError:
        return FormulaError(f"formula '{self.text}', character {place + 1}: {problem}")

    def scan(self) -> list[_Token]:
        tokens, place, end = [], 0, len(self.text.rstrip())
        while place < end:
            found = _TOKEN.match(self.text, place)
            if found is None:
                start = place + len(self.text[place:]) - len(self.text[place:].lstrip())
                raise self.error(f"'{self.text[start:].split()[0]}' is not understood", start)
            kind = str(found.lastgroup)
            word = _LOGICAL.get(found[kind], found[kind])
            tokens.append(_Token("operator" if word in _UNARY or word in _BINARY else kind, word, found.start(kind)))
            place = found.end()
        tokens.append(_Token("end", "", end))
        return tokens

    @property
    def current(self) -> _Token:
        return self.tokens[self.index]

    def take(self) -> _Token:
        token = self.current
        self.index += 1
        return token

    def at(self, operator: str) -> bool:
        return self.current.kind == "operator" and self.current.text == operator

    def expect(self, operator: str) -> None:
        if not self.at(operator):
            found = f"'{self.current.text}'" if self.current.text else "the end"
            raise self.error(f"'{operator}' is expected, not {found}", self.current.place)
        self.index += 1

    def whole(self) -> _Node:
        node = self.expression(0)
        if self.current.kind != "end":
            raise self.error(f"'{self.current.text}' is not expected", self.current.place)
        return node

    def expression(self, precedence: int) -> _Node:
        left, previous = self.primary(), ""
        while self.current.kind == "operator":
            operator, level = self.current, _BINARY.get(self.current.text, -1)
            if level < precedence or level < 0:
                break
            if previous == "??" and operator.text != "??":
                raise self.error(f"'??' and '{operator.text}' cannot be mixed; use parentheses", operator.place)
            self.index += 1
            if operator.text in _COMPARISONS:
                left = self.comparison(left, operator)
            else:
                left = self.binary(operator, left, self.expression(level + 1))
            previous = operator.text
        return self.conditional(left) if precedence == 0 else left

    def conditional(self, node: _Node) -> _Node:
        while self.at("?"):
            place = self.take().place
            self.demand(node, _Kind.TRUTH, "?", place)
            then = self.expression(0)
            self.expect(":")
            otherwise = self.expression(0)
            if (then.kind is _Kind.TRUTH) != (otherwise.kind is _Kind.TRUTH):
                raise self.error("one branch is a number, the other a condition", place)
            node = _Node(_joint(then, otherwise), choose(node.run, then.run, otherwise.run))
        return node

    def primary(self) -> _Node:
        token = self.take()
        if token.kind == "operator" and token.text in _UNARY:
            return self.unary(token, self.expression(_UNARY[token.text]))
        if token.kind == "operator" and token.text == "(":
            node = self.expression(0)
            self.expect(")")
            return node
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "name":
            return self.call(token) if self.at("(") else self.trigger(token)
        found = f"'{token.text}'" if token.text else "the end"
        raise self.error(f"a number, a trigger or a function is expected, not {found}", token.place)

    def trigger(self, token: _Token) -> _Node:
        if token.text not in self.names:
            known = ", ".join(sorted(self.names)) or "(no trigger has a name)"
            raise self.error(f"'{token.text}' is unknown; triggers with a name: {known}", token.place)
        self.used.add(token.text)
        name = token.text
        return _Node(_Kind.NUMBER, lambda values: values.get(name))

    def call(self, token: _Token) -> _Node:
        function = FUNCTIONS.get(token.text)
        if function is None:
            allowed = ", ".join(sorted(FUNCTIONS))
            raise self.error(f"function '{token.text}' is not supported; allowed: {allowed}", token.place)
        self.expect("(")
        arguments: list[_Node] = []
        while not self.at(")"):
            arguments.append(self.expression(0))
            if not self.at(","):
                break
            self.index += 1
        self.expect(")")
        several = token.text in {"min", "max"}
        if not arguments or (len(arguments) > 1 and not several):
            raise self.error(f"{token.text} takes {'at least one' if several else 'one'} number", token.place)
        for argument in arguments:
            self.demand(argument, _Kind.NUMBER, token.text, token.place)
        whole = all(argument.kind is _Kind.WHOLE for argument in arguments) and token.text in {"min", "max", "abs"}
        kind = _Kind.WHOLE if whole or token.text == "int" else _Kind.NUMBER
        return _Node(kind, function(*(argument.run for argument in arguments)))

    def unary(self, operator: _Token, operand: _Node) -> _Node:
        run = operand.run
        if operator.text == "!":
            self.demand(operand, _Kind.TRUTH, "!", operator.place)
            return _Node(_Kind.TRUTH, lambda values: not run(values))
        self.demand(operand, _Kind.NUMBER, operator.text, operator.place)
        return operand if operator.text == "+" else _Node(operand.kind, lambda values: -run(values))

    def comparison(self, left: _Node, operator: _Token) -> _Node:
        """``a < b < c`` means ``a < b && b < c``."""
        right = self.expression(_BINARY[operator.text] + 1)
        node = self.binary(operator, left, right)
        while self.current.kind == "operator" and self.current.text in _COMPARISONS:
            operator, left = self.take(), right
            right = self.expression(_BINARY[operator.text] + 1)
            node = _Node(_Kind.TRUTH, both(node.run, self.binary(operator, left, right).run))
        return node

    def binary(self, operator: _Token, left: _Node, right: _Node) -> _Node:
        symbol = operator.text
        if symbol in {"==", "!="}:
            if (left.kind is _Kind.TRUTH) != (right.kind is _Kind.TRUTH):
                raise self.error(f"'{symbol}' compares a number with a condition", operator.place)
        else:
            wanted = _Kind.TRUTH if symbol in {"&&", "||"} else _Kind.WHOLE if symbol == "%" else _Kind.NUMBER
            for side in (left, right):
                self.demand(side, wanted, symbol, operator.place)
        kind = _Kind.TRUTH
        if symbol in {"+", "-", "*", "%", "??"}:
            kind = _joint(left, right)
        elif symbol == "/":
            kind = _Kind.NUMBER
        return _Node(kind, OPERATORS[symbol](left.run, right.run))

    def demand(self, node: _Node, wanted: _Kind, user: str, place: int) -> None:
        if node.kind is wanted or (wanted is _Kind.NUMBER and node.kind is _Kind.WHOLE):
            return
        hint = "; a trigger is not one, write int(…)" if wanted is _Kind.WHOLE else ""
        raise self.error(f"'{user}' needs a {wanted.value}{hint}", place)


def _number(text: str) -> _Node:
    digits = text.replace("_", "")
    if digits.isdecimal():
        whole = int(digits)
        return _Node(_Kind.WHOLE, lambda _: whole)
    value = float(digits)
    return _Node(_Kind.NUMBER, lambda _: value)


def _joint(left: _Node, right: _Node) -> _Kind:
    return left.kind if left.kind is right.kind else _Kind.NUMBER
