"""Quotas of users, as Strimzi sets them: the client library has no request for them, Kafka's own tool has."""

import subprocess
from collections.abc import Mapping, Sequence

from sandbox.errors import SandboxError
from sandbox.files import PRIVATE_MODE, write_text
from sandbox.kafka import Cluster
from sandbox.kafka_jars import ensure_jars, find_java
from sandbox.kafka_secure import BROKERS, tool_properties
from sandbox.progress import Progress

_TIMEOUT_SECONDS = 120
_SMALL_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m")
_NAMES = {
    "producerByteRate": "producer_byte_rate",
    "consumerByteRate": "consumer_byte_rate",
    "requestPercentage": "request_percentage",
}
"""Strimzi's spelling → Kafka's, of KafkaUser ``spec.quotas`` and of Kafka ``spec.kafka.quotas`` with type ``kafka``."""


def set_quotas(cluster: Cluster, user: str | None, quotas: Mapping[str, float], report: Progress) -> None:
    """Give a user, or with ``None`` each that has none, its rendered quotas on every broker of a secure cluster.

    Raises ``SandboxError`` where Kafka refuses them and ``KeyError`` for one that it does not know.
    """
    rates = ",".join(f"{_NAMES[name]}={value}" for name, value in quotas.items() if name != "type")
    _alter(cluster, user, ["--add-config", rates], report)


def remove_quotas(cluster: Cluster, user: str | None, report: Progress) -> None:
    """Take them away."""
    _alter(cluster, user, ["--delete-config", ",".join(_NAMES.values())], report)


def _alter(cluster: Cluster, user: str | None, change: Sequence[str], report: Progress) -> None:
    settings = cluster.folder / "tool.properties"
    text = "".join(f"{key}={value}\n" for key, value in tool_properties(cluster).items())
    write_text(settings, text, mode=PRIVATE_MODE)
    whom = ["--entity-default"] if user is None else ["--entity-name", user]
    answer = subprocess.run(
        [
            str(find_java()),
            *_SMALL_JVM,
            *("-cp", f"{ensure_jars(report)}/*", "kafka.admin.ConfigCommand", "--alter"),
            *("--bootstrap-server", cluster.bootstrap_servers(BROKERS), "--command-config", str(settings)),
            *("--entity-type", "users", *whom, *change),
        ],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(
            f"Kafka refuses the quotas of {user or 'all users'}: {(answer.stderr or answer.stdout).strip()}",
            next_step="look at spec.quotas",
        )
