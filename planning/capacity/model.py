"""What a capacity plan is made of: a demand, figures with their reasons, changes, warnings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """A load to plan for."""

    name: str
    payments_per_day: float
    peak_requests_per_second: float

    def at_peak(self, peak: float) -> "Demand":
        """The same demand scaled to another peak; payments grow with it."""
        share = peak / self.peak_requests_per_second
        return Demand(name=self.name, payments_per_day=self.payments_per_day * share, peak_requests_per_second=peak)


class Status(StrEnum):
    """Whether the stack's limits carry what is needed."""

    CARRIED = "carried"
    TIGHT = "tight"
    """Carried, with less headroom than the targets ask for."""
    SHORT = "short"
    """Not carried."""
    OPEN = "open"
    """The stack states no limit: a figure to buy or to watch."""

    @property
    def rank(self) -> int:
        """Higher is worse."""
        return (Status.OPEN, Status.CARRIED, Status.TIGHT, Status.SHORT).index(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing to change so that a demand is carried."""

    order: int
    """Changes with a lower number come first: later ones are refused, or do harm, without them."""
    path: str
    """In the stack file, or a file of the policy pack."""
    before: float | None
    after: float
    why: str
    unit: str = ""
    """Of both numbers where the file writes one, for example ``Gi``."""

    def __str__(self) -> str:
        before = "not set" if self.before is None else f"{self.before:g}{self.unit}"
        return f"{self.path}: {before} → {self.after:g}{self.unit} ({self.why})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One amount that a demand needs."""

    key: str
    """Stable name: ``pods/payment-service``."""
    needed: float
    unit: str
    formula: str
    inputs: Mapping[str, float]
    """Names of the formula with their values, units in the names."""
    binding: str
    """The constraint that makes the figure what it is."""
    status: Status
    available: float | None = None
    """What the stack's limits allow."""
    plan: float | None = None
    """The plan's own figure for this horizon."""
    note: str = ""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityPlan:
    """The answer for one demand. An infeasible one is an answer too."""

    stack: str
    demand: Demand
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...]

    @property
    def feasible(self) -> bool:
        """Whether the stack's limits carry the demand, be it with less headroom than wanted."""
        return not any(figure.status is Status.SHORT for figure in self.figures)

    @property
    def changes(self) -> list[Change]:
        """What must change, in the order in which it can be done; one change for each path."""
        found: dict[str, Change] = {}
        for figure in self.figures:
            for change in figure.changes:
                if change.path not in found or found[change.path].after < change.after:
                    found[change.path] = change
        return sorted(found.values(), key=lambda change: (change.order, change.path))

    def figure(self, key: str) -> Figure:
        """The figure of a name. Raises ``KeyError``."""
        return {figure.key: figure for figure in self.figures}[key]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        document = asdict(self)
        document["figures"] = [{**asdict(figure), "status": str(figure.status)} for figure in self.figures]
        for row in document["figures"]:
            row.pop("changes")
        document["feasible"] = self.feasible
        document["changes"] = [asdict(change) for change in self.changes]
        return document
