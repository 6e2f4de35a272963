"""How a Deployment's pods sign in to Kafka: the user's name, and files with its password and the brokers' CA."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.base.workload import SecretFile
from components.kafka.users_plan import password_secret
from settings.kafka import Kafka
from settings.kafka_names import BOOTSTRAP_VARIABLE, bootstrap_servers, plan_all_users
from settings.services import Service

AUTHORITY_KEY = "ca.crt"


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaCredentials:
    """What one Deployment's containers get."""

    environment: Mapping[str, str]
    files: tuple[SecretFile, ...]


def client_credentials(
    kafka: Kafka | None, services: Mapping[str, Service], namespace: str
) -> dict[str, KafkaCredentials]:
    """Name of a Deployment → its credentials; those that only watch the lag are no Deployment of ours.

    ``namespace`` is that of Kafka. Variables: ``KAFKA_BROKERS``, ``KAFKA_USERNAME``,
    ``KAFKA_PASSWORD_FILE``, ``KAFKA_CA_FILE``.
    """
    if kafka is None:
        return {}
    found = {}
    for name, user in plan_all_users(kafka, services).items():
        if not user.is_workload:
            continue
        secret, key = password_secret(user)
        files = (
            SecretFile(variable="KAFKA_PASSWORD", secret=secret, key=key),
            SecretFile(variable="KAFKA_CA", secret=kafka.authority, key=AUTHORITY_KEY),
        )
        found[name] = KafkaCredentials(
            environment={BOOTSTRAP_VARIABLE: bootstrap_servers(namespace), "KAFKA_USERNAME": name}, files=files
        )
    return found
