"""Kubernetes quantities of memory as bytes, as far as rules compare them."""

import re

_PATTERN = re.compile(r"(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?")
_FACTORS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def bytes_of(value: object) -> float | None:
    """Return the bytes that a quantity stands for; None where it is missing, unknown or none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else float(found.group(1)) * _FACTORS[found.group(2) or ""]
