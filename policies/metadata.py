"""Labels, selectors and the guardrails of a namespace: what ties the objects of the platform together."""

from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.label_selectors import Match, selects
from policies.objects import POD_KINDS, KubernetesObject, declared_ports, show_ports
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, fields, number, read, scalar, show, text

_PLATFORM = "payments-platform"
_ENVIRONMENT_LABEL = "payments.dev/environment"
_REQUIRED_LABELS: dict[str, tuple[str, ...]] = {
    "app.kubernetes.io/name": (),
    "app.kubernetes.io/component": (),
    "app.kubernetes.io/part-of": (_PLATFORM,),
    "app.kubernetes.io/managed-by": ("pulumi",),
    _ENVIRONMENT_LABEL: (),
}
_SERVICE_LABELS: dict[str, tuple[str, ...]] = {"owner": (), "pci-scope": ("cde", "connected", "out")}
_SERVICE_KINDS = POD_KINDS | {"Service"}
# Definitions of operators come from their projects as they are.
_FOREIGN_KINDS = frozenset({"CustomResourceDefinition"})
_SELECTING_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
_POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
_POD_SECURITY_LABEL = "pod-security.kubernetes.io/enforce"


def required_labels() -> ResourceValidationPolicy:
    """Who owns an object and whether card data reaches it must be readable from the object."""
    about = About(
        name="required-labels",
        display_name="Required labels",
        description=("Objects carry the platform's labels; workloads and Services also their owner and PCI scope."),
        severity=Severity.MEDIUM,
        remediation="Create the object through components/base, which sets the labels.",
        tags=("metadata",),
        pci="12.5.2",
        pci_text="PCI DSS scope is documented and confirmed",
        schema=PolicyConfigSchema(properties={"environment": {"type": "string", "default": ""}}),
    )
    return object_policy(about, _check_labels, None)


def _check_labels(subject: KubernetesObject, config: Config) -> Iterator[str]:
    labels = subject.labels
    if subject.kind in _FOREIGN_KINDS or labels is UNKNOWN:
        return
    required = dict(_REQUIRED_LABELS)
    environment = read(config, "environment")
    if isinstance(environment, str) and environment:
        required[_ENVIRONMENT_LABEL] = (environment,)
    if subject.kind in _SERVICE_KINDS:
        required |= _SERVICE_LABELS
    present = fields(labels)
    missing = [key for key in required if not present.get(key)]
    if missing:
        yield f"lacks the labels {', '.join(missing)}. Allowed: each with a value. Fix: set them."
    for key, allowed in required.items():
        value = present.get(key)
        if value and value is not UNKNOWN and allowed and value not in allowed:
            yield f"label {key} is {show(value)}. Allowed: {', '.join(allowed)}. Fix: correct it."


def namespace_guardrails() -> StackValidationPolicy:
    """A namespace limits what its pods may do and use, whoever creates them."""
    about = About(
        name="namespace-guardrails",
        display_name="Namespace guardrails",
        description=("Each namespace enforces Pod Security `restricted` and has a ResourceQuota and a LimitRange."),
        severity=Severity.HIGH,
        remediation=(f"Label the namespace {_POD_SECURITY_LABEL}=restricted; declare a quota and a limit range in it."),
        tags=("metadata", "pod-security"),
        pci="2.2.1",
        pci_text="Configuration standards address known vulnerabilities and follow hardening standards",
    )
    return stack_policy(about, _check_namespaces)


def _check_namespaces(index: StackIndex, _config: Config) -> Iterator[Violation]:
    guarded = {
        kind: {subject.namespace for subject in index.by_kind.get(kind, [])} for kind in ("ResourceQuota", "LimitRange")
    }
    for namespace in index.by_kind.get("Namespace", []):
        level = read(namespace.labels, _POD_SECURITY_LABEL)
        if level not in ("restricted", UNKNOWN):
            yield Violation(
                namespace,
                f"label {_POD_SECURITY_LABEL} is {show(level)}. Allowed: restricted. Fix: set it.",
            )
        if namespace.name is UNKNOWN:
            continue
        for kind, namespaces in guarded.items():
            if namespace.name not in namespaces and UNKNOWN not in namespaces:
                yield Violation(namespace, f"has no {kind}. Allowed: at least one. Fix: declare one in it.")


