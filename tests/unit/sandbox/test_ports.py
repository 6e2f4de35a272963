"""Ports are kept while they can be, and never taken from somebody else."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.layout import Layout
from sandbox.ports import LOOPBACK, free_port, is_free, keep_ports

OWNERS = (("api", "kube-apiserver"), ("etcd", "etcd"))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        yield other.getsockname()[1]


def _nobody(_: str) -> bool:
    return False


def test_a_port_that_somebody_listens_on_is_not_free(taken: int) -> None:
    assert not is_free(taken)
    assert is_free(free_port())


def test_ports_differ_and_stay_the_same(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = keep_ports(layout, OWNERS, _nobody)
    assert len(set(first.values())) == len(OWNERS)
    assert keep_ports(layout, OWNERS, _nobody) == first


def test_a_port_taken_by_somebody_else_is_replaced_and_the_others_stay(tmp_path: Path, taken: int) -> None:
    layout = Layout(tmp_path)
    first = keep_ports(layout, OWNERS, _nobody)
    layout.ports.write_text(f'{{"api": {taken}, "etcd": {first["etcd"]}}}', encoding="utf-8")
    moved = keep_ports(layout, OWNERS, _nobody)
    assert moved["api"] != taken
    assert moved["etcd"] == first["etcd"]


def test_a_port_that_our_own_daemon_listens_on_is_kept(tmp_path: Path, taken: int) -> None:
    layout = Layout(tmp_path)
    keep_ports(layout, OWNERS, _nobody)
    layout.ports.write_text(f'{{"api": {taken}, "etcd": {free_port()}}}', encoding="utf-8")
    assert keep_ports(layout, OWNERS, lambda daemon: daemon == "kube-apiserver")["api"] == taken


def test_a_damaged_record_is_replaced(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.ports.parent.mkdir(parents=True)
    layout.ports.write_text('{"api": "many"', encoding="utf-8")
    assert set(keep_ports(layout, OWNERS, _nobody)) == {"api", "etcd"}
