"""What every container says about itself: its share of a node, its health, and how it stops."""

import re
from collections.abc import Iterator

from pulumi_policy import ResourceValidationPolicy, Severity

from policies.objects import POD_KINDS, Container, KubernetesObject, containers, declared_ports, show_ports
from policies.rules import About, Config, object_policy
from policies.values import UNKNOWN, elements, fields, number, plain, read, scalar, show, text

_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HANDLERS = ("httpGet", "tcpSocket", "grpc", "exec")
_SERVING_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod"})
_DEFAULT_GRACE_SECONDS = 30.0  # what the API server assumes
_SLEEP = re.compile(r"\bsleep\s+(\d+(?:\.\d+)?)\b")


def container_resources() -> ResourceValidationPolicy:
    """Without requests a container cannot be scaled on utilization; without limits it starves its node."""
    about = About(
        name="container-resources",
        display_name="Container resources",
        description="Every container requests and limits cpu, memory and ephemeral storage.",
        severity=Severity.HIGH,
        remediation="Set resources.requests and resources.limits for cpu, memory and ephemeral-storage.",
        tags=("workloads", "capacity"),
        pci="2.2.6",
        pci_text="System security parameters are configured to prevent misuse",
    )
    return object_policy(about, _check_resources, POD_KINDS)


def _check_resources(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    for container in containers(subject.pod_spec):
        if container.role == "ephemeral container":
            continue  # the API refuses resources there
        missing = [
            f"{part}.{resource}"
            for part in ("requests", "limits")
            for resource in _RESOURCES
            if read(container.spec, "resources", part, resource) is None
        ]
        if missing:
            yield (
                f"{container.title} does not set {', '.join(missing)}. Allowed: requests and limits for"
                f" {', '.join(_RESOURCES)}. Fix: set them under resources."
            )


def container_probes() -> ResourceValidationPolicy:
    """Readiness takes a pod out of the Service, liveness restarts it: the same test for both turns load into
    restarts.
    """
    about = About(
        name="container-probes",
        display_name="Container probes",
        description=(
            "Each serving container has startup, readiness and liveness probes; readiness and liveness differ."
        ),
        severity=Severity.HIGH,
        remediation="Readiness asks for the service's own state, liveness only whether the process answers.",
        tags=("workloads", "availability"),
    )
    return object_policy(about, _check_probes, _SERVING_KINDS)


def _check_probes(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    if subject.kind == "Pod" and read(subject.pod_spec, "restartPolicy") in ("Never", "OnFailure"):
        return
    for container in containers(subject.pod_spec, long_running_only=True):
        missing = [probe for probe in _PROBES if read(container.spec, probe) is None]
        if missing:
            yield (
                f"{container.title} has no {', '.join(missing)}. Allowed: {', '.join(_PROBES)} on every"
                " serving"
                " container. Fix: declare them."
            )
        readiness = _handler(read(container.spec, "readinessProbe"))
        if readiness is not None and readiness == _handler(read(container.spec, "livenessProbe")):
            yield (
                f"{container.title} uses the same test for readiness and liveness: a pod that is only busy"
                " would be"
                " restarted. Allowed: two different tests. Fix: make liveness the cheaper one, such as a TCP"
                " check."
            )
        yield from _check_probe_ports(container)


def _handler(probe: object) -> dict[str, object] | None:
    """Return what a probe does, apart from its timing; None if that is not known."""
    found = {name: plain(read(probe, name)) for name in _HANDLERS if read(probe, name) is not None}
    return None if not found or UNKNOWN in found.values() else found


def _check_probe_ports(container: Container) -> Iterator[str]:
    declared = declared_ports([container.spec])
    if declared is None:
        return
    for probe in _PROBES:
        for handler in ("httpGet", "tcpSocket", "grpc"):
            port = scalar(read(container.spec, probe, handler, "port"))
            if port not in (None, UNKNOWN) and port not in declared:
                yield (
                    f"{container.title}: {probe} asks port {show(port)}, which the container does not declare."
                    f" Allowed: {show_ports(declared)}. Fix: correct the port or declare it under ports."
                )


def graceful_shutdown() -> ResourceValidationPolicy:
    """A pod that is killed during its preStop hook drops the requests that the hook was there to finish."""
    about = About(
        name="graceful-shutdown",
        display_name="Graceful shutdown",
        description="The termination grace period is longer than the preStop hook.",
        severity=Severity.MEDIUM,
        remediation="Make terminationGracePeriodSeconds longer than the preStop wait plus the time to drain.",
        tags=("workloads", "availability"),
    )
    return object_policy(about, _check_grace, POD_KINDS)


def _check_grace(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    declared = read(subject.pod_spec, "terminationGracePeriodSeconds")
    grace_seconds = _DEFAULT_GRACE_SECONDS if declared is None else number(declared)
    if grace_seconds is None:
        return
    for container in containers(subject.pod_spec):
        wait_seconds = _pre_stop_seconds(read(container.spec, "lifecycle", "preStop"))
        if wait_seconds is not None and wait_seconds >= grace_seconds:
            yield (
                f"{container.title} waits {show(wait_seconds)} s in preStop, but is killed after"
                f" {show(grace_seconds)} s. Allowed: a grace period longer than preStop."
                " Fix: raise terminationGracePeriodSeconds or shorten the wait."
            )


def _pre_stop_seconds(hook: object) -> float | None:
    """Return how long the hook sleeps, where it says so."""
    seconds = number(read(hook, "sleep", "seconds"))
    if seconds is not None or "exec" not in fields(hook):
        return seconds
    words = [text(word) or "" for word in elements(read(hook, "exec", "command"))]
    found = _SLEEP.search(" ".join(words))
    return None if found is None else float(found.group(1))


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [container_resources(), container_probes(), graceful_shutdown()]
