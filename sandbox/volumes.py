"""Volumes of the sandbox: nothing is ever written to them, but claims bind and pods that ask for one are scheduled."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError

STORAGE_CLASS = "sandbox"
_TIMEOUT_SECONDS = 60
# More than both stacks claim at once; a claim takes the smallest that fits, and all are alike.
_COUNT = 24
_SIZE = "2Ti"
_USED_UP = ("Released", "Failed")


def plan_volumes() -> list[dict[str, Any]]:
    """The default StorageClass, without a provisioner, and the volumes that stand ready for it."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }
    return [storage_class, *(_volume(f"volume-{number:02}") for number in range(1, _COUNT + 1))]


def ensure_volumes(kubectl: Path, kubeconfig: Path) -> None:
    """Replace volumes whose claim is gone, as a provisioner would, and create those that are missing."""
    found = json.loads(_kubectl(kubectl, kubeconfig, ["get", "persistentvolumes", "--output", "json"]))["items"]
    used_up = [item["metadata"]["name"] for item in found if item["status"].get("phase") in _USED_UP]
    if used_up:
        _kubectl(kubectl, kubeconfig, ["delete", "persistentvolumes", *used_up])
    items = {"apiVersion": "v1", "kind": "List", "items": plan_volumes()}
    _kubectl(kubectl, kubeconfig, ["apply", "--server-side", "--force-conflicts", "-f", "-"], json.dumps(items))


def _volume(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": _SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            # No kubelet mounts it: pods of the sandbox are played by KWOK.
            "hostPath": {"path": f"/nowhere/{name}"},
        },
    }


def _kubectl(kubectl: Path, kubeconfig: Path, arguments: Sequence[str], standard_input: str = "") -> str:
    answer = subprocess.run(
        [str(kubectl), "--kubeconfig", str(kubeconfig), *arguments],
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(f"cannot prepare the volumes: {answer.stderr.strip()}", next_step="run the command again")
    return answer.stdout
