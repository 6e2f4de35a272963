"""The stage of the KEDA tests: a control plane, KEDA, a Kafka broker with TLS and SCRAM, and a small Prometheus.

What runs on it is what the program renders for prod; only addresses are those of the stage.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs do not re-export what its docs name
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from sandbox import controlplane, crds, kafka, keda, tools
from sandbox.certificates import self_signed
from sandbox.kafka import Cluster
from sandbox.layout import Layout
from sandbox.ports import LOOPBACK
from tests.sandbox.kubectl import Kubectl
from tests.unit.stacks import REMOVED, Changes, of_kind, settings_of

NAMESPACE = "payments"
_DEADLINE_SECONDS = 90
_POLL_SECONDS = 0.2
_KAFKA_TIMEOUT_SECONDS = 60
_MESSAGE = b"x" * 100
_TLS = "SASL_SSL"
_USER = "keda"
Manifest = dict[str, Any]


def wait_until(condition: Callable[[], bool], what: Callable[[], str], *, seconds: float = _DEADLINE_SECONDS) -> None:
    """Poll until true; fail with what there is instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s: {what()}"
        time.sleep(_POLL_SECONDS)


class Prometheus:
    """The one endpoint that KEDA asks: a number for a query that contains a text, or an error."""

    def __init__(self) -> None:
        self.values: dict[str, float | None] = {}
        """Part of a query → its value; ``None`` answers with an error, as an overloaded Prometheus does."""
        self.default = 0.0
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator["Prometheus"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, query: str) -> float | None:
        return next((value for part, value in self.values.items() if part in query), self.default)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                value = answer(parse_qs(urlsplit(self.path).query).get("query", [""])[0])
                found = [{"metric": {}, "value": [time.time(), str(value)]}]
                good = {"status": "success", "data": {"resultType": "vector", "result": found}}
                body = json.dumps({"status": "error", "error": "down"} if value is None else good).encode()
                self.send_response(503 if value is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
                """KEDA asks once a second."""

        return Handler


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One Kafka broker; tests write over its plain listener, KEDA reads over the one with TLS and SCRAM."""

    cluster: Cluster
    password: str = field(repr=False)
    certificate: str = field(repr=False)

    def start(self) -> None:
        kafka.start(self.cluster, tools.progress())

    def stop(self) -> None:
        assert kafka.stop(self.cluster) == [1]

    def add_topic(self, name: str, partitions: int) -> None:
        admin = self._admin()
        made = admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
        made[name].result(timeout=_KAFKA_TIMEOUT_SECONDS)

    def remove_topic(self, name: str) -> None:
        admin = self._admin()
        admin.delete_topics([name])[name].result(timeout=_KAFKA_TIMEOUT_SECONDS)

    def add_user(self) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192)
        user = UserScramCredentialUpsertion(_USER, info, self.password.encode())
        admin = self._admin()  # it lives until its answers have come
        for done in admin.alter_user_scram_credentials([user]).values():
            done.result(timeout=_KAFKA_TIMEOUT_SECONDS)

    def produce(self, topic: str, partitions: int, messages: int) -> None:
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap_servers(), "linger.ms": 20})
        for number in range(messages):
            producer.produce(topic, _MESSAGE, partition=number % partitions)
        assert producer.flush(_KAFKA_TIMEOUT_SECONDS) == 0

    def commit(self, group: str, topic: str, partitions: int, *, lag: int) -> None:
        """What consumers of the group do when they have worked all but ``lag`` messages off."""
        settings = {"bootstrap.servers": self.cluster.bootstrap_servers(), "group.id": group}
        consumer = Consumer({**settings, "enable.auto.commit": False})
        try:
            offsets = []
            for partition in range(partitions):
                place = TopicPartition(topic, partition)
                _, end = consumer.get_watermark_offsets(place, timeout=_KAFKA_TIMEOUT_SECONDS)
                behind = lag // partitions + (1 if partition < lag % partitions else 0)
                assert end >= behind, "more lag than messages"
                offsets.append(TopicPartition(topic, partition, end - behind))
            for done in consumer.commit(offsets=offsets, asynchronous=False):
                assert done.error is None
        finally:
            consumer.close()

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.cluster.bootstrap_servers()})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything together."""

    kubectl: Kubectl
    layout: Layout
    broker: Broker
    prometheus: Prometheus

    @property
    def changes(self) -> Changes:
        """Where this stage's Kafka and Prometheus are, as prod's settings say it; Kafka is somebody else's here."""
        path = "autoscaling/keda"
        return {
            "kafka": REMOVED,
            f"{path}/kafka/bootstrap_servers": self.broker.cluster.bootstrap_servers(_TLS),
            f"{path}/prometheus_address": self.prometheus.address,
        }

    def rendered(self, kind: str) -> Mapping[str, Manifest]:
        return of_kind("prod", kind, self.changes)

    def scaled_object(self, name: str) -> Manifest:
        found: Manifest = self.kubectl.get("scaledobject", name, "--namespace", NAMESPACE)
        return found

    def condition(self, name: str, kind: str) -> str:
        found = self.scaled_object(name).get("status", {}).get("conditions", [])
        return next((each["status"] for each in found if each["type"] == kind), "absent")

    def hpa(self, name: str) -> Manifest:
        found: Manifest = self.kubectl.get("hpa", f"{name}-hpa", "--namespace", NAMESPACE)
        return found

    def replicas(self, name: str) -> int:
        return int(self.kubectl.get("deployment", name, "--namespace", NAMESPACE)["spec"]["replicas"])


@contextmanager
def raised(folder: Path) -> Iterator[Stage]:
    """Start everything, and stop it again by its own pids."""
    report = tools.progress()
    found = tools.ensure((*tools.CONTROL_PLANE, *tools.KEDA), report)
    layout = Layout(folder / "sandbox")
    broker = _broker(folder / "kafka")
    try:
        broker.start()
        broker.add_user()
        controlplane.start(layout, found, report)
        crds.install(layout, found["kubectl"], report, ["keda"])
        keda.start(layout, found)
        kubectl = Kubectl(binary=found["kubectl"], kubeconfig=layout.kubeconfig)
        with Prometheus().serving() as prometheus:
            stage = Stage(kubectl=kubectl, layout=layout, broker=broker, prometheus=prometheus)
            _furnish(stage)
            yield stage
    finally:
        keda.stop(layout)
        controlplane.stop(layout)
        kafka.stop(broker.cluster)


def _broker(folder: Path) -> Broker:
    pair = self_signed("kafka")
    folder.mkdir()
    store = folder / "kafka.pem"
    store.touch(mode=0o600)
    store.write_text(pair.key + pair.certificate, encoding="utf-8")
    listener = f"listener.name.{_TLS.lower()}"
    properties = {
        f"{listener}.ssl.keystore.type": "PEM",
        f"{listener}.ssl.keystore.location": str(store),
        f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{listener}.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    cluster = Cluster(folder=folder, listeners={"PLAINTEXT": "PLAINTEXT", _TLS: _TLS}, properties=properties)
    return Broker(cluster=cluster, password=secrets.token_urlsafe(24), certificate=pair.certificate)


def _furnish(stage: Stage) -> None:
    """Topics, the namespace with its workloads, and the Secret that the TriggerAuthentication names."""
    for name, topic in settings_of("prod").topics.items():
        stage.broker.add_topic(name, topic.partitions)
    (secret_name,) = {
        reference["name"]
        for authentication in stage.rendered("TriggerAuthentication").values()
        for reference in authentication["spec"]["secretTargetRef"]
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name, "namespace": NAMESPACE},
        "stringData": {"username": _USER, "password": stage.broker.password, "ca": stage.broker.certificate},
    }
    # KEDA reads what a workload's containers take from ConfigMaps and refuses a target whose ConfigMap is missing.
    kinds = ("ServiceAccount", "ConfigMap", "Deployment", "TriggerAuthentication")
    objects = [each for kind in kinds for each in stage.rendered(kind).values()]
    stage.kubectl.apply([*stage.rendered("Namespace").values(), secret, *objects])
