"""Servers of the cache: bounded, in memory only, encrypted, and found again after all of them restarted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pulumi_policy import PolicyConfigSchema, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.metadata import is_pod_of
from policies.objects import KubernetesObject, containers
from policies.quantity import bytes_of
from policies.rules import About, Config, Violation, stack_policy
from policies.values import UNKNOWN, elements, fields, number, read, show, text

_FILES = ("server.conf", "redis.conf", "valkey.conf")
_POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
_ANNOUNCE = "cluster-announce-ip"


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's configuration: the ConfigMap, the file in it, and its directives (the last one counts)."""

    config_map: KubernetesObject
    file: str
    directives: Mapping[str, str]

    @property
    def in_cluster(self) -> bool:
        return self.directives.get("cluster-enabled") == "yes"

    def users(self, index: StackIndex) -> Iterator[KubernetesObject]:
        """Yield the workloads that mount it."""
        for workload in index.workloads:
            for volume in elements(read(workload.pod_spec, "volumes")):
                name = read(volume, "configMap", "name")
                if workload.namespace == self.config_map.namespace and name == self.config_map.name:
                    yield workload


def _servers(index: StackIndex) -> Iterator[_Server]:
    for config_map in index.by_kind.get("ConfigMap", []):
        for file in _FILES:
            content = text(read(config_map.props, "data", file))
            if content is not None:
                pairs = (line.split(None, 1) for line in content.splitlines() if not line.lstrip().startswith("#"))
                directives = {pair[0].lower(): pair[1].strip() for pair in pairs if len(pair) > 1}
                yield _Server(config_map, file, directives)


def cache_configuration() -> StackValidationPolicy:
    """A cache that grows without bound is killed, one that writes to disk leaves wallets there."""
    about = About(
        name="cache-configuration",
        display_name="Cache configuration",
        description="Cache servers evict within their memory, persist nothing and listen without plaintext.",
        severity=Severity.HIGH,
        remediation="Declare the servers through components/cache, which derives the configuration.",
        tags=("cache",),
        pci="4.2.1",
        pci_text="Strong cryptography safeguards data during transmission",
        schema=PolicyConfigSchema(
            properties={"maxMemoryPercent": {"type": "integer", "minimum": 1, "maximum": 100, "default": 75}}
        ),
    )
    return stack_policy(about, _check_configuration)


def _check_configuration(index: StackIndex, config: Config) -> Iterator[Violation]:
    for server in _servers(index):
        for message in (*_fits_a_cache(server.directives), *_is_encrypted(server.directives)):
            yield Violation(server.config_map, f"{server.file}: {message}")
        yield from _fits_its_memory(server, index, number(read(config, "maxMemoryPercent")) or 0)


def _fits_a_cache(directives: Mapping[str, str]) -> Iterator[str]:
    if directives.get("appendonly", "no") != "no":
        yield "appendonly is on: every value is written to disk. Allowed: no. Fix: set appendonly no."
    if directives.get("save") not in ('""', "''"):
        yield 'snapshots are on (save is not ""). Allowed: none. Fix: set save "".'
    policy = directives.get("maxmemory-policy", "noeviction")
    if not policy.startswith("allkeys-"):
        yield (
            f"maxmemory-policy is {policy}: a full cache refuses writes. Allowed: allkeys-lru or another allkeys"
            " policy. Fix: set it."
        )
    if not _plain_bytes(directives.get("maxmemory")):
        yield "maxmemory is not set: the server grows until it is killed. Allowed: a number of bytes. Fix: set it."


def _is_encrypted(directives: Mapping[str, str]) -> Iterator[str]:
    if directives.get("port") != "0":
        port = directives.get("port", "6379, the default")
        yield f"port {port} listens without encryption. Allowed: port 0 with tls-port. Fix: set port 0."
    if "tls-port" not in directives:
        if "unixsocket" not in directives:
            yield "tls-port is not set. Allowed: a TLS port, or a socket inside the pod. Fix: set it."
        return
    wanted = ["tls-replication"] + (["tls-cluster"] if directives.get("cluster-enabled") == "yes" else [])
    for name in wanted:
        if directives.get(name) != "yes":
            yield f"{name} is {directives.get(name, 'no')}: members talk in plaintext. Allowed: yes. Fix: set it."


