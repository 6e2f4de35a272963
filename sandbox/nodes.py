"""Nodes that KWOK plays: in zones, large enough for every autoscaler at its maximum."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError

_TIMEOUT_SECONDS = 60
_READY_TIMEOUT_SECONDS = 30
_CAPACITY = {"cpu": "256", "memory": "1Ti", "ephemeral-storage": "1Ti", "pods": "1000"}


def plan_nodes(zones: Sequence[str], per_zone: int) -> list[dict[str, Any]]:
    """Node manifests named by zone and number: ``zone-a-1``."""
    return [_node(zone, f"{zone}-{number}") for zone in zones for number in range(1, per_zone + 1)]


def forget_leases(kubectl: Path, kubeconfig: Path) -> None:
    """Remove the nodes' leases, so that a new holder takes them at once. That none exist is fine."""
    _kubectl(kubectl, kubeconfig, ["delete", "leases", "--namespace", "kube-node-lease", "--all"])


def apply_nodes(kubectl: Path, kubeconfig: Path, *, zones: Sequence[str], per_zone: int) -> None:
    """Create the nodes that are missing; those that exist are left as they are."""
    items = {"apiVersion": "v1", "kind": "List", "items": plan_nodes(zones, per_zone)}
    _kubectl(kubectl, kubeconfig, ["apply", "--server-side", "--force-conflicts", "-f", "-"], json.dumps(items))


def wait_until_ready(kubectl: Path, kubeconfig: Path, log: Path) -> None:
    """Wait for every node to be Ready. Raises ``SandboxError`` with KWOK's last words when that takes too long."""
    arguments = ["wait", "nodes", "--all", "--for=condition=Ready", f"--timeout={_READY_TIMEOUT_SECONDS}s"]
    try:
        _kubectl(kubectl, kubeconfig, arguments)
    except SandboxError as error:
        raise SandboxError(error.what, next_step=error.next_step, log=log) from None


def _kubectl(kubectl: Path, kubeconfig: Path, arguments: Sequence[str], standard_input: str = "") -> None:
    answer = subprocess.run(
        [str(kubectl), "--kubeconfig", str(kubeconfig), *arguments],
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(f"cannot prepare the nodes: {answer.stderr.strip()}", next_step="run the command again")


def _node(zone: str, name: str) -> dict[str, Any]:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": zone,
        "topology.kubernetes.io/region": "sandbox",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": _CAPACITY, "allocatable": _CAPACITY},
    }
