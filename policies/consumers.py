"""Consumer groups: no more consumers than partitions, not even while they roll."""

from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.objects import KubernetesObject, containers
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, number, read, show, text

_TOPIC_VARIABLE = "KAFKA_TOPIC"
_GROUP_VARIABLE = "KAFKA_CONSUMER_GROUP"


def consumers_within_partitions() -> StackValidationPolicy:
    """One more consumer than partitions idles, and costs a rebalance."""
    about = About(
        name="consumers-within-partitions",
        display_name="No more consumers than partitions",
        description="The maximum of a consumer group's scaler is at most the partitions that this pack states.",
        severity=Severity.MEDIUM,
        remediation="Lower the maximum, or plan the migration to more partitions and then change the pack's table.",
        tags=("scaling", "kafka"),
        schema=PolicyConfigSchema(
            properties={
                "partitions": {
                    "type": "object",
                    "additionalProperties": {"type": "integer", "minimum": 1},
                    "default": {},
                }
            }
        ),
    )
    return stack_policy(about, _check_partitions)


def _check_partitions(index: StackIndex, config: Config) -> Iterator[Violation]:
    for workload in index.replicated_workloads():
        topic = variable(workload, _TOPIC_VARIABLE)
        if topic is None:
            continue
        partitions = number(read(config, "partitions", topic))
        for scaler in index.scalers_of(workload):
            if partitions is None:
                yield Violation(
                    scaler.subject,
                    f"scales consumers of {show(topic)}, whose partitions this pack does not state. Allowed: a listed"
                    " topic. Fix: correct the topic, or have the pack's owners list it.",
                )
            elif scaler.maximum is not None and scaler.maximum > partitions:
                yield Violation(
                    scaler.subject,
                    f"scales up to {show(scaler.maximum)} consumers of {show(topic)}. Allowed: {show(partitions)}, its"
                    f" partitions. Fix: set the maximum to at most {show(partitions)}.",
                )


def consumers_do_not_surge() -> ResourceValidationPolicy:
    """A surge makes more consumers than partitions, and each pod that comes or goes is one more rebalance."""
    about = About(
        name="consumers-do-not-surge",
        display_name="Consumers do not surge",
        description="A Deployment that reads Kafka in a group is replaced pod by pod, with none beyond its replicas.",
        severity=Severity.MEDIUM,
        remediation="Set strategy.rollingUpdate.maxSurge to 0 and maxUnavailable to 1.",
        tags=("scaling", "kafka"),
    )
    return object_policy(about, _check_surge, frozenset({"Deployment"}))


def _check_surge(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    if variable(subject, _GROUP_VARIABLE) is None or read(subject.props, "spec", "strategy", "type") == "Recreate":
        return
    surge = read(subject.props, "spec", "strategy", "rollingUpdate", "maxSurge")
    if surge is not UNKNOWN and surge not in (0, "0%"):
        yield (
            f"reads Kafka in a group and surges by {show(surge) if surge is not None else '25 % (the default)'}."
            " Allowed: 0. Fix: set strategy.rollingUpdate.maxSurge to 0 and maxUnavailable to 1."
        )


def variable(subject: KubernetesObject, name: str) -> str | None:
    """Return the value of an environment variable of the workload's containers."""
    for container in containers(subject.pod_spec, long_running_only=True):
        for entry in elements(read(container.spec, "env")):
            if read(entry, "name") == name:
                return text(read(entry, "value"))
    return None


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [consumers_within_partitions(), consumers_do_not_surge()]
