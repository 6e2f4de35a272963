"""A real Kafka cluster in KRaft mode on loopback: one broker, or three, with controllers of their own or being them.

For tests of what reads or writes Kafka. The brokers' settings can be overridden by a rendered ``server.properties``.
"""

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sandbox import daemons
from sandbox.daemons import Daemon
from sandbox.files import PRIVATE_MODE, read_json, write_json, write_text
from sandbox.kafka_format import format_storage
from sandbox.kafka_jars import ensure_jars, find_java
from sandbox.layout import Layout
from sandbox.ports import LOOPBACK, keep_ports
from sandbox.progress import Progress

# Measured with 24 partitions and 1,000 messages of 100 bytes: it starts with 48 MB and is steady with 96.
HEAP_MEGABYTES = 96
_REPLICATION_FACTOR = 3
_START_TIMEOUT_SECONDS = 180
# One line of its own is how a broker says that it serves; everything else below a warning is left out.
_READY_LOGGER, _READY_WORDS = "kafka.server.KafkaRaftServer", "Kafka Server started"
_CONTROLLER = "CONTROLLER"
_MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Brokers 1 … n, then the controllers, in one folder; nothing runs before ``start``."""

    folder: Path
    brokers: int = 1
    controllers: int = 0
    """Nodes that are controllers only, as in production; without any, each broker is a controller too."""
    listeners: Mapping[str, str] = field(default_factory=lambda: {"PLAINTEXT": "PLAINTEXT"})
    """Listener name → security protocol. Brokers speak to each other over the first."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Settings of every broker, over the sandbox's own."""

    @property
    def layout(self) -> Layout:
        """Where processes, ports and logs of the brokers are kept."""
        return Layout(self.folder)

    def bootstrap_servers(self, listener: str | None = None) -> str:
        """``127.0.0.1:port`` of every broker, comma-separated, of the first listener unless one is named.

        Known once ``start`` has been called.
        """
        ports = read_json(self.layout.ports) or {}
        chosen = listener or next(iter(self.listeners))
        return ",".join(f"{LOOPBACK}:{ports[_port(broker, chosen)]}" for broker in range(1, self.brokers + 1))

    @property
    def ids(self) -> Sequence[int]:
        """Node ids."""
        return range(1, self.brokers + self.controllers + 1)

    @property
    def voters(self) -> Sequence[int]:
        """Ids of the nodes that are controllers."""
        return range(self.brokers + 1, self.brokers + self.controllers + 1) if self.controllers else self.ids

    def listeners_of(self, node: int) -> Sequence[str]:
        """Names of what a node listens on."""
        own = tuple(self.listeners) if node <= self.brokers else ()
        return (*own, _CONTROLLER) if node in self.voters else own

    def log(self, broker: int) -> Path:
        """What a broker says: warnings, errors, and that it has started."""
        return self.layout.log(_name(broker))


def start(cluster: Cluster, report: Progress, *, only: Sequence[int] = ()) -> list[int]:
    """Start the brokers that do not run (or of those in ``only``), on the ports and the data that they had before.

    Returns the ids of those that had to be started. Raises ``SandboxError`` with a broker's log when it does not
    come up.
    """
    java, jars = find_java(), ensure_jars(report)
    cluster.folder.mkdir(parents=True, exist_ok=True)
    owners = [(_port(node, name), _name(node)) for node in cluster.ids for name in cluster.listeners_of(node)]
    ports = keep_ports(cluster.layout, owners, lambda name: daemons.find(name, cluster.layout) is not None)
    chosen = list(only) or list(cluster.ids)
    plans = {broker: _plan(cluster, broker, ports, java, jars) for broker in chosen}
    # A controller quorum answers only once most of it runs: they are started together and awaited afterwards.
    idle = [broker for broker in chosen if daemons.find(_name(broker), cluster.layout) is None]
    for broker in idle:
        daemons.launch(plans[broker], cluster.layout)
    for broker in chosen:
        daemons.wait_until_healthy(plans[broker], cluster.layout)
    return idle


