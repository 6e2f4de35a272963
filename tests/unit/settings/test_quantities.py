"""Quantities as numbers: what is read, and that writing never loses any of it."""

from decimal import Decimal
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.quantities import format_bytes, format_cpu, parse_quantity

MEBIBYTE = 2**20
MILLICORES = st.integers(min_value=1, max_value=10_000_000)
# Finer than what is written, so that rounding has something to do.
CORES = st.decimals(min_value="0.000001", max_value=10_000, places=6)
BYTES = st.decimals(min_value="0.001", max_value=2**50, places=3)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("1000m", "1"),
        ("2", "2"),
        ("0.25", "0.25"),
        ("1k", "1000"),
        ("1M", "1000000"),
        ("1G", "1000000000"),
        ("1T", "1000000000000"),
        ("1Ki", "1024"),
        ("512Mi", "536870912"),
        ("1Gi", "1073741824"),
        ("1.5Gi", "1610612736"),
        ("1Ti", "1099511627776"),
    ],
)
def test_quantities_stand_for_cores_or_bytes(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "+1", "1e3", "1 Gi", "1Gib", "1gi", ".5", "5.", "1Gi\n", "٣", "NaN", "0x1"]
)
def test_what_the_api_server_or_a_reader_would_not_accept_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity; write for example 500m, 2, 512Mi or 1Gi"):
        parse_quantity(text)


@given(MILLICORES)
def test_whole_millicores_survive_the_round_trip(millicores: int) -> None:
    cores = Decimal(millicores) / 1000
    assert parse_quantity(format_cpu(cores)) == cores


@given(st.integers(min_value=1, max_value=2**30))
def test_whole_mebibytes_survive_the_round_trip(mebibytes: int) -> None:
    size = Decimal(mebibytes * MEBIBYTE)
    assert parse_quantity(format_bytes(size)) == size


@given(CORES)
def test_cpu_is_rounded_up_by_less_than_a_millicore(cores: Decimal) -> None:
    written = parse_quantity(format_cpu(cores))
    assert cores <= written < cores + Decimal("0.001")


@given(BYTES)
def test_bytes_are_rounded_up_by_less_than_a_mebibyte(size: Decimal) -> None:
    written = parse_quantity(format_bytes(size))
    assert size <= written < size + MEBIBYTE


@given(CORES, CORES)
def test_more_cores_are_never_written_as_fewer(one: Decimal, other: Decimal) -> None:
    less, more = sorted((one, other))
    assert parse_quantity(format_cpu(less)) <= parse_quantity(format_cpu(more))


@given(BYTES, BYTES)
def test_more_bytes_are_never_written_as_fewer(one: Decimal, other: Decimal) -> None:
    less, more = sorted((one, other))
    assert parse_quantity(format_bytes(less)) <= parse_quantity(format_bytes(more))


@given(
    st.integers(min_value=1, max_value=10**6), st.sampled_from(["m", "", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"])
)
def test_a_larger_number_with_the_same_suffix_is_larger(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") < parse_quantity(f"{number + 1}{suffix}")


@pytest.mark.parametrize(
    ("cores", "text"), [("2", "2"), ("2.5", "2500m"), ("0.0001", "1m"), ("0.0010001", "2m"), ("1.0000000001", "1001m")]
)
def test_cpu_is_written_short(cores: str, text: str) -> None:
    assert format_cpu(Decimal(cores)) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1Mi"), (MEBIBYTE, "1Mi"), (MEBIBYTE + 1, "2Mi"), (1024 * MEBIBYTE, "1Gi"), (1536 * MEBIBYTE, "1536Mi")],
)
def test_bytes_are_written_in_whole_units(size: int, text: str) -> None:
    assert format_bytes(Decimal(size)) == text
    assert ceil(parse_quantity(text)) >= size
