"""Six real servers from the rendered files: formed, healed, locked down."""

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from components.cache.reconciler.protocol import Connection, ServerError
from tests.real.cache.watching import assert_whole, client, owner_of, shape_of
from tests.real.redis_servers import Fleet, wait_until

USERS = ("payment-service", "wallet-service", "gateway-service")


def decisions(log: str) -> list[str]:
    """The log's lines without their times."""
    return [line.partition("Z ")[2] for line in log.splitlines() if line]


def test_the_reconciler_forms_three_primaries_with_replicas_in_other_zones(formed: Fleet) -> None:
    assert_whole(formed)


def test_a_second_run_only_looks(formed: Fleet) -> None:
    before = shape_of(formed)
    seen, decided = decisions(formed.reconcile())
    assert seen.startswith("seen: ")
    assert decided == "nothing to do"
    assert shape_of(formed) == before


@pytest.mark.slow
def test_two_runs_at_once_end_in_one_cluster(formed: Fleet) -> None:
    for pod in formed.pods:
        if "role:master" in formed.ask(pod, "INFO", "replication"):
            formed.ask(pod, "FLUSHALL")
        formed.ask(pod, "CLUSTER", "RESET", "HARD")
    runs = [formed.reconciler() for _ in range(3)]
    logs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], "\n\n".join(logs)
    formed.reconcile()
    assert_whole(formed)
    # One of them assigned all slots; the others waited for the lock and found it done, or gave way.
    assigning = [log for log in logs if "assign:" in log and "failed" not in log]
    assert len(assigning) >= 1


@pytest.mark.slow
def test_all_pods_restarted_at_their_announced_addresses_need_nobody(formed: Fleet) -> None:
    formed.stop()
    formed.start()
    wait_until(lambda: all("cluster_state:ok" in formed.ask(p, "CLUSTER", "INFO") for p in formed.pods), 30)
    formed.reconcile()
    assert_whole(formed)


def test_all_pods_restarted_with_new_addresses_are_healed_without_a_hand(
    formed: Fleet, record_property: Callable[[str, object], None]
) -> None:
    before = shape_of(formed)
    formed.stop()
    formed.move()
    formed.start()
    assert any("cluster_state:fail" in formed.ask(pod, "CLUSTER", "INFO") for pod in formed.pods)
    start = time.monotonic()
    log = formed.reconcile()
    record_property("healed_after_seconds", time.monotonic() - start)
    assert "meet: " in log
    assert_whole(formed)
    assert shape_of(formed).slots.keys() == before.slots.keys(), "roles changed though every identity was kept"
    with client(formed) as connection:
        assert connection.set("healed", "yes")


def test_a_primary_that_is_asked_to_stop_hands_over_with_all_its_keys(formed: Fleet) -> None:
    keys = [f"graceful:{number}" for number in range(200)]
    with client(formed) as connection:
        for key in keys:
            connection.set(key, key)
    shape = assert_whole(formed)
    leaving = owner_of(formed, shape, keys[0])
    formed.stop([leaving], graceful=True)
    with client(formed) as connection:
        assert [connection.get(key) for key in keys] == keys
    formed.start([leaving])
    formed.reconcile()
    assert_whole(formed)


@pytest.mark.slow
def test_a_pod_that_lost_its_volume_is_forgotten_and_taken_in_anew(formed: Fleet) -> None:
    replica = next(pod for pod in formed.pods if pod.name in shape_of(formed).primary_of)
    formed.stop([replica])
    (replica.folder / "data" / "nodes.conf").unlink()
    formed.start([replica])
    log = formed.reconcile()
    assert "forget: node" in log
    assert_whole(formed)


def test_readiness_is_the_servers_own_answer(formed: Fleet) -> None:
    assert formed.ping_probe(formed.pods[0]) == 0
    formed.stop([formed.pods[5]])
    assert formed.ping_probe(formed.pods[5]) != 0
    formed.start([formed.pods[5]])
    formed.reconcile()


def test_plaintext_is_not_answered(formed: Fleet) -> None:
    pod = formed.pods[0]
    with socket.create_connection((pod.address, formed.port), timeout=5) as plain:
        plain.sendall(b"PING\r\n")
        with suppress(ConnectionResetError):
            assert b"PONG" not in plain.recv(100)


def test_nobody_may_do_anything_without_logging_in(formed: Fleet) -> None:
    pod = formed.pods[0]
    with pytest.raises(ServerError, match="WRONGPASS"):
        Connection(pod.address, formed.port, replace(formed.access(), user="default", auth="guess"))
    listed = formed.ask(pod, "ACL", "LIST")
    assert re.search(r"user default off [^']*-@all", listed)


@pytest.mark.parametrize("user", USERS)
def test_a_service_reaches_its_own_keys_and_no_command_of_administrators(formed: Fleet, user: str) -> None:
    shape = shape_of(formed)
    own, foreign = "config:limits", "sessions:1"
    with formed.connect(owner_of(formed, shape, own), user) as connection:
        assert connection.text("SET", own, "1") == "OK"
        assert connection.text("PING") == "PONG"
        for forbidden in (["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["CLUSTER", "RESET"], ["READONLY"]):
            with pytest.raises(ServerError, match="NOPERM"):
                connection.call(*forbidden)
        with pytest.raises(ServerError, match="NOPERM"):
            connection.call("SUBSCRIBE", "cache:reconciler")
    with (
        formed.connect(owner_of(formed, shape, foreign), user) as connection,
        pytest.raises(ServerError, match="NOPERM"),
    ):
        connection.call("GET", foreign)


def test_a_gateway_cannot_read_a_balance(formed: Fleet) -> None:
    balance = "wallet:balance:1"
    with (
        formed.connect(owner_of(formed, shape_of(formed), balance), "gateway-service") as connection,
        pytest.raises(ServerError, match="NOPERM"),
    ):
        connection.call("GET", balance)


def test_no_password_stands_where_the_rendered_files_or_logs_are(formed: Fleet) -> None:
    files = [path for pod in formed.pods for path in pod.folder.rglob("*") if path.is_file()]
    readable = [path for path in files if "passwords" not in path.parts and "run" not in path.parts]
    assert readable
    for path in readable:
        content = path.read_bytes()
        assert not any(word.encode() in content for word in formed.passwords.values()), path.name
