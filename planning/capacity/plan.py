"""A stack and a demand become a capacity plan."""

from collections.abc import Iterator

from planning.capacity.consumers import consumer_figures, even_choices
from planning.capacity.inputs import Inputs, rate_targets
from planning.capacity.model import CapacityPlan, Demand, Figure
from planning.capacity.pods import memory_floor, memory_share, pod_figure, target_rates
from planning.capacity.shared import shared_figures
from settings.capacity import PLAN_NEEDS
from settings.scaling import PoolTrigger
from settings.services import Service, peak_database_connections

_SECONDS_OF_DAY = 86_400


def horizons() -> list[Demand]:
    """The plan's three horizons."""
    return [
        Demand(
            name=str(name),
            payments_per_day=float(row.payments_per_day),
            peak_requests_per_second=float(row.peak_requests_per_second),
        )
        for name, row in PLAN_NEEDS.items()
    ]


def plan_capacity(stack: str, demand: Demand, inputs: Inputs) -> CapacityPlan:
    """Every figure for a demand. Pure: the same input gives the same plan."""
    figures: list[Figure] = []
    pods: dict[str, int] = {}
    consumers: dict[str, int] = {}
    for name, service in inputs.settings.services.items():
        figure = pod_figure(name, demand, inputs)
        figures.append(figure)
        pods[name] = int(figure.needed)
        if service.consumer is not None:
            group, topic = consumer_figures(name, service.consumer, demand, inputs)
            figures += [group, topic]
            consumers[name] = int(group.needed)
    figures += shared_figures(demand, inputs, pods, consumers)
    return CapacityPlan(stack=stack, demand=demand, figures=tuple(figures), warnings=tuple(_warnings(demand, inputs)))


def _warnings(demand: Demand, inputs: Inputs) -> Iterator[str]:
    yield _ratio(demand)
    for name, service in inputs.settings.services.items():
        yield from _binding_trigger(name, service, inputs)
        yield from _memory(name, service, inputs)
        yield from _pool(name, service, inputs)
        yield from _partitions(service, inputs)


def _ratio(demand: Demand) -> str:
    """The plan's own day and peak are far apart; nothing here reconciles them silently."""
    mean = demand.payments_per_day / _SECONDS_OF_DAY
    lasts = demand.payments_per_day / demand.peak_requests_per_second
    return (
        f"{demand.payments_per_day:,.0f} payments a day are {mean:,.2f} a second on average; the peak of "
        f"{demand.peak_requests_per_second:,.0f} requests/s is {demand.peak_requests_per_second / mean:,.0f} times "
        f"that. Pods, consumers and connections are counted for the peak with every request a payment (the day's "
        f"payments would be made in {lasts:,.0f} s of it); disks are counted by payments a day"
    )


def _binding_trigger(name: str, service: Service, inputs: Inputs) -> Iterator[str]:
    targets = target_rates(name, inputs)
    binding = min(targets, key=lambda key: (targets[key], key))
    for metric, target in rate_targets(service).items():
        if binding == "cpu_target" and target > targets["cpu_target"]:
            yield (
                f"{name}: {metric} asks for a pod at {target:,.0f}/s each, cpu does at {targets['cpu_target']:,.0f}/s: "
                f"cpu is the binding trigger, the other one never fires first"
            )


def _memory(name: str, service: Service, inputs: Inputs) -> Iterator[str]:
    scaling = service.api.scaling
    if scaling.memory_target_percent is None:
        return
    targets = target_rates(name, inputs)
    at_request = inputs.rate_at_request(name)
    share = memory_share(min(targets.values()), at_request, inputs)
    floor = memory_floor(share, scaling.memory_target_percent / 100, scaling.max_replicas)
    if floor > scaling.min_replicas:
        yield (
            f"{name}: memory pins the pods: a heap that has seen its planned load stays at {share:.0%} of the "
            f"request, and against a target of {scaling.memory_target_percent} % the autoscaler never goes below "
            f"{floor} pods again, though min_replicas is {scaling.min_replicas}"
        )


def _pool(name: str, service: Service, inputs: Inputs) -> Iterator[str]:
    if not any(isinstance(trigger, PoolTrigger) for trigger in service.api.scaling.triggers):
        return
    capacity = inputs.settings.capacity
    most = sum(peak_database_connections(each) for each in inputs.settings.services.values())
    yield (
        f"{name}: a full database pool adds pods, and each opens {service.api.database_connections_per_pod} "
        f"connections more; at every maximum that is {most} of the pooler's {capacity.database_client_connections}"
    )


def _partitions(service: Service, inputs: Inputs) -> Iterator[str]:
    consumer = service.consumer
    if consumer is None:
        return
    partitions, maximum = inputs.settings.topics[consumer.topic].partitions, consumer.scaling.max_replicas
    even = even_choices(partitions, maximum)
    if partitions % maximum:
        most = -(-partitions // maximum)
        yield (
            f"{consumer.name}: {maximum} consumers share {partitions} partitions unevenly, some read {most} and some "
            f"{most - 1}: they carry no more than {-(-partitions // most)} do; even choices: "
            f"{', '.join(map(str, even))}"
        )
