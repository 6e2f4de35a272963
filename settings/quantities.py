"""Kubernetes resource quantities as numbers: ``500m`` cores, ``1Gi`` bytes."""

import re
from decimal import Decimal
from math import ceil
from typing import Annotated

from pydantic import AfterValidator, Field

_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
}
_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def parse_quantity(text: str) -> Decimal:
    """Cores or bytes that a quantity stands for.

    Source: the API server's grammar (k8s.io/apimachinery/pkg/api/resource), without exponents and without the
    suffixes that nobody writes for a pod. Raises ``ValueError`` with an example for anything else.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        message = f"'{text}' is not a quantity; write for example 500m, 2, 512Mi or 1Gi"
        raise ValueError(message)
    return Decimal(found.group(1)) * _SUFFIXES[found.group(2) or ""]


def format_cpu(cores: Decimal) -> str:
    """Cores as the shortest exact quantity: ``2`` or ``2500m`` (rounded up to a whole millicore)."""
    millicores = ceil(cores * 1000)
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def format_bytes(size: Decimal) -> str:
    """Bytes as whole mebibytes, rounded up: ``1536Mi``, or whole gibibytes where they are exact: ``2Gi``."""
    mebibytes = ceil(size / 2**20)
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"


def _positive(text: str) -> str:
    if parse_quantity(text) <= 0:
        message = f"'{text}' must be more than 0"
        raise ValueError(message)
    return text


Quantity = Annotated[
    str,
    AfterValidator(_positive),
    Field(description="a Kubernetes quantity, for example 500m, 2, 512Mi, 1Gi"),
]
