import socket
from pathlib import Path

from sandbox.layout import Layout
from sandbox.ports import LOOPBACK, free_port, is_free, keep_ports

_OWNERS = (("api", "kube-apiserver"), ("etcd", "etcd"))


def test_ports_are_distinct_and_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = keep_ports(layout, _OWNERS, lambda _daemon: False)
    assert len(set(first.values())) == len(_OWNERS)
    assert keep_ports(layout, _OWNERS, lambda _daemon: False) == first


def test_a_port_that_somebody_else_took_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = keep_ports(layout, _OWNERS, lambda _daemon: False)
    with socket.socket() as other:
        other.bind((LOOPBACK, first["api"]))
        other.listen()
        assert not is_free(first["api"])
        moved = keep_ports(layout, _OWNERS, lambda _daemon: False)
        assert moved["api"] != first["api"]
        assert moved["etcd"] == first["etcd"]


def test_a_port_that_our_own_daemon_listens_on_is_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = keep_ports(layout, _OWNERS, lambda _daemon: False)
    with socket.socket() as ours:
        ours.bind((LOOPBACK, first["api"]))
        ours.listen()
        assert keep_ports(layout, _OWNERS, lambda daemon: daemon == "kube-apiserver") == first


def test_a_free_port_is_free() -> None:
    assert is_free(free_port())
