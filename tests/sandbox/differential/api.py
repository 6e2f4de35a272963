"""The few calls to the API server with which the test plays the Deployment controller and the kubelets."""

import json
from typing import Any

import urllib3

from sandbox.access import Access

_CONNECTIONS = 64
_TIMEOUT = urllib3.Timeout(connect=20, read=60)
_NOT_FOUND = 404
_CONFLICT = 409
_FIRST_ERROR = 400


class Api:
    """JSON over HTTPS; safe for many threads."""

    def __init__(self, access: Access) -> None:
        """``access`` is the administrator's."""
        self._server = access.server
        self._headers = {"Authorization": f"Bearer {access.token}"}
        self._pool = urllib3.PoolManager(
            ca_certs=str(access.certificate_authority), maxsize=_CONNECTIONS, retries=False, timeout=_TIMEOUT
        )

    def get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path)

    def create(self, path: str, manifest: dict[str, Any]) -> None:
        """Create; one that exists already is left as it is."""
        self._call("POST", path, manifest, accepted=(_CONFLICT,))

    def merge(self, path: str, change: dict[str, Any]) -> None:
        self._call("PATCH", path, change, content_type="application/merge-patch+json")

    def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """Delete; one that is gone already is fine."""
        options: dict[str, Any] = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        self._call("DELETE", path, options, accepted=(_NOT_FOUND,))

    def close(self) -> None:
        self._pool.clear()

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        accepted: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        response = self._pool.request(
            method,
            self._server + path,
            body=None if body is None else json.dumps(body),
            headers={**self._headers, "Content-Type": content_type},
        )
        if response.status >= _FIRST_ERROR and response.status not in accepted:
            message = f"{method} {path} answered {response.status}: {response.data.decode(errors='replace')[:500]}"
            raise AssertionError(message)
        document: dict[str, Any] = response.json()
        return document
