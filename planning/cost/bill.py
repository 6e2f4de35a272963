"""A month's bill: every workload at its fewest, typical and most pods, and the difference of two bills."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planning.cost.amounts import Amounts, Manifest, load_balancers, read_amounts
from planning.twin.plant_stack import Stack
from planning.twin.scenarios import scenario
from planning.twin.simulation import simulate
from settings.platform import Settings
from settings.prices import Prices

_SECONDS_OF_DAY = 86_400
NODES_PER_ZONE = 2
"""Pods of a DaemonSet: as many as nodes, and nobody declares those. Assumption: two a zone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One workload, or one thing that costs the same each month. Amounts of money for one month."""

    name: str
    service: str
    component: str
    fewest_pods: int
    typical_pods: float
    most_pods: int
    minimum: float
    typical: float
    maximum: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """Everything that a stack costs in a month."""

    stack: str
    currency: str
    lines: tuple[Line, ...]

    @property
    def minimum(self) -> float:
        """At the fewest pods."""
        return sum(line.minimum for line in self.lines)

    @property
    def typical(self) -> float:
        """On the twin's day."""
        return sum(line.typical for line in self.lines)

    @property
    def maximum(self) -> float:
        """At the most pods."""
        return sum(line.maximum for line in self.lines)

    def by_service(self) -> dict[str, tuple[float, float, float]]:
        """Service → minimum, typical, maximum."""
        services = sorted({line.service for line in self.lines})
        return {
            service: (
                sum(line.minimum for line in self.lines if line.service == service),
                sum(line.typical for line in self.lines if line.service == service),
                sum(line.maximum for line in self.lines if line.service == service),
            )
            for service in services
        }

    def as_json(self) -> dict[str, Any]:
        """Plain values with the sums."""
        sums = {"minimum": self.minimum, "typical": self.typical, "maximum": self.maximum}
        return {**asdict(self), **sums, "services": self.by_service()}


def typical_pods(stack: Stack, *, seed: int = 1) -> dict[str, float]:
    """Mean pods of each autoscaled workload on the twin's day, which peaks at nine tenths of the promise."""
    day = simulate(stack, scenario("diurnal", seed=seed, promised=stack.promised_requests_per_second))
    return {track.workload.name: sum(track.pods) / len(track.pods) for track in day.tracks}


def bill(
    stack: str, manifests: Iterable[Manifest], settings: Settings, typical: Mapping[str, float] | None = None
) -> Bill:
    """The bill of a rendered stack. Without ``typical`` a workload's typical pods are its fewest."""
    objects, prices = list(manifests), settings.prices
    amounts = read_amounts(objects, nodes=NODES_PER_ZONE * len(settings.cluster.zones))
    lines = [_line(each, prices, (typical or {}).get(each.name)) for each in amounts]
    lines += _fixed(objects, settings)
    return Bill(stack=stack, currency=prices.currency, lines=tuple(lines))


def _line(amounts: Amounts, prices: Prices, typical: float | None) -> Line:
    share = 1.0 + prices.node_overhead_percent / 100
    pod = (amounts.cpu_cores * prices.cpu_core_month + amounts.memory_gib * prices.memory_gib_month) * share
    pod += amounts.disk_gib * prices.disk_gib_month
    mean = float(amounts.fewest_pods) if typical is None else typical
    return Line(
        name=amounts.name,
        service=amounts.service,
        component=amounts.component,
        fewest_pods=amounts.fewest_pods,
        typical_pods=mean,
        most_pods=amounts.most_pods,
        minimum=amounts.fewest_pods * pod,
        typical=mean * pod,
        maximum=amounts.most_pods * pod,
    )


def _fixed(objects: Sequence[Manifest], settings: Settings) -> list[Line]:
    prices = settings.prices
    entries = [("load balancer", "edge", load_balancers(objects), prices.load_balancer_month)]
    if settings.edge is not None and settings.edge.cloudflare is not None:
        entries.append(("Cloudflare zone", "edge", 1, prices.cdn_zone_month))
    return [
        Line(
            name=name,
            service=service,
            component="fixed",
            fewest_pods=0,
            typical_pods=0.0,
            most_pods=0,
            minimum=count * price,
            typical=count * price,
            maximum=count * price,
        )
        for name, service, count, price in entries
        if count
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What the second bill costs more than the first, in one month."""

    currency: str
    minimum: float
    typical: float
    maximum: float
    lines: tuple[tuple[str, float, float, float], ...]
    """Name and the three differences of every line that differs."""

    @property
    def largest(self) -> float:
        """What a budget has to hold: the largest of the three."""
        return max(self.minimum, self.typical, self.maximum)


class CurrencyError(ValueError):
    """Two bills in different currencies; the message names them."""


def difference(before: Bill, after: Bill) -> Difference:
    """Raises ``CurrencyError`` when the bills are in different currencies."""
    if before.currency != after.currency:
        message = (
            f"prices.currency: {before.stack} counts in {before.currency}, {after.stack} in {after.currency}; "
            "fix: give both the same"
        )
        raise CurrencyError(message)
    old, new = ({line.name: line for line in each.lines} for each in (before, after))
    rows: list[tuple[str, float, float, float]] = []
    for name in sorted(old.keys() | new.keys()):
        low, mean, high = (b - a for a, b in zip(_amounts_of(old.get(name)), _amounts_of(new.get(name)), strict=True))
        if max(abs(low), abs(mean), abs(high)) > 0.005:  # noqa: PLR2004 # half a cent
            rows.append((name, low, mean, high))
    return Difference(
        currency=before.currency,
        minimum=after.minimum - before.minimum,
        typical=after.typical - before.typical,
        maximum=after.maximum - before.maximum,
        lines=tuple(rows),
    )


def _amounts_of(line: Line | None) -> tuple[float, float, float]:
    return (line.minimum, line.typical, line.maximum) if line is not None else (0.0, 0.0, 0.0)
