"""Images that nobody mends any more, and versions with a hole that is published."""

import re
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.images import parse_image
from policies.objects import POD_KINDS, KubernetesObject, containers
from policies.rules import About, Config, object_policy
from policies.values import elements, fields, read, text

_VERSION = re.compile(r"v?(\d+(?:\.\d+)+)")


def retired_images() -> ResourceValidationPolicy:
    """A frozen image collects holes; a version below a security release has one that everybody knows."""
    about = About(
        name="retired-images",
        display_name="Retired images",
        description="No image comes from a retired catalogue, and none is older than a security release named here.",
        severity=Severity.HIGH,
        remediation="Use the project's own or a rebuilt image of a current version.",
        tags=("images",),
        pci="6.3.3",
        pci_text="System components are protected from known vulnerabilities by installing security patches",
        schema=PolicyConfigSchema(
            properties={
                "catalogues": {
                    "type": "array",
                    "items": {"type": "string"},
                    "default": ["bitnami", "bitnamilegacy", "bitnamicharts"],
                },
                "oldest": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "default": {"etcd": "3.6.9", "pgbouncer": "1.25.2"},
                },
            }
        ),
    )
    return object_policy(about, _check_images, POD_KINDS)


def _check_images(subject: KubernetesObject, config: Config) -> Iterator[str]:
    catalogues = {text(name) for name in elements(read(config, "catalogues"))}
    for container in containers(subject.pod_spec):
        reference = text(read(container.spec, "image"))
        if reference is None:
            continue
        image = parse_image(reference)
        parts = image.repository.split("/")
        retired = sorted(name for name in parts[:-1] if name in catalogues)
        if retired:
            yield (
                f"{container.title} uses image '{reference}' of the catalogue '{retired[0]}', which is frozen."
                " Allowed: a maintained image. Fix: use the project's own."
            )
        oldest = text(fields(read(config, "oldest")).get(parts[-1]))
        if oldest is not None and image.tag and _numbers(image.tag) < _numbers(oldest):
            yield (
                f"{container.title} uses image '{reference}', older than {parts[-1]} {oldest}, which closes known"
                f" holes. Allowed: {oldest} or newer. Fix: update it."
            )


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version; a tag without any counts as newest, since nothing is known of it."""
    found = _VERSION.match(version)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (10**9,)


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [retired_images()]
