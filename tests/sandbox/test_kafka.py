"""Three real brokers: replicated writes survive the loss of one, everything listens on loopback, data is kept."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # missing in its stubs only

from sandbox import daemons, kafka, tools
from sandbox.kafka import Cluster
from sandbox.ports import LOOPBACK

_TIMEOUT_SECONDS = 60
_TOPIC = "three"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(folder=tmp_path.resolve(), brokers=3)
    yield made
    kafka.stop(made)


def _write(cluster: Cluster) -> list[str]:
    """One message that every in-sync replica has taken; what went wrong otherwise."""
    said: list[str] = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers(), "acks": "all"})
    producer.produce(_TOPIC, b"x", on_delivery=lambda error, _: said.append(str(error)) if error else None)
    left = producer.flush(_TIMEOUT_SECONDS)
    return said if left == 0 else [f"{left} not delivered"]


def _admin(cluster: Cluster) -> AdminClient:
    return AdminClient({"bootstrap.servers": cluster.bootstrap_servers()})


def _pids(cluster: Cluster) -> list[int]:
    found = [daemons.find(f"kafka-{broker}", cluster.layout) for broker in cluster.ids]
    return [process.pid for process in found if process is not None]


def test_three_brokers_lose_one_keep_writing_and_come_back_with_their_data(cluster: Cluster) -> None:
    report = tools.progress()
    assert kafka.start(cluster, report) == [1, 2, 3]
    assert kafka.start(cluster, report) == []
    pids = _pids(cluster)
    listening = {
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {LOOPBACK}
    admin = _admin(cluster)
    made = admin.create_topics([NewTopic(_TOPIC, num_partitions=6, replication_factor=3)])
    made[_TOPIC].result(timeout=_TIMEOUT_SECONDS)
    assert _write(cluster) == []
    assert kafka.stop(cluster, only=[2]) == [2]
    assert _write(cluster) == []
    before = cluster.bootstrap_servers()
    assert kafka.start(cluster, report, only=[2]) == [2]
    assert cluster.bootstrap_servers() == before
    assert kafka.stop(cluster) == [1, 2, 3]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    kafka.start(cluster, report)
    again = _admin(cluster)
    assert len(again.list_topics(timeout=_TIMEOUT_SECONDS).topics[_TOPIC].partitions) == 6
