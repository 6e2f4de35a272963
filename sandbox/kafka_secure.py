"""A cluster as Strimzi sets one up: clients enter over TLS with SCRAM, brokers know each other by certificate.

Nothing is allowed that no rule allows, and nobody is anonymous.
"""

from collections.abc import Mapping
from pathlib import Path

from confluent_kafka.admin import AdminClient

from sandbox.certificates import self_signed
from sandbox.files import PRIVATE_MODE, write_text
from sandbox.kafka import Cluster

CLIENTS, BROKERS = "CLIENTS", "BROKERS"
"""Listeners: SCRAM over TLS, and TLS with a certificate of the brokers' own."""
_NAME = "broker"


def secure_cluster(
    folder: Path, config: Mapping[str, str | int | bool], *, brokers: int = 3, controllers: int = 3
) -> Cluster:
    """Nodes that run with a Kafka object's ``spec.kafka.config``; ``kafka.start`` starts them.

    What Strimzi adds to that configuration is added here: listeners, certificates, the authoriser and its super user.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pair = self_signed(_NAME)
    write_text(_key(folder), pair.key + pair.certificate, mode=PRIVATE_MODE)
    write_text(authority_file(folder), pair.certificate)
    rendered = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in config.items()}
    return Cluster(
        folder=folder,
        brokers=brokers,
        controllers=controllers,
        listeners={BROKERS: "SSL", CLIENTS: "SASL_SSL"},
        properties={
            **rendered,
            "listener.security.protocol.map": f"{BROKERS}:SSL,{CLIENTS}:SASL_SSL,CONTROLLER:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(_key(folder)),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority_file(folder)),
            f"listener.name.{BROKERS.lower()}.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"listener.name.{CLIENTS.lower()}.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:CN={_NAME}",
        },
    )


def authority_file(folder: Path) -> Path:
    """The certificate that clients of a secure cluster trust."""
    return folder / "authority.crt"


def admin_properties(cluster: Cluster) -> dict[str, str | int | float | bool]:
    """How a client of ``confluent_kafka`` enters with the brokers' own identity, which may do everything."""
    return {
        "bootstrap.servers": cluster.bootstrap_servers(BROKERS),
        "security.protocol": "SSL",
        "ssl.ca.location": str(authority_file(cluster.folder)),
        "ssl.certificate.location": str(_key(cluster.folder)),
        "ssl.key.location": str(_key(cluster.folder)),
    }


def tool_properties(cluster: Cluster) -> dict[str, str]:
    """The same identity for Kafka's own tools, in Java's names."""
    return {
        "security.protocol": "SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(_key(cluster.folder)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority_file(cluster.folder)),
    }


def admin(cluster: Cluster) -> AdminClient:
    """The brokers' own identity."""
    return AdminClient(admin_properties(cluster))


def _key(folder: Path) -> Path:
    return folder / "broker.pem"
