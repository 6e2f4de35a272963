"""For each alert one case in which it fires and one in which it stays silent."""

from tests.real.observability.cases_backends import BACKENDS
from tests.real.observability.cases_platform import AUTOSCALING, MONITORING
from tests.real.observability.cases_services import CLIENTS, CONSUMERS, SERVICES

CASES = [*SERVICES, *CONSUMERS, *CLIENTS, *BACKENDS, *AUTOSCALING, *MONITORING]
