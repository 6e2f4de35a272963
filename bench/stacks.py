"""Stack files with any number of services, cut from the committed dev stack."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
# Small pods: what is measured is the number of objects, not how many pods the simulated nodes hold.
_REPLICAS = {"min_replicas": 2, "max_replicas": 4}


def stack_with_services(count: int) -> dict[str, Any]:
    """The dev stack's document with ``count`` copies of its payment service, each with a name of its own."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    platform = document["config"]["payments:platform"]
    pattern = platform["services"]["payment-service"]
    services = {}
    for index in range(count):
        service = deepcopy(pattern)
        service["consumer"]["name"] = f"bench-{index:03d}-processors"
        for workload in (service["api"], service["consumer"]):
            workload["scaling"] |= _REPLICAS
        services[f"bench-{index:03d}"] = service
    platform["services"] = services
    # The horizon's check counts the pods of one service; these are only as large as the benchmark needs.
    services["bench-000"]["api"]["scaling"] |= {"max_replicas": 5}
    platform["capacity"] = {"horizon": "now", "entry_service": "bench-000"}
    return document


def write_stack(count: int, folder: Path) -> Path:
    """Write that document as a stack file and return its path."""
    path = folder / f"Pulumi.bench{count}.yaml"
    path.write_text(yaml.safe_dump(stack_with_services(count), sort_keys=False), encoding="utf-8")
    return path
