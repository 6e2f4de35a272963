"""Calls of the API, to this machine only."""

import ipaddress
import json
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3

from sandbox.plugins.kubernetes.errors import ProviderError

TIMEOUT_SECONDS: Final = 30
_NOT_FOUND: Final = 404


class NotFoundError(ProviderError):
    """The API does not know the object."""


def is_local(url: str) -> bool:
    """Whether an address is on this machine: a stand-in must never change a real zone."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


class Api:
    """One address and one token. Raises ``ProviderError`` with the API's own messages."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(TIMEOUT_SECONDS))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The result of one call."""
        try:
            answer = self._pool.request(
                method,
                f"{self._url}/{path}",
                headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
                body=None if body is None else json.dumps(body),
            )
        except urllib3.exceptions.HTTPError as error:
            message = f"Cloudflare's API at {self._url} does not answer ({type(error).__name__})"
            raise ProviderError(message) from None
        document = answer.json()
        if document.get("success"):
            return document["result"]
        text = "; ".join(f"{error['message']} ({error['code']})" for error in document.get("errors", []))
        kind = NotFoundError if answer.status == _NOT_FOUND else ProviderError
        raise kind(f"{method} {path}: {answer.status}: {text}")
