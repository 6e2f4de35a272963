"""The control plane: found again, repaired, moved off a taken port, and stopped to the last process."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.recording import ROOT
from sandbox import controlplane, daemons, session, tools
from sandbox.files import read_json
from sandbox.layout import Layout
from sandbox.ports import LOOPBACK


@pytest.fixture(scope="module")
def binaries() -> dict[str, Path]:
    return session.control_plane_tools(tools.progress(), ROOT)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    made = Layout(tmp_path.resolve())
    yield made
    controlplane.stop(made)


def _pids(layout: Layout) -> dict[str, int]:
    found = {name: daemons.find(name, layout) for name in controlplane.DAEMONS}
    return {name: process.pid for name, process in found.items() if process is not None}


def test_a_second_start_keeps_what_runs_and_restarts_only_what_was_killed(
    layout: Layout, binaries: dict[str, Path]
) -> None:
    report = tools.progress()
    assert controlplane.start(layout, binaries, report) == list(controlplane.DAEMONS)
    first = _pids(layout)
    assert controlplane.start(layout, binaries, report) == []
    for victim in ("etcd", "kube-apiserver", "kwok"):
        pid = _pids(layout)[victim]
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
        started = controlplane.start(layout, binaries, report)
        assert victim in started
        assert controlplane.is_ready(layout)
    assert _pids(layout)["kube-scheduler"] == first["kube-scheduler"]


def test_everything_listens_on_loopback_only(layout: Layout, binaries: dict[str, Path]) -> None:
    controlplane.start(layout, binaries, tools.progress())
    listening = [
        connection.laddr.ip
        for pid in _pids(layout).values()
        for connection in psutil.Process(pid).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) <= {LOOPBACK, "::1"}


def test_a_port_that_somebody_took_meanwhile_is_left_to_them(layout: Layout, binaries: dict[str, Path]) -> None:
    report = tools.progress()
    controlplane.start(layout, binaries, report)
    controlplane.stop(layout)
    taken = (read_json(layout.ports) or {})["api"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((LOOPBACK, taken))
        other.listen()
        controlplane.start(layout, binaries, report)
        assert controlplane.is_ready(layout)
        assert (read_json(layout.ports) or {})["api"] != taken
        assert str(taken) not in layout.kubeconfig.read_text(encoding="utf-8")


def test_stop_ends_every_process_twice_is_fine_and_data_is_kept(layout: Layout, binaries: dict[str, Path]) -> None:
    controlplane.start(layout, binaries, tools.progress())
    pids = _pids(layout)
    assert sorted(controlplane.stop(layout)) == sorted(controlplane.DAEMONS)
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert controlplane.stop(layout) == []
    assert not controlplane.is_ready(layout)
    assert any(layout.etcd_data.iterdir())


def test_keys_and_tokens_are_private(layout: Layout, binaries: dict[str, Path]) -> None:
    controlplane.start(layout, binaries, tools.progress())
    for private in (layout.kubeconfig, layout.token_file, layout.service_account_key, layout.metrics_certificate):
        assert private.stat().st_mode & 0o077 == 0, private
    token = layout.token_file.read_text(encoding="utf-8").split(",")[0]
    for name in controlplane.DAEMONS:
        assert token not in layout.log(name).read_text(encoding="utf-8", errors="replace")
        assert token not in layout.process(name).read_text(encoding="utf-8")
