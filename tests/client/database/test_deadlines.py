import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from payments_client.database import idempotent
from payments_client.database.deadlines import Deadline, Watchdog
from payments_client.database.errors import KeyReusedError
from payments_client.database.idempotency import forget_parameters
from payments_client.database.options import Credentials, PoolOptions


def test_a_socket_is_shut_at_its_deadline_and_not_before() -> None:
    near, far = socket.socketpair()
    with near, far, Watchdog().guard(near.fileno(), Deadline.after(0.3)):
        began = time.monotonic()
        far.settimeout(60)
        assert far.recv(1) == b""
        assert time.monotonic() - began > 0.2


def test_a_socket_whose_block_has_ended_is_left_alone() -> None:
    near, far = socket.socketpair()
    watchdog = Watchdog()
    with near, far:
        with watchdog.guard(near.fileno(), Deadline.after(0.1)):
            pass
        time.sleep(0.3)
        near.send(b"x")
        assert far.recv(1) == b"x"


def test_many_sockets_in_many_threads_each_end_in_time() -> None:
    watchdog, ended = Watchdog(), []

    def hang(seconds: float) -> None:
        near, far = socket.socketpair()
        with near, far, watchdog.guard(near.fileno(), Deadline.after(seconds)):
            far.settimeout(60)
            ended.append(far.recv(1))

    threads = [threading.Thread(target=hang, args=(0.5 - number / 50,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ended == [b""] * 20


_FORKED = """
import os, signal, socket, sys, threading
from payments_client.database.deadlines import WATCHDOG, Deadline

def ends_in_time():
    near, far = socket.socketpair()
    with near, far, WATCHDOG.guard(near.fileno(), Deadline.after(0.2)):
        far.settimeout(20)
        return far.recv(1) == b""

assert ends_in_time()
held, forked = threading.Event(), threading.Event()

def hold():
    with WATCHDOG._changed:
        held.set()
        forked.wait(20)

threading.Thread(target=hold).start()
held.wait(20)
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if ends_in_time() else 1)
forked.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not ends_in_time())
"""


def test_a_worker_that_was_forked_at_any_moment_has_its_own_deadlines() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKED], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_statement_timeout_is_never_the_one_that_means_no_limit() -> None:
    assert Deadline(at=0).statement_timeout == "1ms"
    with pytest.raises(ValueError, match="must be positive"):
        Deadline.after(0)


def test_an_endpoint_gets_no_more_than_the_whole_call() -> None:
    whole = Deadline.after(5)
    assert whole.within(60) == whole
    assert whole.within(1).at < whole.at


def test_a_key_with_another_request_is_refused() -> None:
    first = idempotent("k", scope="s", request={"a": 1, "b": 2})
    assert first == idempotent("k", scope="s", request={"b": 2, "a": 1})
    other = idempotent("k", scope="s", request={"a": 2})
    assert first.replayed((0, first.digest, None)) == (False, None)
    assert first.replayed((1, first.digest, {"x": 1})) == (True, {"x": 1})
    with pytest.raises(KeyReusedError):
        other.replayed((1, first.digest, None))
    with pytest.raises(ValueError, match="neither may be empty"):
        idempotent("", scope="s", request=None)


@pytest.mark.parametrize(
    ("older_than_seconds", "limit", "match"),
    [
        (3599, 10, "may still be retried"),
        (float("nan"), 10, "may still be retried"),
        (3600, 0, "expected 1"),
        (3600, 50_001, "expected 1"),
    ],
)
def test_keys_that_may_be_retried_are_not_forgotten(older_than_seconds: float, limit: int, match: str) -> None:
    assert forget_parameters(3600, 50_000) == (3600.0, 50_000)
    with pytest.raises(ValueError, match=match):
        forget_parameters(older_than_seconds, limit)


def test_a_password_is_in_no_repr_and_sizes_are_checked() -> None:
    assert "hidden-phrase" not in repr(Credentials(dbname="d", user="u", password="hidden-phrase"))
    with pytest.raises(ValueError, match="min_size 5"):
        PoolOptions(min_size=5, max_size=2)
