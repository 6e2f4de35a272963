"""The zone that the prod stack declares, with changes, as the provider gets it."""

from collections.abc import Mapping
from typing import Any

from cli.recording import Recorded
from tests.unit.stacks import Changes, recording_of

HOST = "api.payments.com"
ZONE = "edge/cloudflare"
"""Path of the zone's settings in a stack."""


def pieces(changes: Changes | None = None) -> dict[str, Recorded]:
    """Name → resource of the provider, the provider itself left out."""
    found = recording_of("prod", changes).resources
    return {one.name: one for one in found if one.type.startswith("cloudflare:")}


def rules(name: str, changes: Changes | None = None) -> list[Mapping[str, Any]]:
    """The rules of one ruleset, in their order."""
    found: list[Mapping[str, Any]] = pieces(changes)[f"cloudflare-{name}"].inputs["rules"]
    return found


def rule(ruleset: str, ref: str, changes: Changes | None = None) -> Mapping[str, Any]:
    """The one rule with this ref."""
    (found,) = [one for one in rules(ruleset, changes) if one["ref"] == ref]
    return found
