"""The stage of the proof: etcd, an API server, and a controller manager that runs the autoscaler and nothing else."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from sandbox import controlplane, daemons
from sandbox.access import read_access
from sandbox.daemons import Daemon
from sandbox.files import PRIVATE_MODE, write_text
from sandbox.layout import Layout
from sandbox.metrics_registration import register
from sandbox.metrics_server import MetricsServer
from sandbox.ports import free_port
from sandbox.progress import Progress
from tests.sandbox.differential.api import Api
from tests.sandbox.differential.controller_log import ControllerLog
from tests.sandbox.differential.gate import Gate
from tests.sandbox.differential.replay import Replay

SYNC_PERIOD_SECONDS = 0.5
"""A sync comes back to the gate this long after the one before; the gate decides when it goes on."""
DOWNSCALE_SECONDS = 20
"""The controller's own window for autoscalers that name none; its default of 300 s, compressed like all others."""
_CONTROLLER_MANAGER = "kube-controller-manager"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Everything that a trace needs."""

    api: Api
    gate: Gate
    replay: Replay
    log: ControllerLog


@contextmanager
def raised(layout: Layout, binaries: Mapping[str, Path], report: Progress, *, traces: int) -> Iterator[Stage]:
    """Start it, for so many traces at once, and stop everything at the end."""
    options = controlplane.Options(daemons=("etcd", "kube-apiserver"))
    replay = Replay()
    try:
        controlplane.start(layout, binaries, report, options)
        access = read_access(layout.kubeconfig)
        api, gate = Api(access), Gate(access)
        server = MetricsServer(layout.metrics_certificate, free_port(), replay.respond)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            register(binaries["kubectl"], layout.kubeconfig, server.server_port)
            manager = _controller_manager(layout, binaries[_CONTROLLER_MANAGER], gate, traces)
            daemons.ensure_running(manager, layout)
            yield Stage(api=api, gate=gate, replay=replay, log=ControllerLog(layout.log(_CONTROLLER_MANAGER)))
        finally:
            gate.close()
            server.shutdown()
            server.server_close()
            api.close()
    finally:
        controlplane.stop(layout)


def _controller_manager(layout: Layout, binary: Path, gate: Gate, traces: int) -> Daemon:
    kubeconfig = layout.root / "control-plane" / "gate-kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gate",
        "clusters": [{"name": "gate", "cluster": {"server": gate.address}}],
        "users": [],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": ""}}],
    }
    write_text(kubeconfig, yaml.safe_dump(document), mode=PRIVATE_MODE)
    command = [
        str(binary),
        *("--kubeconfig", str(kubeconfig), "--leader-elect=false", "--secure-port=0"),
        "--controllers=horizontal-pod-autoscaler-controller",
        f"--horizontal-pod-autoscaler-sync-period={round(SYNC_PERIOD_SECONDS * 1000)}ms",
        f"--horizontal-pod-autoscaler-downscale-stabilization={DOWNSCALE_SECONDS}s",
        # A sync that is held at the gate holds its worker.
        f"--concurrent-horizontal-pod-autoscaler-syncs={traces + 5}",
        # The default of 20 requests a second would be the slowest part of the proof.
        *("--kube-api-qps=1000", "--kube-api-burst=2000"),
        "--kube-api-content-type=application/json",  # the gate reads what is written
        # Times to the microsecond, and what the metrics ask for before windows and paces.
        *("--logging-format=json", "-v=4"),
    ]
    return Daemon(name=_CONTROLLER_MANAGER, command=command, healthy=lambda: True, depends_on=gate.address)
