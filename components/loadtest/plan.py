"""From the settings to what k6 is told: one scenario, its mix, and thresholds from the objectives."""

import json
from pathlib import Path
from typing import Any

from settings.loadtest import LoadScenario, LoadTest, Operation
from settings.observability import Objective

SERVICE_OF = {
    Operation.CREATE_PAYMENT: "payment-service",
    Operation.REPEAT_PAYMENT: "payment-service",
    Operation.READ_PAYMENT: "payment-service",
    Operation.READ_WALLET: "wallet-service",
}
"""Who answers an operation: its objective is the threshold."""
SCRIPT = Path(__file__).parent / "script" / "payments.ts"


def k6_plan(loadtest: LoadTest, scenario: str, objectives: dict[str, Objective]) -> dict[str, Any]:
    """``plan.json`` of the script. Services that ``objectives`` does not name have the default one."""
    operations = [
        {
            "operation": str(operation),
            "service": SERVICE_OF[operation],
            "target": loadtest.target_of(SERVICE_OF[operation]),
            "percent": percent,
        }
        for operation, percent in loadtest.mix.items()
        if percent > 0
    ]
    services = sorted({str(entry["service"]) for entry in operations})
    return {
        "operations": operations,
        "users": loadtest.users,
        "scenario": _scenario(loadtest.scenarios[scenario]),
        "thresholds": _thresholds({name: objectives.get(name, Objective()) for name in services}),
    }


def targets(loadtest: LoadTest) -> list[str]:
    """Everything that requests are sent to."""
    return sorted({loadtest.target_of(SERVICE_OF[one]) for one, percent in loadtest.mix.items() if percent > 0})


def plan_text(plan: dict[str, Any]) -> str:
    """The plan as JSON; the same bytes every time."""
    return json.dumps(plan, indent=2, sort_keys=True) + "\n"


def _scenario(load: LoadScenario) -> dict[str, Any]:
    """An open model: iterations start at the rate, whether answers come or not.

    No more virtual users than reserved: k6 would make them in the middle of the test, and be slow itself.
    """
    users = {"preAllocatedVUs": load.virtual_users, "maxVUs": load.virtual_users}
    if load.ramp_seconds == 0:
        return {
            "executor": "constant-arrival-rate", "rate": load.requests_per_second, "timeUnit": "1s",
            "duration": f"{load.duration_seconds}s", **users,
        }  # fmt: skip
    stages = [
        {"target": load.requests_per_second, "duration": f"{load.ramp_seconds}s"},
        {"target": load.requests_per_second, "duration": f"{load.duration_seconds}s"},
    ]
    return {"executor": "ramping-arrival-rate", "startRate": 1, "timeUnit": "1s", "stages": stages, **users}


def _thresholds(objectives: dict[str, Objective]) -> dict[str, list[str]]:
    found = {
        # A request that was due and not sent: the rate was not reached, whatever the other figures say.
        "dropped_iterations": ["count==0"],
        "checks": ["rate==1"],
    }
    for service, objective in objectives.items():
        allowed = round(1 - objective.availability_percent / 100, 6)
        found[f"http_req_failed{{service:{service}}}"] = [f"rate<={allowed:g}"]
        found[f"http_req_duration{{service:{service}}}"] = [
            f"p({objective.latency_percent:g})<={objective.latency_milliseconds}"
        ]
        # Always true: k6 counts a service apart only where a threshold asks for it.
        found[f"http_reqs{{service:{service}}}"] = ["count>=0"]
    return found
