"""The database as a whole: quorums, connections that fit, backups that are there, and volumes that stay."""

from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_policy import (
    PolicyConfigSchema,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationPolicy,
)

from policies.index import StackIndex
from policies.objects import KubernetesObject, containers, parse_object
from policies.postgres_files import (
    POOLER_FILE,
    config_files,
    mounted_config_maps,
    parse_pooler,
    patroni_workloads,
)
from policies.rules import About, Config, Violation, stack_policy, subject_policy
from policies.values import UNKNOWN, elements, number, read, show, text

_SMALLEST_QUORUM = 3
_HOST_KEY = "kubernetes.io/hostname"
_REQUIRED = PolicyConfigSchema(properties={"required": {"type": "boolean", "default": True}})
_DATABASE_COMPONENTS = ("database-server", "database-etcd", "database-job")


def database_quorum() -> StackValidationPolicy:
    """Two of three must be left when one is lost, and no host may hold two of them."""
    about = About(
        name="database-quorum",
        display_name="Database quorum",
        description="etcd has an odd number of members, Patroni three or more, each on a host of its own.",
        severity=Severity.CRITICAL,
        remediation="Use three members with required anti-affinity; Parallel and OnDelete for Patroni.",
        tags=("database", "availability"),
    )
    return stack_policy(about, _check_quorum)


