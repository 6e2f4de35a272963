"""A Kafka cluster's settings and its jars, without a broker."""

import hashlib
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest

from sandbox import kafka, kafka_jars
from sandbox.errors import SandboxError
from sandbox.kafka import Cluster
from sandbox.progress import Progress
from tests.unit.sandbox.fakes import executable

_TLS = {"INTERNAL": "PLAINTEXT", "CLIENTS": "SASL_SSL"}


def _properties(cluster: Cluster, broker: int = 1) -> dict[str, str]:
    names = [f"kafka-{node}-{name.lower()}" for node in cluster.ids for name in cluster.listeners_of(node)]
    ports: Mapping[str, int] = {name: 20000 + number for number, name in enumerate(names)}
    return kafka.plan_properties(cluster, broker, ports)


def test_every_address_is_loopback_and_no_port_is_used_twice(tmp_path: Path) -> None:
    cluster = Cluster(folder=tmp_path, brokers=3, listeners=_TLS)
    listening = [_properties(cluster, broker)["listeners"] for broker in cluster.ids]
    found = re.findall(r"\w+://([^:,]+):(\d+)", ",".join(listening))
    assert {address for address, _ in found} == {"127.0.0.1"}
    assert len({port for _, port in found}) == len(found) == 9


def test_every_broker_names_the_same_voters(tmp_path: Path) -> None:
    cluster = Cluster(folder=tmp_path, brokers=3)
    (voters,) = {_properties(cluster, broker)["controller.quorum.voters"] for broker in cluster.ids}
    assert [voter.split("@")[0] for voter in voters.split(",")] == ["1", "2", "3"]


def test_controllers_of_their_own_take_no_clients_and_brokers_do_not_vote(tmp_path: Path) -> None:
    cluster = Cluster(folder=tmp_path, brokers=3, controllers=3, listeners=_TLS)
    found = {node: _properties(cluster, node) for node in cluster.ids}
    assert [found[node]["process.roles"] for node in cluster.ids] == ["broker"] * 3 + ["controller"] * 3
    assert all("CONTROLLER://" not in found[node]["listeners"] for node in (1, 2, 3))
    for node in (4, 5, 6):
        assert re.fullmatch(r"CONTROLLER://[^,]+", found[node]["listeners"])
        assert "advertised.listeners" not in found[node]
    assert [found[node].get("broker.rack") for node in cluster.ids] == ["zone-1", "zone-2", "zone-3", None, None, None]
    (voters,) = {properties["controller.quorum.voters"] for properties in found.values()}
    assert [voter.split("@")[0] for voter in voters.split(",")] == ["4", "5", "6"]
    assert {properties["default.replication.factor"] for properties in found.values()} == {"3"}


def test_the_controllers_listener_is_not_advertised_and_each_listener_has_its_protocol(tmp_path: Path) -> None:
    found = _properties(Cluster(folder=tmp_path, listeners=_TLS))
    assert "CONTROLLER" not in found["advertised.listeners"]
    assert found["listener.security.protocol.map"] == "INTERNAL:PLAINTEXT,CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT"
    assert found["inter.broker.listener.name"] == "INTERNAL"


@pytest.mark.parametrize(
    ("brokers", "replicas", "in_sync"), [(1, "1", "1"), (2, "2", "2"), (3, "3", "2"), (5, "3", "2")]
)
def test_replication_follows_the_number_of_brokers(tmp_path: Path, brokers: int, replicas: str, in_sync: str) -> None:
    found = _properties(Cluster(folder=tmp_path, brokers=brokers))
    assert (found["default.replication.factor"], found["min.insync.replicas"]) == (replicas, in_sync)
    assert found["offsets.topic.replication.factor"] == replicas


def test_given_properties_win(tmp_path: Path) -> None:
    given = {"min.insync.replicas": "1", "unclean.leader.election.enable": "false"}
    found = _properties(Cluster(folder=tmp_path, brokers=3, properties=given))
    assert found | given == found


def test_the_pins_name_the_broker_of_the_pom() -> None:
    sums = (kafka_jars.PINS / "sha256sums.txt").read_text(encoding="utf-8")
    assert f"  kafka_2.13-{kafka_jars.version()}.jar\n" in sums
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line) for line in sums.splitlines())


def test_jars_are_compared_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    (tmp_path / "b.jar").write_bytes(b"b")
    good = {"a.jar": hashlib.sha256(b"a").hexdigest(), "b.jar": hashlib.sha256(b"b").hexdigest()}
    kafka_jars.compare(tmp_path, good)
    with pytest.raises(SandboxError, match=r"a\.jar \(sha256 ca978112ca1b…, pinned is 000000000000…\)"):
        kafka_jars.compare(tmp_path, good | {"a.jar": "0" * 64})
    with pytest.raises(SandboxError, match=r"b\.jar \(not pinned\), c\.jar \(missing\)"):
        kafka_jars.compare(tmp_path, {"a.jar": good["a.jar"], "c.jar": "0" * 64})


def test_other_jars_than_the_pinned_ones_never_reach_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = (
        '#!/bin/sh\nfor a; do case "$a" in -DoutputDirectory=*) echo x > "${a#*=}/kafka_2.13-4.3.1.jar" ;; esac; done\n'
    )
    executable(tmp_path / "bin" / "mvn", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    with pytest.raises(SandboxError, match="the jars of Kafka are not the pinned ones"):
        kafka_jars.ensure_jars(Progress(tty=False))
    assert [path.name for path in (tmp_path / "payments-platform" / "tools").iterdir()] == ["kafka.lock"]


def test_no_maven_and_no_java_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SandboxError, match="fetching Kafka needs Maven") as failure:
        kafka_jars.resolve(tmp_path)
    assert "apt-get install maven" in str(failure.value)
    with pytest.raises(SandboxError, match="running Kafka needs Java"):
        kafka_jars.find_java()


def test_an_old_java_is_named_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "bin" / "java", "#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SandboxError, match="too old to run Kafka: its version is 11"):
        kafka_jars.find_java()


def test_no_cluster_id_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 64 began with a dash, and ``kafka-storage format`` refused it."""
    drawn = iter((UUID(bytes=b"\xf8" + bytes(15)), UUID(bytes=b"\x04" + bytes(15))))
    monkeypatch.setattr("sandbox.kafka.uuid.uuid4", lambda: next(drawn))
    assert urlsafe_b64encode(b"\xf8" + bytes(15)).startswith(b"-")
    assert kafka._new_cluster_id() == "BAAAAAAAAAAAAAAAAAAAAA"
