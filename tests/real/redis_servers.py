"""Real servers from rendered manifests on one host: each pod is a folder and a loopback address of its own.

What differs from a cluster, all of it in ``_on_this_host``: mount paths are folders below the fleet's own, the fixed
ports are one free pair, a pod listens on its loopback address only and is announced under it instead of under its
Service's name, and a server that was built without TLS listens without it. The scripts, the configuration, the access
rules and the reconciler's code are the rendered ones, started by the rendered commands.
"""

import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.cache.reconciler.protocol import Access, Connection, ServerError
from settings.cache import CACHE_USER
from tests.real.certificates import client_context, make_certificates
from tests.real.redis_binaries import Binaries

Manifest = Mapping[str, Any]
PORT, BUS_PORT = 6379, 16379
_BUS_OFFSET = 10000
_START_SECONDS = 30
_STOP_SECONDS = 70
_BLOCKS = 4
"""Sets of addresses that a fleet can move through."""


def free_port() -> int:
    """A port whose bus port is free as well."""
    while True:
        port = random.randint(20000, 50000)  # noqa: S311
        try:
            for number in (port, port + _BUS_OFFSET):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


@dataclass(kw_only=True)
class Pod:
    """One pod of a StatefulSet: its folder stays, its process and its address come and go."""

    ordinal: int
    name: str
    zone: str
    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = None