def _check_quorum(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for workload in index.by_kind.get("StatefulSet", []):
        if _runs_etcd(workload):
            members = number(read(workload.props, "spec", "replicas"))
            if members is not None and (members < _SMALLEST_QUORUM or members % 2 == 0):
                yield Violation(
                    workload,
                    f"has {show(members)} members. Allowed: an odd number from {_SMALLEST_QUORUM} on."
                    f" Fix: use {_SMALLEST_QUORUM}.",
                )
            yield from _stands_apart(workload)
    for workload, _ in patroni_workloads(index):
        members = number(read(workload.props, "spec", "replicas"))
        if members is not None and members < _SMALLEST_QUORUM:
            yield Violation(
                workload,
                f"has {show(members)} members: with one lost, strict replication stops all writes."
                f" Allowed: {_SMALLEST_QUORUM} or more. Fix: set replicas.",
            )
        yield from _stands_apart(workload)
        yield from _keeps_its_order(workload)


def _runs_etcd(workload: KubernetesObject) -> bool:
    for container in containers(workload.pod_spec, long_running_only=True):
        words = [text(word) or "" for key in ("command", "args") for word in elements(read(container.spec, key))]
        if any(word.startswith("--initial-cluster=") for word in words):
            return True
    return False


def _stands_apart(workload: KubernetesObject) -> Iterator[Violation]:
    path = ("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = read(workload.pod_spec, *path)
    if terms is UNKNOWN or any(read(term, "topologyKey") in (_HOST_KEY, UNKNOWN) for term in elements(terms)):
        return
    yield Violation(
        workload,
        "two of its members may run on one host and be lost together. Allowed: required anti-affinity on"
        f" {_HOST_KEY}. Fix: declare it.",
    )


def _keeps_its_order(workload: KubernetesObject) -> Iterator[Violation]:
    for path, wanted, reason in (
        (("podManagementPolicy",), "Parallel", "after a full outage pod 0 waits for ever for a member that may lead"),
        (("updateStrategy", "type"), "OnDelete", "Kubernetes would replace the primary without a switchover"),
    ):
        value = read(workload.props, "spec", *path)
        if value not in (wanted, UNKNOWN):
            yield Violation(
                workload, f"{'.'.join(path)} is {show(value)}: {reason}. Allowed: {wanted}. Fix: set {wanted}."
            )


def database_connection_budget() -> StackValidationPolicy:
    """After a failover the new primary holds the sessions of both kinds of poolers, rolling pods included."""
    about = About(
        name="database-connection-budget",
        display_name="Database connection budget",
        description="All poolers of a cluster, at their peak, open no more connections than one server has to give.",
        severity=Severity.HIGH,
        remediation="Lower max_db_connections or the poolers' replicas, or raise max_connections.",
        tags=("database", "capacity"),
        schema=PolicyConfigSchema(
            properties={"reserved": {"type": "integer", "minimum": 3, "maximum": 500, "default": 25}}
        ),
    )
    return stack_policy(about, _check_budget)


def _check_budget(index: StackIndex, config: Config) -> Iterator[Violation]:
    reserved = number(read(config, "reserved")) or 0
    for workload, _ in patroni_workloads(index):
        service, limit = text(read(workload.props, "spec", "serviceName")), _max_connections(index, workload)
        if service is None or limit is None:
            continue
        parts = [
            (pooler, pods, per_pod)
            for pooler in index.by_kind.get("Deployment", [])
            if pooler.namespace == workload.namespace
            for pods, per_pod in _connections(index, pooler, service)
        ]
        total = sum(pods * per_pod for _, pods, per_pod in parts)
        if total > limit - reserved:
            terms = " + ".join(
                f"{show(pods)} * {show(per_pod)} ({show(pooler.name)})" for pooler, pods, per_pod in parts
            )
            yield Violation(
                workload,
                f"its poolers may open {terms} = {show(total)} connections. Allowed: max_connections {show(limit)} -"
                f" {show(reserved)} = {show(limit - reserved)}. Fix: lower max_db_connections or replicas.",
            )


def _max_connections(index: StackIndex, workload: KubernetesObject) -> float | None:
    for config_map in mounted_config_maps(index, workload):
        for file in config_files(config_map):
            found = number(read(file.dynamic, "postgresql", "parameters", "max_connections"))
            if found is not None:
                return found
    return None


def _connections(index: StackIndex, pooler: KubernetesObject, service: str) -> Iterator[tuple[float, float]]:
    """Yield the pods of a pooler at its peak and the connections of each to one cluster."""
    replicas = number(read(pooler.props, "spec", "replicas"))
    surge = number(read(pooler.props, "spec", "strategy", "rollingUpdate", "maxSurge"))
    if replicas is None or surge is None:
        return
    peak = replicas + surge + _leaving(pooler, replicas, surge)
    for config_map in mounted_config_maps(index, pooler):
        content = text(read(config_map.props, "data", POOLER_FILE))
        if content is None:
            continue
        per_pod = sum(
            number(database.get("max_db_connections")) or 0
            for database in parse_pooler(content).databases.values()
            if database.get("host", "").partition(".")[0] == service
        )
        if per_pod:
            yield peak, per_pod


def _leaving(pooler: KubernetesObject, replicas: float, surge: float) -> float:
    """Pods that still hold connections and that no Deployment counts: they wait for their clients to leave."""
    ready = number(read(pooler.props, "spec", "minReadySeconds")) or 0
    grace = number(read(pooler.pod_spec, "terminationGracePeriodSeconds"))
    at_once = number(read(pooler.props, "spec", "strategy", "rollingUpdate", "maxUnavailable"))
    if grace is None or ready < grace or at_once is None:
        return replicas
    return min(replicas, max(1, surge + at_once))


def database_backup() -> StackValidationPolicy:
    """Replicas repeat a wrong DELETE within milliseconds; only a backup goes back."""
    about = About(
        name="database-backup",
        display_name="Database backup",
        description="Where `required` is set, each cluster archives its log, is backed up and restored on trial.",
        severity=Severity.CRITICAL,
        remediation="Configure postgres.backup; it declares the archive, the CronJobs and the restore test.",
        tags=("database", "recovery"),
        schema=_REQUIRED,
    )
    return stack_policy(about, _check_backup)


def _check_backup(index: StackIndex, config: Config) -> Iterator[Violation]:
    if read(config, "required") is False:
        return
    for workload, member in patroni_workloads(index):
        scope = text(read(member.content, "scope")) or ""
        archive = text(read(member.content, "postgresql", "parameters", "archive_command")) or ""
        if scope not in archive:
            yield Violation(
                workload,
                f"archive_command keeps no log of {scope}. Allowed: a command of the backup tool. Fix: configure it.",
            )
        jobs = [job for job in index.by_kind.get("CronJob", []) if job.namespace == workload.namespace]
        for what, found in (
            ("scheduled backup", [job for job in jobs if _is_backup(job, scope)]),
            ("scheduled restore test", [job for job in jobs if _is_restore_test(index, job, scope)]),
        ):
            if not found:
                yield Violation(workload, f"no {what} of {scope}. Allowed: one or more CronJobs. Fix: declare one.")


def _is_backup(job: KubernetesObject, scope: str) -> bool:
    for container in containers(job.pod_spec):
        words = [text(word) or "" for word in elements(read(container.spec, "command"))]
        if f"--stanza={scope}" in words and "backup" in words:
            return True
    return False


def _is_restore_test(index: StackIndex, job: KubernetesObject, scope: str) -> bool:
    words = [
        text(word) or "" for container in containers(job.pod_spec) for word in elements(read(container.spec, "command"))
    ]
    for config_map in mounted_config_maps(index, job):
        for name in {word.rpartition("/")[2] for word in words}:
            script = text(read(config_map.props, "data", name)) or ""
            if f"--stanza={scope}" in script and " restore" in script:
                return True
    return False


@dataclass(frozen=True, slots=True)
class _Stateful:
    """An object that holds state, and whether the engine would refuse to delete it."""

    found: KubernetesObject
    protect: bool

    @property
    def title(self) -> str:
        """What it is called in a message."""
        return self.found.title

    @property
    def urn(self) -> str:
        """The resource's URN."""
        return self.found.urn


def database_protected() -> ResourceValidationPolicy:
    """A renamed key in a settings file must not take the ledger with it."""
    about = About(
        name="database-protected",
        display_name="Database protected",
        description="Where `required` is set, the database's StatefulSets and claims cannot be deleted by an update.",
        severity=Severity.CRITICAL,
        remediation="Set protect on the resource; unprotect it by hand when it really has to go.",
        tags=("database", "recovery"),
        schema=_REQUIRED,
    )
    return subject_policy(about, _check_protected, frozenset({"StatefulSet", "PersistentVolumeClaim"}), _stateful)


def _stateful(args: ResourceValidationArgs) -> _Stateful | None:
    found = parse_object(args.resource_type, args.name, args.urn, args.props)
    component = read(found.labels, "app.kubernetes.io/component") if found is not None else None
    if found is None or component not in _DATABASE_COMPONENTS:
        return None
    return _Stateful(found, bool(args.opts.protect))


def _check_protected(subject: _Stateful, config: Config) -> Iterator[str]:
    if read(config, "required") is not False and not subject.protect:
        yield "an update may delete it, and the data with it. Allowed: protect. Fix: set the option."


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [database_quorum(), database_connection_budget(), database_backup(), database_protected()]
