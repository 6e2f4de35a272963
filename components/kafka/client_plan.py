"""How a Deployment's pods sign in to Kafka: the user's name, and files with its password and the brokers' CA."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.base.workload import SecretFile
from components.kafka.users_plan import password_secret
from settings.kafka import Kafka

AUTHORITY_KEY = "ca.crt"


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaCredentials:
    """What one Deployment's containers get beside ``KAFKA_BROKERS``."""

    environment: Mapping[str, str]
    files: tuple[SecretFile, ...]


def client_credentials(kafka: Kafka | None) -> dict[str, KafkaCredentials]:
    """Name of a Deployment → its credentials; those that only watch the lag are no Deployment of ours.

    Variables: ``KAFKA_USERNAME``, ``KAFKA_PASSWORD_FILE``, ``KAFKA_CA_FILE``.
    """
    if kafka is None:
        return {}
    found = {}
    for name, user in kafka.users.items():
        if user.watches_lag:
            continue
        secret, key = password_secret(name, user)
        files = (
            SecretFile(variable="KAFKA_PASSWORD", secret=secret, key=key),
            SecretFile(variable="KAFKA_CA", secret=kafka.authority, key=AUTHORITY_KEY),
        )
        found[name] = KafkaCredentials(environment={"KAFKA_USERNAME": name}, files=files)
    return found
