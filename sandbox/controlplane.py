"""A Kubernetes control plane without nodes that run anything: etcd, API server, controllers, scheduler, KWOK."""

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import daemons
from sandbox.access import read_access
from sandbox.daemons import Daemon
from sandbox.errors import SandboxError
from sandbox.files import PRIVATE_MODE, write_text
from sandbox.layout import Layout
from sandbox.metrics_registration import register
from sandbox.nodes import apply_nodes, forget_leases, wait_until_ready
from sandbox.ports import LOOPBACK, keep_ports
from sandbox.progress import Progress
from sandbox.tools import kwok_stages
from sandbox.volumes import ensure_volumes

CONTEXT = "payments-sandbox"
DAEMONS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "metrics-api")
_PORTS = (("etcd", "etcd"), ("etcd-peer", "etcd"), ("api", "kube-apiserver"), ("metrics", "metrics-api"))
_SERVICE_RANGE = "10.96.0.0/16"
_NODE_LEASE_SECONDS = 40
_HEALTH_TIMEOUT = urllib3.Timeout(total=2)
_SERVICE_ACCOUNT_KEY_BITS = 2048
# Controllers that need a cloud or a network, which nothing here has.
_CONTROLLERS = "*,-nodeipam,-route,-service-lb-controller,-cloud-node-lifecycle-controller"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a control plane may be asked for."""

    nodes_per_zone: int = 3
    zones: tuple[str, ...] = ("zone-a", "zone-b", "zone-c")
    hpa_sync_seconds: int = 1
    """The real controller's loop; its own default is 15 s, which nobody wants to watch."""
    daemons: tuple[str, ...] = DAEMONS
    """Those to start; without KWOK there are no nodes, without the metrics API no metrics are registered."""


def start(layout: Layout, tools: Mapping[str, Path], report: Progress, options: Options | None = None) -> list[str]:
    """Bring every daemon up and return the names of those that had to be started.

    Running healthy daemons stay; so a second call, or one after Ctrl-C or a kill, does what is missing. Raises
    ``SandboxError`` with the log of what failed.
    """
    chosen = options or Options()
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.root.chmod(0o700)
    with report.step("Control plane: etcd, API server, controllers, scheduler, nodes", key="control-plane") as step:
        ports = keep_ports(layout, _PORTS, lambda daemon: daemons.find(daemon, layout) is not None)
        _write_secrets(layout)
        wanted = [daemon for daemon in _plan(layout, tools, ports, chosen) if daemon.name in chosen.daemons]
        started = [daemon.name for daemon in wanted if _ensure(daemon, layout, ports)]
        if "kwok" in chosen.daemons:
            apply_nodes(tools["kubectl"], layout.kubeconfig, zones=chosen.zones, per_zone=chosen.nodes_per_zone)
            ensure_volumes(tools["kubectl"], layout.kubeconfig)
        if "metrics-api" in chosen.daemons:
            register(tools["kubectl"], layout.kubeconfig, ports["metrics"])
        if "kwok" in chosen.daemons:
            wait_until_ready(tools["kubectl"], layout.kubeconfig, layout.log("kwok"))
        _require_alive(layout, chosen.daemons)
        step.note(f"API server on {LOOPBACK}:{ports['api']}, started {len(started)} of {len(chosen.daemons)}")
    return started


def stop(layout: Layout) -> list[str]:
    """End the daemons in reverse order; returns those that were running. Data is kept."""
    return [name for name in reversed(DAEMONS) if daemons.stop(name, layout)]


def running(layout: Layout) -> dict[str, bool]:
    """Daemon → whether its process lives."""
    return {name: daemons.find(name, layout) is not None for name in DAEMONS}


def is_ready(layout: Layout) -> bool:
    """Whether the API server of this sandbox says that it is ready."""
    if not layout.kubeconfig.exists():
        return False
    access = read_access(layout.kubeconfig)
    return _answers(f"{access.server}/readyz", ca=access.certificate_authority, token=access.token)


def _require_alive(layout: Layout, wanted: tuple[str, ...]) -> None:
    """The API server's clients have no port to ask: one with a bad flag is only seen by having ended."""
    for name, alive in running(layout).items():
        if name in wanted and not alive:
            raise SandboxError(
                f"{name} ended right after its start", next_step="run the command again", log=layout.log(name)
            )


def _ensure(daemon: Daemon, layout: Layout, ports: Mapping[str, int]) -> bool:
    started = daemons.ensure_running(daemon, layout)
    if daemon.name == "kube-apiserver":
        _write_kubeconfig(layout, ports)
    return started


