"""What an autoscaler sees at one sync: the same values for the real controller and for its twin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OLD_SECONDS = 3600
"""Age of a pod that is past every start-up rule."""
WINDOW_SECONDS = 30
INIT_PERIOD_SECONDS = 300
"""The controller's default: cpu samples of younger pods may be skipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodInput:
    """One pod and what the metrics APIs say about it. Times are Unix seconds."""

    name: str
    phase: Literal["Pending", "Running", "Succeeded", "Failed"] = "Running"
    ready: bool | None = True
    """``None``: no Ready condition."""
    ready_since: int = 0
    started: int | None = 0
    terminating: bool = False
    listed: bool = True
    """False: the pod is gone, but the metrics APIs still know it."""
    usage: Mapping[str, Mapping[str, int]] | None = None
    """Container → ``cpu``, ``memory`` → milli-units; ``None``: no sample."""
    sampled: int = 0
    window_seconds: int = WINDOW_SECONDS
    custom: Mapping[str, int] = field(default_factory=dict)
    """Pods metric → milli-units; a metric that is not named has no sample."""


Values = tuple[int, ...]
"""What one metric answers, in milli-units; more than one when several series match, none when there is no data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Everything that one sync reads."""

    spec_replicas: int
    status_replicas: int
    pods: tuple[PodInput, ...]
    external: Mapping[str, Values | None] = field(default_factory=dict)
    """Metric → values; ``None``: the API answers with an error."""
    objects: Mapping[str, int | None] = field(default_factory=dict)
    """Object metric → milli-units; ``None``: an error."""
    resources_fail: bool = False
    """The resource metrics API answers with an error."""
    pods_metrics_fail: bool = False
    """The custom metrics API answers with an error when asked about pods."""


def milli(value: float) -> int:
    """Units → milli-units."""
    return round(value * 1000)


def quantity(milli_units: int) -> str:
    """Milli-units → the API's notation."""
    whole, rest = divmod(milli_units, 1000)
    return f"{milli_units}m" if rest else str(whole)
