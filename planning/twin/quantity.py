"""Kubernetes quantities as the controllers compute with them: whole milli-units and, rarely, a float."""

from decimal import ROUND_CEILING, Decimal
from math import isfinite

from settings.quantities import parse_quantity

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1
_SUFFIXES = (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3))


def milli(value: object) -> int:
    """A manifest's quantity in milli-units, rounded up (``Quantity.MilliValue``): ``1k`` is 1000000, ``1Gi`` 2^30·1000.

    Raises ``ValueError`` for anything that is not a quantity.
    """
    return int((parse_quantity(str(value)) * 1000).to_integral_value(rounding=ROUND_CEILING))


def approximate_float(value: object) -> float:
    """``Quantity.AsApproximateFloat64`` of the canonical form that the API server hands out."""
    return float_of_milli(milli(value))


def float_of_milli(milli_units: int) -> float:
    """Units of a value in milli-units, with the float product of ``Quantity.AsApproximateFloat64``."""
    if milli_units % 1000 == 0:
        return float(milli_units // 1000)
    return milli_units * 1e-3


def milli_of_float(value: float) -> int:
    """What a KEDA scaler reports for a number: three decimals; NaN, infinities and negatives become 0.

    Source: ``quantityFromFloat64`` of KEDA 2.20.2 (``%.3f``, round half to even on the binary value).
    """
    if not isfinite(value) or value < 0:
        return 0
    return int(f"{value:.3f}".replace(".", ""))


def format_milli(milli_units: int) -> str:
    """The canonical decimal quantity: 1000000 → ``1k``, 1500 → ``1500m``, 24999000 → ``24999``."""
    if milli_units == 0:
        return "0"
    value = Decimal(milli_units).scaleb(-3)
    for suffix, exponent in _SUFFIXES:
        scaled = value.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    message = f"{milli_units} is not a whole number of milli-units"
    raise ValueError(message)


def wrap_int32(value: int) -> int:
    """Go's conversion of an ``int64`` to ``int32``: the low 32 bits."""
    return (value + 2**31) % 2**32 - 2**31


def truncate_int64(value: float) -> int:
    """Go's conversion of a float64 to ``int64`` on amd64: toward zero; out of range and NaN give the smallest."""
    if not isfinite(value) or not -(2.0**63) <= value < 2.0**63:
        return -(2**63)
    return int(value)
