"""The committed stacks as the twin reads them, and single workloads with a short load."""

import functools
from collections.abc import Mapping
from typing import Any

from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_stack import Stack, read_stack
from planning.twin.scenarios import Scenario
from planning.twin.workload import Load
from tests.unit.stacks import Changes, manifests_of, settings_of


@functools.cache
def stack(name: str) -> Stack:
    return read_stack(name, manifests_of(name).values(), settings_of(name))


def changed_stack(name: str, changes: Changes, constants: PlantConstants | None = None) -> Stack:
    return read_stack(name, manifests_of(name, changes).values(), settings_of(name, changes), constants)


def manifest(name: str, kind: str, of: str) -> dict[str, Any]:
    """One rendered object; a copy."""
    found: Mapping[str, dict[str, Any]] = manifests_of(name)
    return next(m for m in found.values() if m["kind"] == kind and m["metadata"]["name"] == of)


def steady(rate: float, minutes: int = 30, **events: Any) -> Scenario:
    """The same rate all the time, without noise."""
    rates = (rate,) * (minutes * 12)
    load = Load(step_seconds=5, requests_per_second=rates)
    return Scenario(name="steady", summary="the same rate", load=load, nominal_peak=rate, **events)


def stepped(*rates: tuple[float, int]) -> Scenario:
    """(requests/s, minutes) one after the other."""
    values = tuple(rate for rate, minutes in rates for _ in range(minutes * 12))
    load = Load(step_seconds=5, requests_per_second=values)
    return Scenario(name="stepped", summary="steps", load=load, nominal_peak=max(values))