def selector_matches_template() -> ResourceValidationPolicy:
    """The API server refuses a workload whose selector does not match its own pods."""
    about = About(
        name="selector-matches-template",
        display_name="Selector matches template",
        description="A workload's selector is not empty and matches the labels of its own pod template.",
        severity=Severity.HIGH,
        remediation=("Use the same frozen selector labels for spec.selector and spec.template.metadata.labels."),
        tags=("metadata",),
    )
    return object_policy(about, _check_selector, _SELECTING_KINDS)


def _check_selector(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    selector = read(subject.props, "spec", "selector")
    if selector is UNKNOWN:
        return
    if not fields(selector):
        yield "has no selector. Allowed: matchLabels with the app label. Fix: set spec.selector."
    elif selects(selector, subject.pod_labels) is False:
        wanted = fields(read(selector, "matchLabels"))
        present = fields(subject.pod_labels)
        wrong = [
            key for key, value in wanted.items() if value is not UNKNOWN and present.get(key) not in (value, UNKNOWN)
        ]
        yield (
            "its selector does not match its pod template (labels"
            f" {', '.join(wrong) or 'in matchExpressions'})."
            " Allowed: a subset of the template's labels. Fix: use the same labels in both."
        )


def service_targets() -> StackValidationPolicy:
    """A Service that selects nothing, or a port nobody opens, fails only at the first request."""
    about = About(
        name="service-targets",
        display_name="Service targets",
        description="A Service selects the pods of a declared workload, and its target ports exist on them.",
        severity=Severity.HIGH,
        remediation=(
            "Use the workload's selector labels, and a containerPort or port name that its containers declare."
        ),
        tags=("metadata", "availability"),
    )
    return stack_policy(about, _check_services)


def _check_services(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for service in index.by_kind.get("Service", []):
        labels = read(service.props, "spec", "selector")
        if service.group != "core" or UNKNOWN in (labels, service.namespace) or not fields(labels):
            continue
        matched = list(_selected(index, service, fields(labels)))
        if not matched:
            yield Violation(
                service,
                f"its selector ({', '.join(fields(labels))}) matches the pods of no declared workload."
                " Allowed: the selector labels of a workload in the same namespace. Fix: correct"
                " spec.selector.",
            )
        for workload, answer in matched:
            if answer is True:
                yield from _check_target_ports(service, workload)


def _selected(
    index: StackIndex, service: KubernetesObject, labels: dict[str, object]
) -> Iterator[tuple[KubernetesObject, Match]]:
    """Yield the workloads that a Service selects; one that names a pod selects the StatefulSet that makes it."""
    wanted = {key: value for key, value in labels.items() if key != _POD_NAME_LABEL}
    pod = labels.get(_POD_NAME_LABEL)
    for workload, answer in index.selected(service.namespace, {"matchLabels": wanted}):
        if pod is None or pod is UNKNOWN or is_pod_of(workload, pod):
            yield workload, answer


def is_pod_of(workload: KubernetesObject, pod: object) -> bool:
    """Tell whether a StatefulSet makes a pod of this name, as far as its name and replicas are known."""
    name, replicas = text(workload.name), number(read(workload.props, "spec", "replicas"))
    if workload.kind != "StatefulSet" or not isinstance(pod, str):
        return False
    stem, _, ordinal = pod.rpartition("-")
    return (name is None or stem == name) and ordinal.isdecimal() and (replicas is None or int(ordinal) < replicas)


def _check_target_ports(service: KubernetesObject, workload: KubernetesObject) -> Iterator[Violation]:
    specs = elements(read(workload.pod_spec, "containers")) + elements(read(workload.pod_spec, "initContainers"))
    declared = declared_ports(specs)
    if declared is None or UNKNOWN in (workload.pod_spec, read(workload.pod_spec, "containers")):
        return
    for port in elements(read(service.props, "spec", "ports")):
        given = read(port, "targetPort")
        target = scalar(read(port, "port") if given is None else given)
        if target not in (None, UNKNOWN) and target not in declared:
            yield Violation(
                service,
                f"targetPort {show(target)} is not opened by {workload.title}. Allowed: {show_ports(declared)}."
                " Fix: correct the port, or declare it on the container.",
            )


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [required_labels(), namespace_guardrails(), selector_matches_template(), service_targets()]
