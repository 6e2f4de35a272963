"""Kafka topics, as far as consumers are bounded by them."""

from typing import Annotated

from pydantic import Field

from settings.base import Strict


class Topic(Strict):
    """One topic. Partitions bound the consumers of a group: one more consumer than partitions idles."""

    partitions: Annotated[int, Field(ge=1, le=1000)]
    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Field whose value is the message key; its order holds within a partition."""
