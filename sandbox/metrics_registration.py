"""How the API server finds the metrics API: APIServices that name one Service on loopback."""

import json
import subprocess
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.metric_documents import VERSIONS

_NAMESPACE = "kube-system"
_SERVICE = "sandbox-metrics"
_TIMEOUT_SECONDS = 60


def plan_registration(port: int) -> list[dict[str, Any]]:
    """The Service and the APIServices, for a metrics API on a loopback port."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _SERVICE, "namespace": _NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port, "protocol": "TCP"}]},
    }
    return [service, *(_api_service(group, version, port) for group, version in VERSIONS.items())]


def register(kubectl: Path, kubeconfig: Path, port: int) -> None:
    """Apply the registration. Raises ``SandboxError`` with kubectl's own words."""
    answer = subprocess.run(
        [str(kubectl), "--kubeconfig", str(kubeconfig), "apply", "--server-side", "--force-conflicts", "-f", "-"],
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": plan_registration(port)}),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(
            f"cannot register the metrics API: {answer.stderr.strip()}", next_step="run the command again"
        )


def _api_service(group: str, version: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{group}"},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": _SERVICE, "namespace": _NAMESPACE, "port": port},
        },
    }