def _plan(layout: Layout, tools: Mapping[str, Path], ports: Mapping[str, int], options: Options) -> list[Daemon]:
    etcd_url = f"http://{LOOPBACK}:{ports['etcd']}"
    server = f"https://{LOOPBACK}:{ports['api']}"
    kubeconfig = ["--kubeconfig", str(layout.kubeconfig)]

    def ready() -> bool:
        return _answers(f"{server}/readyz", ca=layout.api_certificates / "apiserver.crt", token=_token(layout))

    def client(name: str, arguments: list[str], before_start: Callable[[], None] = lambda: None) -> Daemon:
        # A client of the API server has no port to ask; that it stays alive is seen by the next run.
        return Daemon(
            name=name,
            command=[str(tools[name]), *arguments],
            healthy=lambda: True,
            depends_on=f"{server} {etcd_url}",
            before_start=before_start,
        )

    return [
        Daemon(
            name="etcd",
            command=_etcd(tools["etcd"], layout, etcd_url, f"http://{LOOPBACK}:{ports['etcd-peer']}"),
            healthy=lambda: _answers(f"{etcd_url}/health"),
        ),
        Daemon(
            name="kube-apiserver",
            command=_api_server(tools["kube-apiserver"], layout, etcd_url, ports["api"]),
            healthy=ready,
            timeout_seconds=120,
        ),
        client("kube-controller-manager", [*kubeconfig, *_controller_flags(layout, options)]),
        client("kube-scheduler", [*kubeconfig, "--leader-elect=false", "--secure-port=0"]),
        client(
            "kwok",
            [
                *kubeconfig,
                *("--config", str(kwok_stages(tools["kwok"]))),
                "--manage-all-nodes=true",
                f"--node-lease-duration-seconds={_NODE_LEASE_SECONDS}",
            ],
            # A new KWOK has a new identity and would wait until the old one's leases run out.
            before_start=lambda: forget_leases(tools["kubectl"], layout.kubeconfig),
        ),
        Daemon(
            name="metrics-api",
            command=[sys.executable, "-m", "sandbox.metrics_api", str(layout.root), str(ports["metrics"])],
            healthy=lambda: _answers(f"https://localhost:{ports['metrics']}/healthz", ca=layout.metrics_certificate),
            depends_on=server,
            environment={"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        ),
    ]


def _etcd(binary: Path, layout: Layout, client_url: str, peer_url: str) -> list[str]:
    return [
        str(binary),
        *("--name", "sandbox", "--data-dir", str(layout.etcd_data)),
        *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"sandbox={peer_url}"),
        "--unsafe-no-fsync",  # a throw-away cluster: losing it with the machine costs nothing
        *("--log-level", "warn"),
    ]


def _api_server(binary: Path, layout: Layout, etcd_url: str, port: int) -> list[str]:
    key = str(layout.service_account_key)
    return [
        str(binary),
        *("--etcd-servers", etcd_url, "--bind-address", LOOPBACK, "--secure-port", str(port)),
        *("--cert-dir", str(layout.api_certificates), "--token-auth-file", str(layout.token_file)),
        *("--authorization-mode", "RBAC", "--service-cluster-ip-range", _SERVICE_RANGE),
        *("--service-account-key-file", key, "--service-account-signing-key-file", key),
        *("--service-account-issuer", "https://kubernetes.default.svc"),
    ]


def _controller_flags(layout: Layout, options: Options) -> list[str]:
    return [
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials",
        f"--controllers={_CONTROLLERS}",
        f"--service-account-private-key-file={layout.service_account_key}",
        f"--root-ca-file={layout.api_certificates / 'apiserver.crt'}",
        f"--horizontal-pod-autoscaler-sync-period={options.hpa_sync_seconds}s",
    ]


def _write_secrets(layout: Layout) -> None:
    if not layout.token_file.exists():
        token = secrets.token_urlsafe(32)
        write_text(layout.token_file, f'{token},admin,admin,"system:masters"\n', mode=PRIVATE_MODE)
    if not layout.service_account_key.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=_SERVICE_ACCOUNT_KEY_BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        write_text(layout.service_account_key, pem.decode(), mode=PRIVATE_MODE)


def _token(layout: Layout) -> str:
    return layout.token_file.read_text(encoding="utf-8").split(",", 1)[0]


def _write_kubeconfig(layout: Layout, ports: Mapping[str, int]) -> None:
    cluster = {
        "server": f"https://{LOOPBACK}:{ports['api']}",
        "certificate-authority": str(layout.api_certificates / "apiserver.crt"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": {"token": _token(layout)}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
    }
    text = yaml.safe_dump(document, sort_keys=False)
    if not layout.kubeconfig.exists() or layout.kubeconfig.read_text(encoding="utf-8") != text:
        write_text(layout.kubeconfig, text, mode=PRIVATE_MODE)


def _answers(url: str, *, ca: Path | None = None, token: str = "") -> bool:
    if ca is not None and not ca.exists():
        return False  # its owner has not started yet
    options: dict[str, object] = {"ca_certs": str(ca)} if ca is not None else {}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib3.PoolManager(retries=False, timeout=_HEALTH_TIMEOUT, **options) as pool:  # type: ignore[arg-type]
            return pool.request("GET", url, headers=headers).status == 200  # noqa: PLR2004
    except (urllib3.exceptions.HTTPError, OSError):
        return False


def require_ready(layout: Layout) -> None:
    """Raise ``SandboxError`` when the API server does not answer: the engine would only report a symptom."""
    if not layout.kubeconfig.exists():
        raise SandboxError(
            "there is no sandbox in this checkout yet; nothing was changed",
            next_step="payctl up --stack dev makes one",
        )
    if not is_ready(layout):
        raise SandboxError(
            "the sandbox's API server does not answer; nothing was changed and the saved state is intact",
            next_step="payctl up --stack dev brings it up again with everything that it stored",
            log=layout.log("kube-apiserver"),
        )