def stop(cluster: Cluster, *, only: Sequence[int] = ()) -> list[int]:
    """End brokers by their own pids, cleanly where they allow it; returns those that ran. Data is kept."""
    found = {node: daemons.find(_name(node), cluster.layout) for node in only or cluster.ids}
    running = {node: process for node, process in found.items() if process is not None}
    # Brokers ask the controllers for leave, so they go first; each kind all at once: the last of a quorum that is gone
    # would wait for the others.
    brokers = [node for node in found if node <= cluster.brokers]
    for nodes in (brokers, [node for node in found if node > cluster.brokers]):
        for node in nodes:
            if node in running:
                with suppress(psutil.NoSuchProcess):
                    running[node].terminate()
        for node in nodes:
            daemons.stop(_name(node), cluster.layout)
    return list(running)


def rack(broker: int) -> str:
    """A broker's zone, each has one of its own; a consumer with this ``client.rack`` stands beside it."""
    return f"zone-{broker}"


def plan_properties(cluster: Cluster, broker: int, ports: Mapping[str, int]) -> dict[str, str]:
    """One node's ``server.properties``: loopback, small, replicated as far as there are brokers."""
    replicas = str(min(cluster.brokers, _REPLICATION_FACTOR))
    in_sync = str(min(cluster.brokers, _REPLICATION_FACTOR - 1))
    addresses = {name: f"{name}://{LOOPBACK}:{ports[_port(broker, name)]}" for name in cluster.listeners_of(broker)}
    advertised = [address for name, address in addresses.items() if name != _CONTROLLER]
    roles = [role for role, is_one in _roles(cluster, broker).items() if is_one]
    voters = [f"{node}@{LOOPBACK}:{ports[_port(node, _CONTROLLER)]}" for node in cluster.voters]
    protocols = {**cluster.listeners, _CONTROLLER: "PLAINTEXT"}
    return {
        "node.id": str(broker),
        "process.roles": ",".join(roles),
        "controller.quorum.voters": ",".join(voters),
        "controller.listener.names": _CONTROLLER,
        "listeners": ",".join(addresses.values()),
        **({"advertised.listeners": ",".join(advertised), "broker.rack": rack(broker)} if advertised else {}),
        "inter.broker.listener.name": next(iter(cluster.listeners)),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "log.dirs": str(_data(cluster, broker)),
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # What costs memory, files or waiting, and says nothing about the behaviour under test.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "num.network.threads": "2",
        "num.io.threads": "2",
        "log.cleaner.dedupe.buffer.size": str(4 * _MEBIBYTE),
        "log.index.size.max.bytes": str(_MEBIBYTE),
        "controlled.shutdown.max.retries": "1",
        **cluster.properties,
    }


def _roles(cluster: Cluster, node: int) -> dict[str, bool]:
    return {"broker": node <= cluster.brokers, "controller": node in cluster.voters}


def _plan(cluster: Cluster, broker: int, ports: Mapping[str, int], java: Path, jars: Path) -> Daemon:
    settings = cluster.folder / f"{_name(broker)}.properties"
    log = cluster.log(broker)

    def prepare() -> None:
        text = "".join(f"{key}={value}\n" for key, value in plan_properties(cluster, broker, ports).items())
        write_text(settings, text, mode=PRIVATE_MODE)  # a rendered listener may carry passwords
        format_storage(settings, java=java, jars=jars, cluster_id=_cluster_id(cluster), data=_data(cluster, broker))

    return Daemon(
        name=_name(broker),
        command=[
            str(java),
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", f"-Xmx{HEAP_MEGABYTES}m"),
            "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            f"-Dorg.slf4j.simpleLogger.log.{_READY_LOGGER}=info",
            *("-cp", f"{jars}/*", "kafka.Kafka", str(settings)),
        ],
        healthy=lambda: log.exists() and _READY_WORDS in log.read_text(encoding="utf-8", errors="replace"),
        before_start=prepare,
        timeout_seconds=_START_TIMEOUT_SECONDS,
    )


def _new_cluster_id() -> str:
    """As Kafka writes a UUID, and like its own never with a dash in front: its command takes that for an option."""
    while True:
        made = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not made.startswith("-"):
            return made


def _cluster_id(cluster: Cluster) -> str:
    """Chosen once per folder; a broker refuses data of another cluster."""
    path = cluster.folder / "cluster.json"
    known = read_json(path)
    if known is None:
        known = {"id": _new_cluster_id()}
        write_json(path, known)
    return str(known["id"])


def _data(cluster: Cluster, broker: int) -> Path:
    return cluster.folder / f"data-{broker}"


def _name(broker: int) -> str:
    return f"kafka-{broker}"


def _port(broker: int, listener: str) -> str:
    return f"kafka-{broker}-{listener.lower()}"
