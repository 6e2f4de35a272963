"""Formulas: what they compute, how they bind, and one clear message for everything else."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.twin.formula import FormulaError, compile_formula

CONSUMERS = "max(lag > 1000*r ? lag : (lag*2 < 1000*r ? lag : 1000*r), ratefloor)"
NAMES = ("a", "b", "lag", "r", "ratefloor")


def value(text: str, **values: float | None) -> float | None:
    return compile_formula(text, names=NAMES).evaluate(values)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("7 - 2 - 1", 4.0),
        ("5 / 2", 2.5),
        ("7 % 4 + 0.5", 3.5),
        ("-7 % 4", -3.0),
        ("int(a) % 4", 3.0),
        ("1_000 * 1e-1", 100.0),
        (".5 + 2.5", 3.0),
        ("-a + +b", -4.0),
        ("a > b ? 1 : 2", 1.0),
        ("a < b ? 1 : a == 7 ? 3 : 4", 3.0),
        ("a > b && b > 5 ? 1 : 2", 2.0),
        ("a > b || b > 5 && b > 6 ? 1 : 2", 1.0),
        ("!(a > b) ? 1 : 2", 2.0),
        ("not (a > b) or b >= 3 and a != 6 ? 1 : 2", 1.0),
        ("1 < b < a ? 1 : 2", 1.0),
        ("1 < a < b ? 1 : 2", 2.0),
        ("min(a, b, 2)", 2.0),
        ("max(a, b) + abs(-2)", 9.0),
        ("ceil(2.1) + floor(2.9)", 5.0),
        ("round(2.5) + round(-2.5) + round(0.4)", 0.0),
        ("float(a)", 7.0),
        ("a ?? b", 7.0),
        ("1 + a ?? b", 8.0),
        ("(a ?? b) * 2", 14.0),
    ],
)
def test_what_a_formula_computes(text: str, result: float) -> None:
    assert value(text, a=7.0, b=3.0) == result


def test_a_division_by_zero_is_infinite_or_no_number() -> None:
    assert value("1 / 0") == float("inf")
    assert value("-1 / a", a=0.0) == float("-inf")
    assert isnan(value("0 / 0") or 0.0)
    assert value("int(1 / 0)") == -(2.0**63)


@pytest.mark.parametrize(
    ("lag", "floor", "result"),
    [
        (5_001, 0, 5_001),  # above T per consumer: add
        (5_000, 0, 5_000),
        (2_500, 0, 5_000),  # exactly half of T: inside the band, hold
        (2_499, 0, 2_499),  # below half of T: remove
        (2_499, 4_000, 4_000),  # but not below what the input rate needs
    ],
)
def test_the_consumers_rule_adds_above_t_and_removes_below_half_t(lag: float, floor: float, result: float) -> None:
    assert value(CONSUMERS, lag=lag, r=5.0, ratefloor=floor) == result


def test_a_missing_value_needs_a_stand_in() -> None:
    assert value("a ?? b ?? 8", a=None, b=None) == 8.0
    assert value("a ?? b", a=None, b=None) is None
    with pytest.raises(FormulaError, match=r"no value of lag, and no '\?\?'"):
        value(CONSUMERS, lag=None, r=5.0, ratefloor=1.0)
    with pytest.raises(FormulaError, match="no value"):
        value("a", a=None)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", 1, "not the end"),
        ("lag +", 6, "not the end"),
        ("lag lag", 5, "'lag' is not expected"),
        ("(lag", 5, "')' is expected"),
        ("lag ? 1 : 2", 5, "'?' needs a condition"),
        ("lag > 1 ? 1", 12, "':' is expected"),
        ("lag > 1 ? 1 : r > 1", 9, "one branch is a number"),
        ("lag > 1", 8, "gives a condition"),
        ("lag && r > 1 ? 1 : 2", 5, "'&&' needs a condition"),
        ("(lag > 1) + 1", 11, "'+' needs a number"),
        ("lag % 2", 5, "'%' needs a whole number; a trigger is not one"),
        ("lag == (r > 1) ? 1 : 2", 5, "compares a number with a condition"),
        ("lagg * 2", 1, "'lagg' is unknown; triggers with a name: a, b, lag, r, ratefloor"),
        ("[lag]", 1, "'[lag]' is not understood"),
        ("sum(lag)", 1, "function 'sum' is not supported; allowed: abs, ceil"),
        ("floor(lag, 1)", 1, "floor takes one number"),
        ("max()", 1, "max takes at least one number"),
        ("a ?? b + 1", 8, "'??' and '+' cannot be mixed"),
        ("lag | abs", 5, "'|' is not understood"),
        ("lag = 1", 5, "'=' is not understood"),
        ("2lag", 1, "'2lag' is not understood"),
        ("'a'", 1, "is not understood"),
    ],
)
def test_everything_else_is_one_message_with_its_place(text: str, place: int, problem: str) -> None:
    with pytest.raises(FormulaError) as refused:
        value(text)
    message = str(refused.value)
    assert problem in message
    assert f"character {place}:" in message
    assert f"formula '{text}'" in message


@pytest.mark.parametrize("name", ["max", "floor", "count", "not", "let", "nil"])
def test_a_trigger_named_like_a_word_of_the_language_is_refused(name: str) -> None:
    with pytest.raises(FormulaError, match=f"trigger name '{name}' is a word of the formula language"):
        compile_formula("1", names=[name])


@pytest.mark.parametrize("name", ["rate-floor", "1st", "", "a b"])
def test_a_trigger_that_cannot_be_written_in_a_formula_is_refused(name: str) -> None:
    with pytest.raises(FormulaError, match="cannot stand in a formula"):
        compile_formula("1", names=[name])


def test_a_remainder_by_zero_fails() -> None:
    with pytest.raises(FormulaError, match="division by 0"):
        value("1 % 0")


def test_a_formula_says_what_it_reads() -> None:
    assert compile_formula(CONSUMERS, names=NAMES).names == {"lag", "r", "ratefloor"}


NUMBERS = st.floats(min_value=0, max_value=1e9)


@given(lag=NUMBERS, consumers=st.integers(min_value=1, max_value=100), floor=NUMBERS)
def test_the_consumers_rule_is_the_rule_in_words(lag: float, consumers: int, floor: float) -> None:
    capacity = 1000.0 * consumers
    inside = capacity / 2 <= lag <= capacity
    assert value(CONSUMERS, lag=lag, r=float(consumers), ratefloor=floor) == max(capacity if inside else lag, floor)


@given(a=NUMBERS, b=NUMBERS)
def test_arithmetic_binds_as_in_python(a: float, b: float) -> None:
    assert value("a + b * 2 - (a - b) / 4 + min(a, b) * -1", a=a, b=b) == a + b * 2 - (a - b) / 4 + min(a, b) * -1
