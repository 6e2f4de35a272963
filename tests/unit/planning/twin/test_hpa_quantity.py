"""Numbers as Go and the API machinery have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.twin.quantity import (
    approximate_float,
    float_of_milli,
    format_milli,
    milli,
    milli_of_float,
    truncate_int64,
    wrap_int32,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1000), ("500m", 500), ("0.0001", 1), ("1k", 10**6), ("1Gi", 2**30 * 1000), (1000, 10**6), ("1.0005", 1001)],
)
def test_milli_units_are_rounded_up(text: object, expected: int) -> None:
    assert milli(text) == expected


@pytest.mark.parametrize(
    ("milli_units", "text"),
    [
        (0, "0"),
        (1_000, "1"),
        (1_000_000, "1k"),
        (24_999_000, "24999"),
        (1_500, "1500m"),
        (10**9, "1M"),
        (333, "333m"),
        (12_345_678_000, "12345678"),
    ],
)
def test_the_canonical_form_has_the_largest_suffix_without_a_fraction(milli_units: int, text: str) -> None:
    assert format_milli(milli_units) == text


@given(st.integers(0, 10**15))
def test_the_canonical_form_loses_nothing(milli_units: int) -> None:
    assert milli(format_milli(milli_units)) == milli_units
    assert approximate_float(format_milli(milli_units)) == float_of_milli(milli_units)


@given(st.integers(0, 10**12))
def test_whole_units_are_whole_floats(units: int) -> None:
    """A comparison such as ``lag > 1000 * r`` sees exact numbers."""
    assert float_of_milli(units * 1000) == float(units)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2.0, 2000), (2_000.1239, 2_000_124), (0.0004, 0), (-1.0, 0), (float("nan"), 0), (float("inf"), 0)],
)
def test_what_a_scaler_reports_for_a_number(value: float, expected: int) -> None:
    assert milli_of_float(value) == expected


def test_conversions_wrap_and_saturate_as_on_amd64() -> None:
    assert [wrap_int32(number) for number in (2**31 - 1, 2**31, -1, 2**32 + 5)] == [2**31 - 1, -(2**31), -1, 5]
    assert [truncate_int64(number) for number in (2.9, -2.9, 1e300, float("nan"))] == [2, -2, -(2**63), -(2**63)]
