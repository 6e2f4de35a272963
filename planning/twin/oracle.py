"""An autoscaler that knows the load: the fewest pods that would have been right."""

from planning.twin.plant_api import ApiSpec
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_consumers import ConsumerSpec
from planning.twin.plant_stack import Workload
from planning.twin.scenarios import Scenario


def needed_replicas(workload: Workload, entry_rate: float, constants: PlantConstants) -> int:
    """Fewest replicas, within the scaler's bounds, that keep every target of the policy at a steady load.

    APIs: cpu at its target and the per-pod rates at theirs. Consumers: the input rate at the policy's use of their
    capacity, and the busiest member (partitions are whole) able to keep up.
    """
    spec = workload.spec
    if isinstance(spec, ApiSpec):
        wanted = _api(workload, spec, entry_rate * spec.requests_per_entry_request)
    else:
        wanted = _consumers(workload, spec, entry_rate * spec.events_per_entry_request, constants)
    return min(max(wanted, workload.min_replicas), workload.max_replicas)


def _api(workload: Workload, spec: ApiSpec, rate: float) -> int:
    per_pod = [spec.planned_rate_per_pod * (workload.cpu_target or 1.0), *workload.targets_per_pod]
    return _ceil(rate / min(per_pod))


def _consumers(workload: Workload, spec: ConsumerSpec, rate: float, constants: PlantConstants) -> int:
    capacity = spec.messages_per_second * constants.capacity_ratio
    members = max(1, _ceil(rate / (capacity * spec.rate_floor_share)))
    while members < workload.max_replicas and rate / spec.partitions * -(-spec.partitions // members) > capacity:
        members += 1
    return members


def _ceil(value: float) -> int:
    return int(-(-value // 1))


def replica_seconds(workload: Workload, scenario: Scenario, constants: PlantConstants) -> float:
    """Pods x seconds of the oracle over a scenario.

    It starts pods early enough for the highest load until they would be ready, takes them away at once, and never
    pays for a pod that is not needed.
    """
    load = scenario.load
    ahead = max(1, _ceil(workload.timing.ready_after_seconds / load.step_seconds))
    rates = load.requests_per_second
    total, cached = 0, dict[float, int]()
    for index in range(len(rates)):
        rate = max(rates[index : index + ahead + 1])
        if rate not in cached:
            cached[rate] = needed_replicas(workload, rate, constants)
        total += cached[rate]
    return float(total * load.step_seconds)
