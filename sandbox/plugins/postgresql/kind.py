"""What the provider needs to know of each resource type."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from sandbox.plugins.postgresql.connection import Inputs, Server


class Kind(ABC):
    """One resource type: its properties, and how it is made, read, changed and removed."""

    properties: ClassVar[frozenset[str]]
    required: ClassVar[frozenset[str]]
    replaces: ClassVar[frozenset[str]]
    """Properties that cannot change in place."""

    @abstractmethod
    def identity(self, inputs: Inputs) -> str:
        """The provider's id."""

    @abstractmethod
    def create(self, server: Server, inputs: Inputs) -> None:
        """Make it; fails when it is there already, as the server does."""

    @abstractmethod
    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """The live values of what was asked for; ``None`` when it does not exist."""

    @abstractmethod
    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Change what differs."""

    @abstractmethod
    def delete(self, server: Server, inputs: Inputs) -> None:
        """Remove it; what is gone already is fine."""

    def problems(self, inputs: Inputs) -> list[tuple[str, str]]:  # noqa: ARG002 - for kinds that have some
        """Values that the stand-in cannot handle: property and reason."""
        return []


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def asked(inputs: Inputs, live: dict[str, Any]) -> Inputs:
    """Live values of the properties that were asked for; what cannot be read keeps its value."""
    return {name: live.get(name, value) for name, value in inputs.items()}
