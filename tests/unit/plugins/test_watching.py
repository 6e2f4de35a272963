"""Waiting with one watch per collection: nothing is missed, nothing old is taken for new."""

import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest

from sandbox.plugins.kubernetes import watching
from sandbox.plugins.kubernetes.discovery import Resource
from sandbox.plugins.kubernetes.errors import ApiError, CancelledError
from sandbox.plugins.kubernetes.watching import Watches

PODS = Resource("v1", "Pod", "pods", namespaced=True)
LONG = 10.0


def pod(version: int, name: str = "a", uid: str = "1", **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "status": status}


class Server:
    """Plays events; counts the watches and remembers the versions they started from."""

    def __init__(self) -> None:
        self.events: Queue[dict[str, Any] | Exception | None] = Queue()
        self.started_from: list[str] = []
        self.listing: list[dict[str, Any]] = []

    def watch(self, _path: str, *, query: dict[str, str], timeout_seconds: int) -> Iterator[dict[str, Any]]:
        assert timeout_seconds > 0
        self.started_from.append(query["resourceVersion"])
        while (event := self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def request(self, _method: str, _path: str) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "900"}, "items": self.listing}

    def tell(self, kind: str, state: dict[str, Any]) -> None:
        self.events.put({"type": kind, "object": state})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(watching, "RECONNECT_SECONDS", 0.0)
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.05)
    return Server()


@pytest.fixture
def watches(server: Server) -> Iterator[Watches]:
    made = Watches(server)  # type: ignore[arg-type]
    yield made
    made.cancel()
    server.events.put(None)


def ready(state: dict[str, Any] | None) -> bool:
    return state is not None and state["status"].get("ready") is True


def in_background(act: Callable[[], Any]) -> Callable[[], Any]:
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(act())
        except Exception as error:  # noqa: BLE001 - handed to the test
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> Any:
        thread.join(LONG)
        assert result, "still waiting"
        return result[0]

    return join


def test_an_object_that_is_ready_is_not_watched(server: Server, watches: Watches) -> None:
    assert watches.follow(PODS, pod(5, ready=True), timeout_seconds=LONG, look=ready)
    assert server.started_from == []


def test_waiting_ends_with_the_event_that_makes_it_ready(server: Server, watches: Watches) -> None:
    waiting = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=ready))
    server.tell("MODIFIED", pod(6, ready=False))
    server.tell("MODIFIED", pod(7, ready=True))
    assert waiting() is True
    assert server.started_from == ["5"]


def test_many_objects_share_one_watch_and_events_before_the_wait_count(server: Server, watches: Watches) -> None:
    first = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=ready))
    server.tell("MODIFIED", pod(7, "b", ready=True))  # b became ready before anybody waits for it
    server.tell("MODIFIED", pod(8, ready=True))
    assert first() is True
    assert watches.follow(PODS, pod(6, "b"), timeout_seconds=LONG, look=ready)
    assert len(server.started_from) == 1


def test_what_happened_to_an_earlier_namesake_is_not_taken_for_this_object(server: Server, watches: Watches) -> None:
    seen: list[Any] = []

    def look(state: dict[str, Any] | None) -> bool:
        seen.append(state)
        return ready(state)

    first = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=lambda s: s is None))
    server.tell("DELETED", pod(6))
    assert first() is True
    second = in_background(lambda: watches.follow(PODS, pod(7, uid="2"), timeout_seconds=LONG, look=look))
    server.tell("MODIFIED", pod(8, uid="2", ready=True))
    assert second() is True
    assert None not in seen


def test_a_deletion_is_seen(server: Server, watches: Watches) -> None:
    waiting = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=lambda s: s is None))
    server.tell("DELETED", pod(6))
    assert waiting() is True


def test_time_runs_out(watches: Watches) -> None:
    assert watches.follow(PODS, pod(5), timeout_seconds=0.1, look=ready) is False


def test_a_watch_that_ends_goes_on_where_it_stopped(server: Server, watches: Watches) -> None:
    waiting = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=ready))
    server.tell("BOOKMARK", pod(8))
    server.events.put(None)
    server.tell("MODIFIED", pod(9, ready=True))
    assert waiting() is True
    assert server.started_from == ["5", "8"]


def test_a_version_that_is_too_old_is_read_anew(server: Server, watches: Watches) -> None:
    server.listing = [pod(850, ready=True)]
    waiting = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=ready))
    server.events.put(ApiError(410, {"reason": "Expired"}))
    assert waiting() is True
    server.events.put(None)


def test_cancelling_ends_every_wait_with_its_reason(watches: Watches) -> None:
    waiting = in_background(lambda: watches.follow(PODS, pod(5), timeout_seconds=LONG, look=ready))
    watches.cancel()
    error = waiting()
    assert isinstance(error, CancelledError)
    assert "Pod a" in str(error)
