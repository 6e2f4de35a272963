"""Which images may run: never a moving tag, in production only a digest, and only from known registries."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.objects import POD_KINDS, KubernetesObject, containers
from policies.rules import About, Config, object_policy
from policies.values import elements, read, text

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DEFAULT_REGISTRY = "docker.io"
_PCI = "6.3.1"
_PCI_TEXT = "Security vulnerabilities are identified and managed; what runs is what was examined"


@dataclass(frozen=True, slots=True)
class Image:
    """An image reference taken apart. `tag` and `digest` are empty where the reference has none."""

    registry: str
    repository: str
    tag: str
    digest: str


def parse_image(reference: str) -> Image:
    """Split a reference as a container runtime does: the first part is a registry if it looks like a host."""
    rest, _, digest = reference.partition("@")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = _DEFAULT_REGISTRY, rest
    name, colon, tag = path.rpartition(":")
    return Image(registry=registry, repository=name if colon else path, tag=tag if colon else "", digest=digest)


def _images(subject: KubernetesObject) -> Iterator[tuple[str, str]]:
    for container in containers(subject.pod_spec):
        reference = text(read(container.spec, "image"))
        if reference is not None:
            yield container.title, reference


def image_tags() -> ResourceValidationPolicy:
    """A moving or missing tag runs a different program after the next restart."""
    about = About(
        name="image-tags",
        display_name="Image tags",
        description="An image is named by a fixed tag or a digest, never by latest or by nothing.",
        severity=Severity.HIGH,
        remediation="Name the released version, or better the digest, of the image.",
        tags=("images",),
        pci=_PCI,
        pci_text=_PCI_TEXT,
    )
    return object_policy(about, _check_tags, POD_KINDS)


def _check_tags(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    for title, reference in _images(subject):
        image = parse_image(reference)
        if image.tag == "latest" or not (image.tag or image.digest):
            problem = "the moving tag 'latest'" if image.tag else "no tag"
            yield (
                f"{title} uses image '{reference}' with {problem}. Allowed: a released version or a digest."
                " Fix: name the version."
            )


def image_digests() -> ResourceValidationPolicy:
    """Where the config asks for it, an image is named by its content."""
    about = About(
        name="image-digests",
        display_name="Image digests",
        description="Where `required` is set (production), every image is pinned by its sha256 digest.",
        severity=Severity.HIGH,
        remediation="Append @sha256:… of the released image to the reference.",
        tags=("images",),
        pci=_PCI,
        pci_text=_PCI_TEXT,
        schema=PolicyConfigSchema(properties={"required": {"type": "boolean", "default": True}}),
    )
    return object_policy(about, _check_digests, POD_KINDS)


def _check_digests(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if read(config, "required") is False:
        return
    for title, reference in _images(subject):
        if _DIGEST.fullmatch(parse_image(reference).digest) is None:
            yield (
                f"{title} uses image '{reference}' without a digest. Allowed here: name@sha256:<64 hex"
                " digits>."
                " Fix: append the digest of the released image."
            )


def image_registries() -> ResourceValidationPolicy:
    """Where the config lists registries, images come from those only."""
    about = About(
        name="image-registries",
        display_name="Image registries",
        description=("Images come from the registries that `allowed` lists; an empty list allows every registry."),
        severity=Severity.HIGH,
        remediation="Mirror the image into an allowed registry and name it from there.",
        tags=("images",),
        pci=_PCI,
        pci_text=_PCI_TEXT,
        schema=PolicyConfigSchema(
            properties={"allowed": {"type": "array", "items": {"type": "string"}, "default": []}}
        ),
    )
    return object_policy(about, _check_registries, POD_KINDS)


def _check_registries(subject: KubernetesObject, config: Config) -> Iterator[str]:
    allowed = [entry for entry in elements(read(config, "allowed")) if isinstance(entry, str)]
    if not allowed:
        return
    for title, reference in _images(subject):
        image = parse_image(reference)
        path = f"{image.registry}/{image.repository}"
        if not any(path.startswith(entry.rstrip("/") + "/") for entry in allowed):
            yield (
                f"{title} uses image '{reference}' from '{image.registry}'. Allowed: {', '.join(allowed)}."
                " Fix: use a mirror in one of these."
            )


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [image_tags(), image_digests(), image_registries()]
