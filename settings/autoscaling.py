"""Which scaler a stack uses, and where its metrics come from."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.problems import RuleError


class ScalerKind(StrEnum):
    """What carries out a scaling policy."""

    HPA = "hpa"
    """An ``autoscaling/v2`` HorizontalPodAutoscaler; external metrics come from whatever adapter the cluster has."""
    KEDA = "keda"
    """A ``ScaledObject``; KEDA reads Kafka and Prometheus and writes the HorizontalPodAutoscaler."""


class KafkaAuthentication(StrEnum):
    """How the scaler presents itself to the brokers."""

    NONE = "none"
    SCRAM_SHA_512 = "scram-sha-512"


class KafkaSource(Strict):
    """Where KEDA reads the lag."""

    bootstrap_servers: Annotated[str, Field(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "4.0.0"
    """Protocol version. KEDA's own default, 1.0.0, was removed from Kafka 4 (KIP-896)."""
    authentication: KafkaAuthentication = KafkaAuthentication.SCRAM_SHA_512
    existing_secret: DnsLabel | None = None
    """Secret in the services' namespace with the keys ``username``, ``password`` and ``ca``."""

    @model_validator(mode="after")
    def _credentials_where_needed(self) -> Self:
        if (self.authentication is KafkaAuthentication.NONE) != (self.existing_secret is None):
            raise RuleError(
                why=f"authentication {self.authentication} and existing_secret do not belong together",
                fix="name the Secret for scram-sha-512, and none for none",
            )
        return self


class Keda(Strict):
    """What KEDA needs to know of the cluster."""

    kafka: KafkaSource
    prometheus_address: Annotated[str, Field(pattern=r"^https?://\S+$")]
    polling_interval_seconds: Annotated[int, Field(ge=5, le=300)] = 15
    """How often KEDA reads every value by itself, for its conditions; the autoscaler asks every 15 s anyway."""
    failure_threshold: Annotated[int, Field(ge=1, le=20)] = 3
    """Failed readings in a row before the fallback: what there is is kept, or the minimum if that is more."""


class Autoscaling(Strict):
    """One scaler for all workloads of a stack."""

    scaler: ScalerKind = ScalerKind.HPA
    keda: Keda | None = None

    @model_validator(mode="after")
    def _keda_is_described(self) -> Self:
        if self.scaler is ScalerKind.KEDA and self.keda is None:
            raise RuleError(why="scaler is keda, and nothing says where KEDA reads", fix="add the section keda")
        if self.scaler is not ScalerKind.KEDA and self.keda is not None:
            why = f"keda is described, but scaler is {self.scaler}"
            raise RuleError(why=why, fix="set scaler to keda, or remove the section")
        return self
