"""Wait for changes of objects with one watch per collection, however many objects are awaited in it.

A connection per awaited object would cost a TLS handshake each; polling would cost a request several times
a second for each.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.plugins.kubernetes.discovery import Resource
from sandbox.plugins.kubernetes.errors import ApiError, CancelledError, UnreachableError
from sandbox.plugins.kubernetes.kube import KubeClient

WATCH_SECONDS = 300
RECONNECT_SECONDS = 0.5
# How often a waiter looks at its clock, its cancellation and its messages even when nothing changes.
TICK_SECONDS = 1.0
_GONE = 410


@dataclass(frozen=True, slots=True)
class Seen:
    """How many events a watch has seen of an object, and what the last one said."""

    count: int
    state: dict[str, Any]
    deleted: bool

    def concerns(self, live: dict[str, Any]) -> bool:
        """Whether this says something new about ``live``: not what preceded it, nor an earlier namesake's end."""
        mine, start = self.state.get("metadata", {}), live["metadata"]
        if self.deleted:
            return bool(mine.get("uid") == start.get("uid"))
        return _number(mine.get("resourceVersion")) >= _number(start.get("resourceVersion"))


UNSEEN = Seen(0, {}, deleted=False)


def _number(version: object) -> int:
    return int(version) if isinstance(version, str) and version.isdigit() else 0


class Collection:
    """The latest known state of one collection, kept by a watch that runs while the provider lives."""

    def __init__(self, client: KubeClient, path: str) -> None:
        self._client = client
        self._path = path
        self._changed = threading.Condition()
        self._latest: dict[str, Seen] = {}
        self._started = False
        self.closed = False

    def start(self, version: str) -> None:
        """Watch from a version on; later calls change nothing, an older watch covers a newer version."""
        with self._changed:
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._run, args=(version,), daemon=True, name=f"watch {self._path}").start()

    def seen(self, name: str) -> Seen:
        """What the watch has seen of an object so far."""
        with self._changed:
            return self._latest.get(name, UNSEEN)

    def wait(self, name: str, count: int, timeout_seconds: float) -> None:
        """Return when more than ``count`` events were seen for an object, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._latest.get(name, UNSEEN).count > count or self.closed, timeout_seconds)

    def close(self) -> None:
        """Wake every waiter for good."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _run(self, version: str) -> None:
        while not self.closed:
            try:
                for event in self._client.watch(
                    self._path, query={"resourceVersion": version}, timeout_seconds=WATCH_SECONDS
                ):
                    version = self._record(event) or version
            except ApiError as error:
                if error.code != _GONE:
                    time.sleep(RECONNECT_SECONDS)  # for instance no right to watch: then listing has to do
                version = self._relist() or version
            except UnreachableError:
                time.sleep(RECONNECT_SECONDS)

    def _record(self, event: dict[str, Any]) -> str | None:
        found = event.get("object") or {}
        if event.get("type") == "ERROR":
            raise ApiError(int(found.get("code") or 500), found)
        metadata = found.get("metadata") or {}
        if event.get("type") != "BOOKMARK":
            self._note(metadata.get("name", ""), found, deleted=event.get("type") == "DELETED")
        version = metadata.get("resourceVersion")
        return str(version) if version else None

    def _note(self, name: str, state: dict[str, Any], *, deleted: bool) -> None:
        with self._changed:
            before = self._latest.get(name, UNSEEN)
            self._latest[name] = Seen(before.count + 1, state, deleted)
            self._changed.notify_all()

    def _relist(self) -> str | None:
        """The server has forgotten our version: read everything once and go on from there."""
        try:
            answer = self._client.request("GET", self._path)
        except (ApiError, UnreachableError):
            return None
        present = {item["metadata"]["name"]: item for item in answer.get("items", [])}
        with self._changed:
            missing = {name: seen.state for name, seen in self._latest.items() if name not in present}
        for name, state in missing.items():
            self._note(name, state, deleted=True)
        for name, item in present.items():
            self._note(name, item, deleted=False)
        version = answer.get("metadata", {}).get("resourceVersion")
        return str(version) if version else None


class Watches:
    """The collections that are being watched."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._collections: dict[str, Collection] = {}
        self._cancelled = threading.Event()

    def collection(self, resource: Resource, namespace: str | None) -> Collection:
        """The one watch of a collection."""
        path = resource.collection(namespace)
        with self._lock:
            return self._collections.setdefault(path, Collection(self._client, path))

    def follow(
        self,
        resource: Resource,
        live: dict[str, Any],
        *,
        timeout_seconds: float,
        look: Callable[[dict[str, Any] | None], bool],
    ) -> bool:
        """Call ``look`` with every state of an object, None once it is deleted, until it returns True.

        ``live`` is the state to start from. ``look`` is also called about once a second with the last known
        state. False when the time is over. Raises ``CancelledError`` when the engine asks to stop.
        """
        deadline = time.monotonic() + timeout_seconds
        if look(live):
            return True
        metadata = live["metadata"]
        name = metadata["name"]
        collection = self.collection(resource, metadata.get("namespace"))
        collection.start(metadata["resourceVersion"])
        handled, known = 0, live
        while True:
            if self._cancelled.is_set():
                message = f"stopped waiting for {resource.kind} {name}: the update was cancelled"
                raise CancelledError(message)
            seen = collection.seen(name)
            if seen.count > handled and seen.concerns(live):
                known = seen.state
            handled = seen.count
            if look(None if seen.deleted and seen.concerns(live) else known):
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            collection.wait(name, handled, min(TICK_SECONDS, remaining))

    def cancel(self) -> None:
        """End every wait."""
        self._cancelled.set()
        with self._lock:
            collections = list(self._collections.values())
        for collection in collections:
            collection.close()