def _fits_its_memory(server: _Server, index: StackIndex, percent: float) -> Iterator[Violation]:
    maximum = _plain_bytes(server.directives.get("maxmemory"))
    for workload in server.users(index) if maximum else ():
        for container in containers(workload.pod_spec):
            mounts = elements(read(container.spec, "volumeMounts"))
            command = [text(word) or "" for word in elements(read(container.spec, "command"))]
            limit = bytes_of(read(container.spec, "resources", "limits", "memory"))
            if not mounts or limit is None or not _starts_a_server(command):
                continue
            if maximum * 100 > limit * percent:
                yield Violation(
                    workload,
                    f"{container.title} may fill {maximum * 100 / limit:.0f} % of its memory limit with values"
                    f" (maxmemory {maximum}). Allowed: {show(percent)} %; the rest is for buffers and copies."
                    " Fix: lower maxmemory or raise the limit.",
                )


def _starts_a_server(command: list[str]) -> bool:
    words = " ".join(command)
    return "start.sh" in words or "redis-server" in words or "valkey-server" in words


def _plain_bytes(value: str | None) -> int:
    """Return `maxmemory` in bytes where it is written as a plain number; 0 where it is missing or no number."""
    return int(value) if value is not None and value.isdecimal() else 0


def cache_announced_addresses() -> StackValidationPolicy:
    """A Redis Cluster on pod addresses is lost when all of its pods restart at once."""
    about = About(
        name="cache-announced-addresses",
        display_name="Cache announced addresses",
        description="Each pod of a cache cluster has a Service of its own and announces that address.",
        severity=Severity.HIGH,
        remediation="Declare one ClusterIP Service per pod and announce its address at start.",
        tags=("cache", "availability"),
    )
    return stack_policy(about, _check_addresses)


def _check_addresses(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for server in (found for found in _servers(index) if found.in_cluster):
        files = fields(read(server.config_map.props, "data")).values()
        if not any(file is UNKNOWN or _ANNOUNCE in str(file) for file in files):
            yield Violation(
                server.config_map,
                f"no file sets {_ANNOUNCE}: members would announce pod addresses, which change at every start."
                " Allowed: the address of the pod's own Service. Fix: set it before the server starts.",
            )
        for workload in server.users(index):
            if workload.kind == "StatefulSet":
                yield from _check_services(index, workload, server)


def _check_services(index: StackIndex, workload: KubernetesObject, server: _Server) -> Iterator[Violation]:
    replicas = number(read(workload.props, "spec", "replicas"))
    if replicas is None or index.some_namespace_unknown("Service"):
        return
    services = {
        read(service.props, "spec", "selector", _POD_NAME_LABEL): service
        for service in index.by_kind.get("Service", [])
        if service.namespace == workload.namespace
        and is_pod_of(workload, read(service.props, "spec", "selector", _POD_NAME_LABEL))
    }
    for ordinal in range(int(replicas)):
        pod = f"{text(workload.name)}-{ordinal}"
        service = services.get(pod)
        if service is None:
            yield Violation(
                workload,
                f"pod {pod} has no Service of its own. Allowed: one ClusterIP Service per pod. Fix: declare one that"
                f" selects {_POD_NAME_LABEL}: {pod}.",
            )
            continue
        for problem in _service_problems(service, server):
            yield Violation(service, problem)


def _service_problems(service: KubernetesObject, server: _Server) -> Iterator[str]:
    spec = read(service.props, "spec")
    if read(spec, "clusterIP") == "None":
        yield "is headless: it leads to the pod's own address. Allowed: a cluster address. Fix: remove clusterIP."
    if read(spec, "publishNotReadyAddresses") not in (True, UNKNOWN):
        yield (
            "leads nowhere until its pod is ready, and pods that cannot find each other do not get ready."
            " Allowed: publishNotReadyAddresses true. Fix: set it."
        )
    found = {number(read(port, "port")) for port in elements(read(spec, "ports"))}
    port = number(server.directives.get("tls-port", server.directives.get("port", "6379"))) or 0
    missing = [show(wanted) for wanted in (port, port + 10000) if wanted not in found]
    if missing and read(spec, "ports") is not UNKNOWN:
        yield (
            f"does not lead to port {', '.join(missing)}. Allowed: the clients' port and the bus (10000 above it)."
            " Fix: add it."
        )


def policies() -> list[StackValidationPolicy]:
    """Return the policies of this theme."""
    return [cache_configuration(), cache_announced_addresses()]
