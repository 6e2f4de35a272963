"""Everything that the formulas read, in one place: settings, the twin's constants, and what was measured."""

from dataclasses import dataclass, field, replace

from planning.capacity.measured import MeasuredCapacities
from planning.twin.plant_constants import PlantConstants
from settings.platform import Settings
from settings.quantities import parse_quantity
from settings.scaling import PerPodTrigger
from settings.services import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """A stack and what is believed of its parts."""

    settings: Settings
    constants: PlantConstants = field(default_factory=PlantConstants)
    measured: MeasuredCapacities = field(default_factory=MeasuredCapacities)

    @property
    def headroom(self) -> float:
        """Share that may be used of what no autoscaler holds at a target."""
        return 1.0 - self.settings.capacity.headroom_percent / 100

    def rate_at_request(self, name: str) -> float:
        """Requests/s at which a pod of an API uses its cpu request: measured, the plan's, or its own trigger's.

        What a passed test found is taken as if the pods had been at their cpu limit: where they were not, a pod
        carries more than is counted here, never less.
        """
        service = self.settings.services[name]
        found = self.measured.of_service(name)
        if found is not None:
            return found.requests_per_second_per_pod / limit_to_request(service)
        if name == self.settings.capacity.entry_service:
            return self.constants.requests_per_second_per_pod
        return max(rate_targets(service).values(), default=self.constants.requests_per_second_per_pod)

    def requests_of(self, name: str) -> float:
        """Requests to an API for one request at the entry."""
        entry = self.settings.capacity.entry_service
        return 1.0 if name == entry else self.constants.requests_per_entry_request

    def twin_constants(self) -> PlantConstants:
        """The same beliefs for the twin."""
        entry = self.settings.capacity.entry_service
        return replace(self.constants, requests_per_second_per_pod=self.rate_at_request(entry))


def limit_to_request(service: Service) -> float:
    """How many times its cpu request a pod may use."""
    resources = service.api.resources
    return float(parse_quantity(resources.limits.cpu) / parse_quantity(resources.requests.cpu))


def rate_targets(service: Service) -> dict[str, float]:
    """Metric → target per pod, of the triggers that count requests, operations or calls."""
    return {
        trigger.metric: float(trigger.target_per_pod)
        for trigger in service.api.scaling.triggers
        if isinstance(trigger, PerPodTrigger) and trigger.metric.endswith("_per_second")
    }
