"""The real KEDA operator and metrics adapter, against a sandbox's control plane.

They take the place of the sandbox's own external metrics: the APIService ``v1beta1.external.metrics.k8s.io`` points
to the adapter. For tests of what the program declares for KEDA; ``make up`` does not start it.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from sandbox import daemons
from sandbox.certificates import self_signed
from sandbox.daemons import Daemon
from sandbox.errors import SandboxError
from sandbox.files import PRIVATE_MODE, write_text
from sandbox.layout import Layout
from sandbox.ports import LOOPBACK, keep_ports

NAMESPACE = "keda"
OPERATOR, ADAPTER = "keda-operator", "keda-adapter"
_GROUP, _VERSION = "external.metrics.k8s.io", "v1beta1"
_SERVICE = "keda-metrics-apiserver"
_OWNERS = (
    ("metrics-service", OPERATOR),
    ("operator-probe", OPERATOR),
    ("operator-metrics", OPERATOR),
    ("adapter", ADAPTER),
    ("adapter-metrics", ADAPTER),
)
_TIMEOUT_SECONDS = 120
_HTTP_OK = 200
_HEALTH_TIMEOUT = urllib3.Timeout(total=5)


def start(layout: Layout, tools: Mapping[str, Path]) -> list[str]:
    """Start the operator and the adapter for a running control plane whose KEDA CRDs are installed.

    Returns the names of those that had to be started, once the API server reaches the adapter. Raises
    ``SandboxError`` with the log of what failed.
    """
    own = keda_layout(layout)
    own.root.mkdir(parents=True, exist_ok=True)
    ports = keep_ports(own, _OWNERS, lambda name: daemons.find(name, own) is not None)
    certificates = own.root / "certificates"
    if not (certificates / "ca.crt").exists():
        _write_certificates(certificates)
    kubectl = [str(tools["kubectl"]), "--kubeconfig", str(layout.kubeconfig)]
    _apply(kubectl, plan_objects(ports["adapter"]))
    planned = (
        _operator(tools[OPERATOR], layout, ports, certificates),
        _adapter(tools[ADAPTER], layout, ports, certificates),
    )
    started = [daemon.name for daemon in planned if daemons.ensure_running(daemon, own)]
    _run([*kubectl, "wait", "apiservice", f"{_VERSION}.{_GROUP}", "--for=condition=Available", "--timeout=60s"])
    return started


def stop(layout: Layout) -> list[str]:
    """End both; returns those that ran. The next start of the control plane registers its own metrics again."""
    return [name for name in (ADAPTER, OPERATOR) if daemons.stop(name, keda_layout(layout))]


def keda_layout(layout: Layout) -> Layout:
    """KEDA's processes, ports and logs, beside those of the control plane."""
    return Layout(layout.root / "keda")


def plan_objects(adapter_port: int) -> list[dict[str, Any]]:
    """KEDA's namespace, the way from the API server to the adapter, and the right to ask it."""
    service = {"name": _SERVICE, "namespace": NAMESPACE}
    reader = "keda-external-metrics-reader"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": service,
            "spec": {
                "type": "ExternalName",
                "externalName": "localhost",
                "ports": [{"port": adapter_port, "protocol": "TCP"}],
            },
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{_VERSION}.{_GROUP}"},
            "spec": {
                "group": _GROUP,
                "version": _VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {**service, "port": adapter_port},
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": reader},
            "rules": [
                {"apiGroups": [_GROUP], "resources": ["*"], "verbs": ["get", "list"]},
                {"nonResourceURLs": [f"/apis/{_GROUP}", f"/apis/{_GROUP}/*"], "verbs": ["get"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": reader},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": reader},
            # The sandbox's API server has no front-proxy certificate: whoever asks, the adapter sees nobody.
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:anonymous"}],
        },
    ]


def _operator(binary: Path, layout: Layout, ports: Mapping[str, int], certificates: Path) -> Daemon:
    return Daemon(
        name=OPERATOR,
        command=[
            str(binary),
            f"--metrics-bind-address={LOOPBACK}:{ports['operator-metrics']}",
            f"--health-probe-bind-address={LOOPBACK}:{ports['operator-probe']}",
            f"--metrics-service-bind-address={LOOPBACK}:{ports['metrics-service']}",
            f"--cert-dir={certificates}",
            "--enable-webhook-patching=false",
            "--enable-apiservice-patching=false",
            "--zap-log-level=info",
        ],
        healthy=lambda: _answers(f"http://{LOOPBACK}:{ports['operator-probe']}/readyz"),
        depends_on=layout.kubeconfig.read_text(encoding="utf-8").split("token", 1)[0],
        environment=_environment(layout),
        timeout_seconds=_TIMEOUT_SECONDS,
    )


def _adapter(binary: Path, layout: Layout, ports: Mapping[str, int], certificates: Path) -> Daemon:
    kubeconfig = layout.kubeconfig
    return Daemon(
        name=ADAPTER,
        command=[
            str(binary),
            *(f"--bind-address={LOOPBACK}", f"--secure-port={ports['adapter']}", f"--port={ports['adapter-metrics']}"),
            f"--metrics-service-address={LOOPBACK}:{ports['metrics-service']}",
            *(f"--cert-dir={certificates}", f"--tls-cert-file={certificates / 'tls.crt'}"),
            f"--tls-private-key-file={certificates / 'tls.key'}",
            "--authentication-skip-lookup",  # there is no front proxy whose certificate could be looked up
            *(f"--{use}-kubeconfig={kubeconfig}" for use in ("authentication", "authorization", "lister")),
        ],
        healthy=lambda: _answers(f"https://{LOOPBACK}:{ports['adapter']}/readyz", ca=certificates / "ca.crt"),
        depends_on=kubeconfig.read_text(encoding="utf-8").split("token", 1)[0],
        environment=_environment(layout),
        timeout_seconds=_TIMEOUT_SECONDS,
    )


def _environment(layout: Layout) -> dict[str, str]:
    namespaces = {"POD_NAMESPACE": NAMESPACE, "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE, "WATCH_NAMESPACE": ""}
    return {"KUBECONFIG": str(layout.kubeconfig), **namespaces}


def _apply(kubectl: Sequence[str], objects: list[dict[str, Any]]) -> None:
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    _run([*kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-"], document)


def _run(command: list[str], standard_input: str = "") -> None:
    answer = subprocess.run(
        command, input=standard_input, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    if answer.returncode != 0:
        raise SandboxError(f"cannot register KEDA: {answer.stderr.strip()}", next_step="run the command again")


def _answers(url: str, *, ca: Path | None = None) -> bool:
    options: dict[str, Any] = {"ca_certs": str(ca)} if ca is not None else {}
    try:
        with urllib3.PoolManager(retries=False, timeout=_HEALTH_TIMEOUT, **options) as pool:
            return pool.request("GET", url).status == _HTTP_OK
    except (urllib3.exceptions.HTTPError, OSError):
        return False


def _write_certificates(folder: Path) -> None:
    """Both ends of the gRPC connection between the two show the same certificate and check it."""
    pair = self_signed("keda")
    write_text(folder / "tls.key", pair.key, mode=PRIVATE_MODE)
    write_text(folder / "tls.crt", pair.certificate)
    write_text(folder / "ca.crt", pair.certificate)
