"""The restricted Pod Security Standard and what goes beyond it: high ids, read-only root, no API token."""

from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.objects import CLUSTER_KINDS, POD_KINDS, Container, KubernetesObject, containers
from policies.rules import About, Config, object_policy
from policies.values import UNKNOWN, elements, fields, number, read, scalar, show, text

_LOWEST_ID = 10_000  # below it ids may belong to users of the node
_ADDABLE_CAPABILITIES = frozenset({"NET_BIND_SERVICE"})
_VOLUME_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SECCOMP_TYPES = ("RuntimeDefault", "Localhost")
_HOST_FLAGS = ("hostNetwork", "hostPID", "hostIPC")
_HARDENING = "Configuration standards address known vulnerabilities and follow hardening standards"


def restricted_security_context() -> ResourceValidationPolicy:
    """Every container, init and ephemeral ones too, runs without root, privileges or a writable image."""
    about = About(
        name="restricted-security-context",
        display_name="Restricted security context",
        description=("Containers run as a high non-root id, read-only, without capabilities, with a seccomp profile."),
        severity=Severity.CRITICAL,
        remediation="Use the secure workload defaults; give writable paths a sized emptyDir.",
        tags=("pod-security",),
        pci="2.2.1",
        pci_text=_HARDENING,
    )
    return object_policy(about, _check_context, POD_KINDS)


