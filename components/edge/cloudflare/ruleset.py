"""Rulesets as data, in the spelling of Cloudflare's API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule. ``ref`` is its identity: a changed rule keeps its id and its logs by it."""

    ref: str
    description: str
    expression: str
    action: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ratelimit: Mapping[str, Any] | None = None

    def as_arguments(self) -> dict[str, Any]:
        """Arguments of the provider's rule, in its Python spelling."""
        arguments: dict[str, Any] = {
            "ref": self.ref,
            "description": self.description,
            "expression": self.expression,
            "action": self.action,
            "enabled": True,
        }
        if self.parameters:
            arguments["action_parameters"] = dict(self.parameters)
        if self.ratelimit is not None:
            arguments["ratelimit"] = dict(self.ratelimit)
        return arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruleset:
    """The entry point of one phase; a zone has exactly one for each."""

    phase: str
    name: str
    rules: tuple[Rule, ...]