@dataclass(kw_only=True)
class Fleet:
    """The pods of one rendered StatefulSet, its Secrets, and the reconciler that belongs to it."""

    manifests: list[Manifest]
    name: str
    binaries: Binaries
    folder: Path
    zones: tuple[str, ...]
    pods: list[Pod] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    network: int = field(default_factory=lambda: random.randint(16, 250) * 256 + random.randint(0, 200))  # noqa: S311
    block: int = 0
    passwords: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.passwords = {user: secrets.token_urlsafe(18) for user in _password_files(self._pod_spec())}
        addresses = [self._address(block, ordinal) for block in range(_BLOCKS) for ordinal in range(32)]
        make_certificates(self.folder / "certificates", addresses)
        for ordinal in range(int(self._stateful_set()["spec"]["replicas"])):
            self._add(ordinal)

    # -- the life of pods ------------------------------------------------------------------------------------------

    def start(self, pods: Iterable[Pod] | None = None) -> None:
        """Start pods by the rendered command and wait until they answer."""
        chosen = list(self.pods if pods is None else pods)
        for pod in chosen:
            self._start(pod)
        for pod in chosen:
            wait_until(lambda pod=pod: self.answers(pod), _START_SECONDS, lambda pod=pod: self.log(pod))  # type: ignore[misc]

    def stop(self, pods: Iterable[Pod] | None = None, *, graceful: bool = False) -> None:
        """End pods: at once, or with the rendered preStop hook and SIGTERM as a kubelet does."""
        for pod in list(self.pods if pods is None else pods):
            if pod.process is None:
                continue
            if graceful:
                self.run_hook(pod)
            pod.process.send_signal(signal.SIGTERM if graceful else signal.SIGKILL)
            pod.process.wait(_STOP_SECONDS)
            pod.process = None

    def move(self) -> None:
        """Give every pod a new address, as if its Service had been made anew; for pods that do not run."""
        self.block += 1
        for pod in self.pods:
            assert pod.process is None
            pod.address = self._address(self.block, pod.ordinal)

    def scale(self, manifests: list[Manifest]) -> list[Pod]:
        """Take over other manifests: pods that are not declared any more end and lose their volume, new ones start."""
        self.manifests = manifests
        wanted = int(self._stateful_set()["spec"]["replicas"])
        for pod in self.pods[wanted:]:
            self.stop([pod], graceful=True)
        del self.pods[wanted:]
        new = [self._add(ordinal) for ordinal in range(len(self.pods), wanted)]
        self.start(new)
        return new

    def run_hook(self, pod: Pod) -> None:
        """The rendered preStop hook."""
        command = self._server()["lifecycle"]["preStop"]["exec"]["command"]
        self._run(pod, command, timeout_seconds=_STOP_SECONDS)

    def ping_probe(self, pod: Pod) -> int:
        """Exit code of the rendered readiness probe."""
        command = self._server()["readinessProbe"]["exec"]["command"]
        return self._run(pod, command, timeout_seconds=20, check=False).returncode

    # -- talking to them -------------------------------------------------------------------------------------------

    def access(self, user: str = CACHE_USER) -> Access:
        """How to log in as a user."""
        context = client_context(self.folder / "certificates") if self.binaries.tls else None
        return Access(user=user, auth=self.passwords[user], tls=context)

    def connect(self, pod: Pod, user: str = CACHE_USER) -> Connection:
        """A connection to one pod."""
        return Connection(pod.address, self.port, self.access(user))

    def ask(self, pod: Pod, *arguments: str | int) -> str:
        """One command as the internal user."""
        with self.connect(pod) as connection:
            return connection.text(*arguments)

    def answers(self, pod: Pod) -> bool:
        """Whether a pod answers a PING."""
        try:
            return self.ask(pod, "PING") == "PONG"
        except (OSError, ServerError):
            return False

    def log(self, pod: Pod) -> str:
        """What a pod has written so far."""
        return f"{pod.name}: {(pod.folder / 'log').read_text(encoding='utf-8', errors='replace')[-3000:]}"

    # -- the reconciler --------------------------------------------------------------------------------------------

    def reconciler(self) -> subprocess.Popen[str]:
        """Start the rendered Job's container; its log is its standard output."""
        job = self._find("Job", f"{self.name}-reconciler")
        spec = job["spec"]["template"]["spec"]
        home = self.folder / f"reconciler-{secrets.token_hex(4)}"
        paths = self._mount(spec, spec["containers"][0], home)
        paths |= {str(Path(path).parent): folder.parent for path, folder in paths.items()}
        environment = {
            entry["name"]: self._on_this_host(entry["value"], paths, None) for entry in spec["containers"][0]["env"]
        }
        environment["CACHE_NODES"] = ",".join(f"{pod.address}:{self.port}" for pod in self.pods)
        if not self.binaries.tls:
            del environment["CACHE_CA_FILE"]
        command = [sys.executable, *spec["containers"][0]["command"][1:]]
        return subprocess.Popen(
            command, env=environment, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def reconcile(self, *, expected: int = 0, timeout_seconds: float = 120) -> str:
        """Run the reconciler to its end and return its log."""
        process = self.reconciler()
        try:
            output, _ = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += "\n(killed: it did not end in time)"
        assert process.returncode == expected, output
        return output

    # -- how a pod becomes a folder --------------------------------------------------------------------------------

    def _start(self, pod: Pod) -> None:
        spec, server = self._pod_spec(), self._server()
        paths = self._mount(spec, server, pod.folder, pod)
        with (pod.folder / "log").open("ab") as log:
            pod.process = subprocess.Popen(
                [self._on_this_host(word, paths, pod) for word in server["command"]],
                env=self._environment(pod), cwd=pod.folder, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _run(
        self, pod: Pod, command: list[str], *, timeout_seconds: float, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        paths = self._mount(self._pod_spec(), self._server(), pod.folder, pod)
        answer = subprocess.run(
            [self._on_this_host(word, paths, pod) for word in command],
            env=self._environment(pod), capture_output=True, text=True, timeout=timeout_seconds, check=False,
        )  # fmt: skip
        assert not check or answer.returncode == 0, answer.stderr
        return answer

    def _environment(self, pod: Pod) -> dict[str, str]:
        return {
            **self.binaries.environment,
            "POD_NAME": pod.name,
            "ANNOUNCE_HOST": pod.address,
            "ZONE": pod.zone,
            "OPENSSL_CONF": os.devnull,
        }

    def _mount(self, spec: Manifest, container: Manifest, home: Path, pod: Pod | None = None) -> dict[str, Path]:
        """Write a container's volumes below a folder; mount path → folder."""
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        paths = {path: home / path.strip("/") for path in mounts.values()}
        for name, path in mounts.items():
            paths[path].mkdir(parents=True, exist_ok=True)
            volume = volumes.get(name, {})
            if "configMap" in volume:
                data = self._find("ConfigMap", volume["configMap"]["name"])["data"]
                for file, content in data.items():
                    text = content if file.endswith(".py") else self._on_this_host(content, paths, pod)
                    (paths[path] / file).write_text(text, encoding="utf-8")
            for item in volume.get("secret", {}).get("items", []):
                source = self.folder / "certificates" / item["path"]
                (paths[path] / item["path"]).write_bytes(source.read_bytes())
            for source in volume.get("projected", {}).get("sources", []):
                user = source["secret"]["items"][0]["path"]
                (paths[path] / user).write_text(self.passwords[user], encoding="utf-8")
        return paths

    def _on_this_host(self, text: str, paths: Mapping[str, Path], pod: Pod | None) -> str:
        """Rendered text with this host's paths, ports and addresses."""
        for path in sorted(paths, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/]){re.escape(path)}(?=[/\s\"']|$)", str(paths[path]), text, flags=re.MULTILINE)
        if not self.binaries.tls:
            text = re.sub(
                rf"^tls-port {PORT}\n", f"port {PORT}\n", text.replace("\nport 0\n", "\n"), flags=re.MULTILINE
            )
            text = re.sub(r"^tls-.*\n", "", text, flags=re.MULTILINE).replace("announce-tls-port", "announce-port")
        text = re.sub(rf"\b{BUS_PORT}\b", str(self.port + _BUS_OFFSET), text)
        text = re.sub(rf"\b{PORT}\b", str(self.port), text)
        if pod is not None:
            text = text.replace("bind * -::*", f"bind {pod.address}").replace("ask localhost", f"ask {pod.address}")
        return text

    def _add(self, ordinal: int) -> Pod:
        pod = Pod(
            ordinal=ordinal,
            name=f"{self.name}-{ordinal}",
            zone=self.zones[ordinal % len(self.zones)],
            # A pod that was scaled away has lost its volume: another folder each time.
            folder=self.folder / f"{self.name}-{ordinal}-{secrets.token_hex(3)}",
            address=self._address(self.block, ordinal),
        )
        self.pods.append(pod)
        return pod

    def _address(self, block: int, ordinal: int) -> str:
        return f"127.{self.network // 256}.{self.network % 256 + block}.{ordinal + 1}"

    def _stateful_set(self) -> Manifest:
        return self._find("StatefulSet", self.name)

    def _pod_spec(self) -> Any:
        return self._stateful_set()["spec"]["template"]["spec"]

    def _server(self) -> Any:
        [server] = [container for container in self._pod_spec()["containers"] if container["name"] == "server"]
        return server

    def _find(self, kind: str, name: str) -> Manifest:
        """The object of this name, or of this name and a hash."""
        pattern = re.compile(rf"{re.escape(name)}(-[0-9a-f]{{8}})?")
        found = [m for m in self.manifests if m["kind"] == kind and pattern.fullmatch(m["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
        return found[0]


def wait_until(condition: Callable[[], bool], timeout_seconds: float, why: Callable[[], str] = lambda: "") -> float:
    """Wait for a condition and return the seconds it took; fail with ``why()`` when it does not come."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_seconds, f"not within {timeout_seconds} s; {why()}"
        time.sleep(0.05)
    return time.monotonic() - start


def _password_files(spec: Any) -> list[str]:
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "passwords"]
    return [source["secret"]["items"][0]["path"] for source in volume["projected"]["sources"]]
