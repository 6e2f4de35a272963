"""Kubernetes objects as the engine hands them to a policy: what they are called and where their pods are
declared.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from policies.values import UNKNOWN, elements, read, scalar, show, text

_TYPE_PARTS = 3
_COMPONENT_GROUPS = frozenset({"yaml", "helm.sh", "kustomize"})
_POD_TEMPLATE_PATHS: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
POD_KINDS = frozenset(_POD_TEMPLATE_PATHS)
REPLICATED_KINDS = frozenset({"Deployment", "StatefulSet"})
CLUSTER_KINDS = frozenset(
    {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTriggerAuthentication",
        "CustomResourceDefinition",
        "GatewayClass",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)
_POD_GROUPS = frozenset({"core", "apps", "batch", "extensions"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesObject:
    """One object. `name` and `namespace` are None where not set and `UNKNOWN` where the preview does not know
    them.

    `stored` tells that the API server already holds the object: some fields then carry what a controller last
    set.
    """

    group: str
    kind: str
    name: object
    namespace: object
    urn: str
    props: object
    ignore_changes: tuple[str, ...] = ()
    stored: bool = False

    @property
    def title(self) -> str:
        """Return `Kind namespace/name`, as messages name the object."""
        name = text(self.name) or "(name not known yet)"
        namespace = text(self.namespace)
        return f"{self.kind} {namespace}/{name}" if namespace else f"{self.kind} {name}"

    @property
    def has_pods(self) -> bool:
        """Tell whether the object declares pods; a custom kind that borrows such a name does not."""
        return self.kind in POD_KINDS and self.group in _POD_GROUPS

    @property
    def labels(self) -> object:
        """Return the object's own labels."""
        return read(self.props, "metadata", "labels")

    @property
    def template(self) -> object:
        """Return what holds the pods' metadata and spec: the template, or the Pod itself."""
        return read(self.props, *_POD_TEMPLATE_PATHS[self.kind]) if self.has_pods else None

    @property
    def pod_spec(self) -> object:
        """Return the specification of the pods."""
        return read(self.template, "spec")

    @property
    def pod_labels(self) -> object:
        """Return the labels of the pods."""
        return read(self.template, "metadata", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of a pod. `role` is container, init container or ephemeral container."""

    role: str
    spec: object
    position: int

    @property
    def title(self) -> str:
        """Return the role and the name, as messages name the container."""
        name = text(read(self.spec, "name"))
        return f"{self.role} '{name}'" if name else f"{self.role} number {self.position + 1}"


def parse_object(
    resource_type: str,
    name: str,
    urn: str,
    props: object,
    *,
    ignore_changes: tuple[str, ...] = (),
    stored: bool = False,
) -> KubernetesObject | None:
    """Return the Kubernetes object behind a resource, or None for everything else.

    Types look like `kubernetes:apps/v1:Deployment`; the legacy group `core` stands for the nameless one.
    Components (ConfigGroup, Chart) are skipped because their children arrive on their own, and so are partial
    `…Patch` types.
    """
    parts = resource_type.split(":")
    if len(parts) != _TYPE_PARTS or parts[0] != "kubernetes":
        return None
    group, _, _ = parts[1].rpartition("/")
    kind = parts[2]
    if not group or group in _COMPONENT_GROUPS or kind.endswith("Patch"):
        return None
    object_name = scalar(read(props, "metadata", "name"))
    return KubernetesObject(
        group=group,
        kind=kind,
        name=name if object_name is None else object_name,
        namespace=scalar(read(props, "metadata", "namespace")),
        urn=urn,
        props=props,
        ignore_changes=ignore_changes,
        stored=stored,
    )


_ROLES = (
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
)


def containers(pod_spec: object, *, long_running_only: bool = False) -> Iterator[Container]:
    """Yield the containers of a pod: init, ordinary, ephemeral; containers that are not known are passed
    over.
    """
    for key, role in _ROLES:
        if long_running_only and role != "container":
            continue
        for position, spec in enumerate(elements(read(pod_spec, key))):
            if spec is not UNKNOWN:
                yield Container(role=role, spec=spec, position=position)


def declared_ports(container_specs: Iterable[object]) -> frozenset[object] | None:
    """Return the names and numbers of the ports that containers declare; None if that is not fully known."""
    found: set[object] = set()
    for spec in container_specs:
        ports = read(spec, "ports")
        found |= {UNKNOWN} if UNKNOWN in (spec, ports) else set()
        for port in elements(ports):
            found |= {scalar(read(port, key)) for key in ("name", "containerPort")}
    return None if UNKNOWN in found else frozenset(found - {None})


def show_ports(declared: frozenset[object]) -> str:
    """Write the ports for a message."""
    return ", ".join(sorted(show(port) for port in declared)) or "none is declared"
