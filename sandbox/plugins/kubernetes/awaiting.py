"""Await an object: until it is ready, or until it is gone, with progress for the person who waits."""

import time
from collections.abc import Callable
from typing import Any

from sandbox.plugins.kubernetes import readiness
from sandbox.plugins.kubernetes.discovery import Discovery, Resource
from sandbox.plugins.kubernetes.errors import ApiError, CancelledError, ProviderError
from sandbox.plugins.kubernetes.kube import KubeClient
from sandbox.plugins.kubernetes.paths import get
from sandbox.plugins.kubernetes.readiness import Check, Readiness
from sandbox.plugins.kubernetes.reasons import find_reasons
from sandbox.plugins.kubernetes.watching import Watches

# Ready objects are usual within this time: nothing is said, and no reasons are looked up, before it.
QUIET_SECONDS = 3.0
REASONS_INTERVAL_SECONDS = 5.0
# A refusal to create pods (quota, Pod Security) that lasts this long is not a race with another object.
PERSISTENT_REFUSAL_SECONDS = 15.0

Say = Callable[[str], None]


class Awaiter:
    """Waits for objects of one API server."""

    def __init__(self, client: KubeClient, discovery: Discovery, watches: Watches) -> None:
        self._client = client
        self._discovery = discovery
        self._watches = watches

    def until_ready(
        self,
        resource: Resource,
        live: dict[str, Any],
        annotations: dict[str, Any],
        *,
        requested_seconds: float,
        say: Say,
    ) -> tuple[dict[str, Any], list[str]]:
        """The object's last state, and why it is not ready: an empty list when it is."""
        check = readiness.check_for(live, annotations)
        if check is None or self._binds_later(live, annotations):
            return live, []
        timeout = readiness.timeout_seconds(requested_seconds, annotations)
        waiter = _Waiter(self._client, live, check, say)
        try:
            in_time = self._watches.follow(resource, live, timeout_seconds=timeout, look=waiter.look)
        except CancelledError as error:
            return waiter.state, [str(error)]  # the object exists: it belongs in the state all the same
        return waiter.state, [] if waiter.answer.ready else waiter.reasons(in_time=in_time, timeout=timeout)

    def until_gone(self, resource: Resource, live: dict[str, Any], *, timeout: float, say: Say) -> None:
        """Return when the object no longer exists. Raises ``ProviderError`` when the time is over."""
        name = get(live, ("metadata", "name"))
        path = resource.path(get(live, ("metadata", "namespace")), name)
        started = time.monotonic()
        said = False
        last = live

        def look(state: dict[str, Any] | None) -> bool:
            nonlocal said, last
            if state is None:
                return True
            last = state
            if not said and time.monotonic() - started > QUIET_SECONDS:
                said = True
                say(f"waiting for {resource.kind} {name} to be gone{_held_by(state)}")
            return False

        if self._exists(path, live) and not self._watches.follow(resource, live, timeout_seconds=timeout, look=look):
            message = f"{resource.kind} {name} is still there after {timeout:.0f} s{_held_by(last)}"
            raise ProviderError(message)

    def _exists(self, path: str, live: dict[str, Any]) -> bool:
        try:
            found = self._client.request("GET", path)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return bool(get(found, ("metadata", "uid")) == get(live, ("metadata", "uid")))

    def _binds_later(self, live: dict[str, Any], annotations: dict[str, Any]) -> bool:
        """Whether a volume claim binds only when a pod uses it: awaiting it would wait for ever."""
        if live.get("kind") != "PersistentVolumeClaim" or annotations.get(readiness.WAIT_FOR):
            return False
        if get(live, ("spec", "volumeName")):
            return False
        try:
            classes = self._client.request("GET", "/apis/storage.k8s.io/v1/storageclasses").get("items", [])
        except ApiError:
            return False
        name = get(live, ("spec", "storageClassName"))
        default = "storageclass.kubernetes.io/is-default-class"
        for candidate in classes:
            metadata = candidate["metadata"]
            is_default = (metadata.get("annotations") or {}).get(default) == "true"
            if metadata["name"] == name or (name is None and is_default):
                return bool(candidate.get("volumeBindingMode") == "WaitForFirstConsumer")
        return False


class _Waiter:
    """Judges each state of one object and says what is missing."""

    def __init__(self, client: KubeClient, live: dict[str, Any], check: Check, say: Say) -> None:
        self._client = client
        self._check = check
        self._say = say
        self._kind, self._name = str(live["kind"]), str(live["metadata"]["name"])
        self._started = time.monotonic()
        self._said = ""
        self._reason = ""
        self._looked_for_reasons = self._started
        self._refused_since: float | None = None
        self.state = live
        self.answer = Readiness(ready=False)

    def look(self, state: dict[str, Any] | None) -> bool:
        if state is None:
            self.answer = Readiness(ready=False, message="it was deleted by someone else meanwhile", failed=True)
            return True
        self.state = state
        self.answer = self._check(state)
        if self.answer.ready or self.answer.failed or self._refused_for_long():
            return True
        self._report()
        return False

    def _refused_for_long(self) -> bool:
        now = time.monotonic()
        if not self.answer.message.startswith(readiness.REFUSED_PODS):
            self._refused_since = None
            return False
        self._refused_since = self._refused_since or now
        return now - self._refused_since >= PERSISTENT_REFUSAL_SECONDS

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._started < QUIET_SECONDS:
            return
        message = self.answer.message
        if now - self._looked_for_reasons >= REASONS_INTERVAL_SECONDS:
            self._looked_for_reasons = now
            found = find_reasons(self._client, self.state)
            self._reason = f"; {found[0]}" if found else ""
        message += self._reason
        if message != self._said:
            self._said = message
            self._say(f"{self._kind} {self._name}: {message}")

    def reasons(self, *, in_time: bool, timeout: float) -> list[str]:
        when = "" if in_time else f" after {timeout:g} s"
        return [
            f"{self._kind} {self._name} is not ready{when}: {self.answer.message}",
            *find_reasons(self._client, self.state),
        ]


def _held_by(live: dict[str, Any]) -> str:
    finalizers = get(live, ("metadata", "finalizers"))
    return f"; held by the finalizers {', '.join(finalizers)}" if finalizers else ""
