"""Complete a declaration before it is compared: a name where the user gave none, the namespace, and complaints."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from sandbox.plugins.kubernetes.values import UNKNOWN, Secret

# Marks a generated name in the inputs. Not an annotation: the object itself carries nothing of it.
AUTONAMED: Final = "__autonamed"
_RANDOM_DIGITS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """What the engine says about generated names: a seed, and possibly a proposal or a ban."""

    resource_name: str
    seed: bytes
    proposed: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One complaint about an input."""

    path: str
    reason: str


def checked(
    new: dict[str, Any],
    old: dict[str, Any],
    *,
    naming: Naming,
    namespace: str | None,
) -> tuple[dict[str, Any], list[Failure]]:
    """The completed inputs and what is wrong with them.

    ``namespace`` is the default one, None for a kind that has none. ``old`` are the last inputs, empty for a
    new object: a generated name is kept while the object lives. Unknown and secret values stay as they are.
    """
    failures = _malformed(new)
    if failures:
        return new, failures
    metadata = _metadata_of(new)
    if metadata is None:
        return new, []
    completed = {key: value for key, value in new.items() if key != AUTONAMED}
    if not metadata.get("name") and not metadata.get("generateName"):
        name = _kept_name(old) or _generated_name(naming)
        if name is None:
            reason = "a name is required because automatic naming is disabled for this resource"
            return new, [Failure("metadata.name", reason)]
        metadata["name"] = name
        completed[AUTONAMED] = True
    if namespace is None:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = namespace
    completed["metadata"] = metadata
    return completed, []


def _malformed(inputs: dict[str, Any]) -> list[Failure]:
    failures = []
    for key, example in (("apiVersion", "apps/v1"), ("kind", "Deployment")):
        if not isinstance(inputs.get(key), str) or not inputs[key]:
            failures.append(Failure(key, f"is required and must be a text such as {example}"))
    metadata = inputs.get("metadata")
    if metadata is not None and metadata is not UNKNOWN and not isinstance(metadata, dict | Secret):
        failures.append(Failure("metadata", "must be an object"))
    return failures


def _metadata_of(inputs: dict[str, Any]) -> dict[str, Any] | None:
    """A copy of the metadata; None when it is not known yet or secret as a whole."""
    metadata = inputs.get("metadata")
    if metadata is None:
        return {}
    return dict(metadata) if isinstance(metadata, dict) else None


def _kept_name(old: dict[str, Any]) -> str | None:
    metadata = old.get("metadata")
    if not old.get(AUTONAMED) or not isinstance(metadata, dict):
        return None
    name = metadata.get("name")
    return name if isinstance(name, str) else None


def _generated_name(naming: Naming) -> str | None:
    if naming.disabled:
        return None
    if naming.proposed:
        return naming.proposed
    suffix = hashlib.sha256(naming.seed).hexdigest()[:_RANDOM_DIGITS]
    return f"{naming.resource_name.lower().replace('_', '-')}-{suffix}"
