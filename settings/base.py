"""What every settings model shares: strict, frozen, nothing unknown."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Frozen, no unknown keys, no silent conversion: ``"3"`` is not a number and ``1`` is not a yes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Environment(StrEnum):
    """Which promises a stack makes. Both differ by data only."""

    DEV = "dev"
    PROD = "prod"


class PciScope(StrEnum):
    """PCI DSS scope of a workload: handles cardholder data, talks to something that does, or neither."""

    CDE = "cde"
    CONNECTED = "connected"
    OUT = "out"


DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")

DnsLabel = Annotated[
    str,
    Field(
        pattern=DNS_LABEL.pattern,
        max_length=53,
        description="lower-case letters, digits and '-', at most 53 characters (names get suffixes of up to 10)",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
# ConfigMap keys and environment variables of ours: what a shell and every language can read.
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=128)]
