"""Failures of this provider, and the removal of secrets from what the API server says."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.plugins.kubernetes.values import SHORTEST_RECOGNISABLE_SECRET, secret_texts

HIDDEN = "[secret]"


class ProviderError(Exception):
    """A failure with a message for a person: what, where, and what to try."""


class UnreachableError(ProviderError):
    """The API server does not answer."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(
            f"Kubernetes API server at {server} cannot be reached ({reason}). Nothing was sent to it and the "
            "stack's state is unchanged. Start the cluster or correct the provider's kubeconfig and context, "
            "then run the command again."
        )


class CancelledError(ProviderError):
    """The engine asked to stop."""


class ApiError(Exception):
    """The API server's refusal, as its Status object states it."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        self.code = code
        self.reason = str(status.get("reason") or "")
        self.message = str(status.get("message") or f"HTTP status {code}")
        details = status.get("details")
        causes = details.get("causes") if isinstance(details, Mapping) else None
        self.causes: Sequence[Mapping[str, Any]] = causes if isinstance(causes, list) else []
        super().__init__(f"{self.code} {self.reason}: {self.message}")

    @property
    def not_found(self) -> bool:
        """Whether the object (or its namespace) does not exist."""
        return self.code == 404  # noqa: PLR2004 - HTTP

    @property
    def conflict(self) -> bool:
        """Whether another writer is in the way."""
        return self.code == 409  # noqa: PLR2004 - HTTP

    @property
    def immutable(self) -> bool:
        """Whether the refusal says that a field cannot be changed in place."""
        return self.code == 422 and "immutable" in self.message  # noqa: PLR2004 - HTTP


class InitFailedError(Exception):
    """The object exists but did not become ready: it belongs in the state, with the reasons."""

    def __init__(self, object_id: str, outputs: dict[str, Any], inputs: dict[str, Any], reasons: list[str]) -> None:
        self.object_id = object_id
        self.outputs = outputs
        self.inputs = inputs
        self.reasons = reasons
        super().__init__("; ".join(reasons))


def redact(message: str, *sources: object) -> str:
    """The message without any secret text of the sources, plain or in base64."""
    for text in sorted({text for source in sources for text in secret_texts(source)}, key=len, reverse=True):
        encoded = base64.b64encode(text.encode()).decode()
        variants = [text, encoded, encoded.rstrip("=")]
        try:
            decoded = base64.b64decode(text, validate=True).decode()
        except ValueError:
            decoded = ""
        if len(decoded) >= SHORTEST_RECOGNISABLE_SECRET:
            variants.append(decoded)
        for variant in variants:
            message = message.replace(variant, HIDDEN)
    return message