def _check_context(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    pod_context = read(subject.pod_spec, "securityContext")
    if UNKNOWN in (pod_context, subject.pod_spec):
        return
    for container in containers(subject.pod_spec):
        if read(container.spec, "securityContext") is UNKNOWN:
            continue
        for problem in (*_identity(container, pod_context), *_privileges(container, pod_context)):
            yield f"{container.title}: {problem}"


def _effective(container: Container, pod_context: object, *path: str) -> object:
    """Return a setting of the container, or else of its pod."""
    own = read(container.spec, "securityContext", *path)
    return read(pod_context, *path) if own is None else own


def _identity(container: Container, pod_context: object) -> Iterator[str]:
    if _effective(container, pod_context, "runAsNonRoot") not in (True, UNKNOWN):
        yield "may run as root. Allowed: runAsNonRoot true. Fix: set it in the security context."
    for field in ("runAsUser", "runAsGroup"):
        value = _effective(container, pod_context, field)
        identity = number(value)
        if value is not UNKNOWN and (identity is None or identity < _LOWEST_ID):
            yield f"{field} is {show(value)}. Allowed: {_LOWEST_ID} or higher. Fix: set a high id."


def _privileges(container: Container, pod_context: object) -> Iterator[str]:
    for field, wanted, otherwise in (
        ("readOnlyRootFilesystem", True, "the image's files can be changed at run time"),
        ("allowPrivilegeEscalation", False, "a process may gain privileges"),
    ):
        value = read(container.spec, "securityContext", field)
        if value not in (wanted, UNKNOWN):
            yield f"{field} is {show(value)}: {otherwise}. Allowed: {show(wanted)}. Fix: set it."
    if read(container.spec, "securityContext", "privileged") is True:
        yield "is privileged. Allowed: false. Fix: remove it."
    if read(container.spec, "securityContext", "procMount") not in (None, "Default", UNKNOWN):
        yield "unmasks /proc. Allowed: procMount Default. Fix: remove it."
    yield from _capabilities(container)
    profile = _effective(container, pod_context, "seccompProfile", "type")
    if profile is not UNKNOWN and profile not in _SECCOMP_TYPES:
        allowed = " or ".join(_SECCOMP_TYPES)
        yield f"its seccomp profile is {show(profile)}. Allowed: {allowed}. Fix: set RuntimeDefault."


def _capabilities(container: Container) -> Iterator[str]:
    capabilities = read(container.spec, "securityContext", "capabilities")
    dropped = read(capabilities, "drop")
    if dropped is not UNKNOWN and not any(name in ("ALL", UNKNOWN) for name in elements(dropped)):
        yield "keeps default capabilities. Allowed: capabilities.drop ['ALL']. Fix: drop all of them."
    for added in elements(read(capabilities, "add")):
        if added is not UNKNOWN and scalar(added) not in _ADDABLE_CAPABILITIES:
            allowed = ", ".join(_ADDABLE_CAPABILITIES)
            yield f"adds the capability {show(added)}. Allowed: {allowed}. Fix: remove it."


def host_isolation() -> ResourceValidationPolicy:
    """A pod that shares its node's namespaces, files or ports is a door to the node."""
    about = About(
        name="host-isolation",
        display_name="Host isolation",
        description=("Pods use no host namespace, path or port, only safe volume types, and emptyDirs with a size."),
        severity=Severity.CRITICAL,
        remediation="Remove host access; use emptyDir with a sizeLimit, a claim, or a projected volume.",
        tags=("pod-security",),
        pci="2.2.4",
        pci_text="Only necessary services, protocols, daemons and functions are enabled",
    )
    return object_policy(about, _check_host, POD_KINDS)


def _check_host(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    spec = subject.pod_spec
    for flag in _HOST_FLAGS:
        if read(spec, flag) is True:
            yield f"{flag} is true: the pods share it with their node. Allowed: false. Fix: remove it."
    contexts = [read(spec, "securityContext")]
    for container in containers(spec):
        contexts.append(read(container.spec, "securityContext"))
        for port in elements(read(container.spec, "ports")):
            host_port = number(read(port, "hostPort"))
            if host_port:
                yield (
                    f"{container.title} takes port {show(host_port)} of the node. Allowed: no hostPort."
                    " Fix: publish the port with a Service."
                )
    if any(read(context, "windowsOptions", "hostProcess") is True for context in contexts):
        yield "runs as a host process. Allowed: false. Fix: remove hostProcess."
    for volume in elements(read(spec, "volumes")):
        if volume is not UNKNOWN:
            yield from _check_volume(volume)


def _check_volume(volume: object) -> Iterator[str]:
    name = show(read(volume, "name"))
    types = set(fields(volume)) - {"name"}
    for kind in sorted(types - _VOLUME_TYPES):
        yield (f"volume {name} is of type {kind}. Allowed: {', '.join(sorted(_VOLUME_TYPES))}. Fix: use one of these.")
    if "emptyDir" in types and read(volume, "emptyDir", "sizeLimit") is None:
        yield (f"volume {name} may fill its node. Allowed: an emptyDir with sizeLimit. Fix: set emptyDir.sizeLimit.")


def service_accounts() -> ResourceValidationPolicy:
    """A token in every pod lets whoever breaks into one speak to the API server."""
    about = About(
        name="service-accounts",
        display_name="Service accounts",
        description="Pods run under a ServiceAccount of their own and carry no API token.",
        severity=Severity.HIGH,
        remediation=(
            "Name a ServiceAccount and set automountServiceAccountToken: false; mount a token only by projection."
        ),
        tags=("pod-security",),
        pci="7.2.5",
        pci_text="Application and system accounts are assigned and managed by least privilege",
    )
    return object_policy(about, _check_account, POD_KINDS)


def _check_account(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    spec = subject.pod_spec
    if spec is None or spec is UNKNOWN:
        return
    token = read(spec, "automountServiceAccountToken")
    if token not in (False, UNKNOWN):
        yield (
            f"automountServiceAccountToken is {show(token)} on its pods. Allowed: false. Fix: set it in the pod spec."
        )
    account = read(spec, "serviceAccountName")
    if account in (None, "", "default"):
        yield (
            f"its pods run under the ServiceAccount {show(account or 'default')}. Allowed: an account of"
            " their own."
            " Fix: set serviceAccountName."
        )


def no_default_namespace() -> ResourceValidationPolicy:
    """The default namespace has no quota, no default deny and no Pod Security level."""
    about = About(
        name="no-default-namespace",
        display_name="No default namespace",
        description="Every namespaced object names its namespace, and it is not `default`.",
        severity=Severity.HIGH,
        remediation="Set metadata.namespace to a namespace that the program creates.",
        tags=("pod-security",),
        pci="2.2.3",
        pci_text="Functions that need different security levels are kept apart",
        schema=PolicyConfigSchema(
            properties={"clusterKinds": {"type": "array", "items": {"type": "string"}, "default": []}}
        ),
    )
    return object_policy(about, _check_namespace, None)


def _check_namespace(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if subject.kind in CLUSTER_KINDS or subject.kind in elements(read(config, "clusterKinds")):
        return
    if subject.namespace is None or text(subject.namespace) in ("", "default"):
        yield (
            f"metadata.namespace is {show(subject.namespace)}. Allowed: a namespace other than 'default'."
            " Fix: name the namespace (or list a cluster-wide custom kind under clusterKinds in the pack's"
            " config)."
        )


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [restricted_security_context(), host_isolation(), service_accounts(), no_default_namespace()]
