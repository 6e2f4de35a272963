"""The policy as a KEDA ``ScaledObject``; KEDA writes the HorizontalPodAutoscaler.

KEDA 2.20 as its source has it: a trigger's metadata are strings; an empty Prometheus answer counts as zero unless
``ignoreNullValues`` is false; the Kafka protocol defaults to a version that Kafka 4 no longer speaks. No trigger uses
``useCachedMetrics``: a cached fallback value reads as a success, which ends the fallback again at the next question.
"""

from collections.abc import Mapping
from typing import Any

from components.autoscaling.hpa import hpa_name, plan_behavior
from components.autoscaling.policy import DeadBand, KafkaLag, ScalingPolicy, Trigger
from components.base.labels import selector
from components.base.manifests import Manifest, metadata
from settings.autoscaling import KafkaAuthentication, KafkaSource, Keda

API_VERSION = "keda.sh/v1alpha1"
TRIGGER_AUTHENTICATION = "kafka-scaler"
# The number of pods, from the operator's own informer: a scraped count lags and makes the band oscillate.
PODS_TRIGGER = "r"


def plan_scaled_object(policy: ScalingPolicy, keda: Keda, *, namespace: str, labels: Mapping[str, str]) -> Manifest:
    """The ScaledObject of one Deployment, named like it; its autoscaler is ``<workload>-hpa``."""
    advanced: dict[str, Any] = {
        # Deleting the scaler must not send the Deployment back to its first size in the middle of a day.
        "restoreToOriginalReplicaCount": False,
        "horizontalPodAutoscalerConfig": {
            "name": hpa_name(policy.workload),
            # No tolerances: the band is in the formula, which the default tolerance of 0.1 only widens upwards.
            "behavior": plan_behavior(policy, None),
        },
    }
    if policy.band is not None:
        advanced["scalingModifiers"] = _modifiers(policy.band)
    return {
        "apiVersion": API_VERSION,
        "kind": "ScaledObject",
        "metadata": metadata(policy.workload, labels=labels, namespace=namespace),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": policy.workload},
            "minReplicaCount": policy.min_replicas,
            "maxReplicaCount": policy.max_replicas,
            "pollingInterval": keda.polling_interval_seconds,
            "fallback": {
                "failureThreshold": keda.failure_threshold,
                "replicas": policy.min_replicas,
                # With a formula every other behaviour ignores all triggers as soon as one fails: without Prometheus a
                # group would keep its size however its lag grew. The formula itself holds for the one that fails.
                "behavior": "currentReplicasIfHigher" if policy.band is None else "scalingModifiers",
            },
            "advanced": advanced,
            "triggers": _triggers(policy, keda),
        },
    }


def plan_trigger_authentication(kafka: KafkaSource, *, namespace: str, labels: Mapping[str, str]) -> Manifest | None:
    """How KEDA signs in to Kafka, by reference to a Secret; ``None`` where the brokers ask for nothing."""
    if kafka.existing_secret is None:
        return None
    references = [
        {"parameter": parameter, "name": kafka.existing_secret, "key": parameter}
        for parameter in ("username", "password", "ca")
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "TriggerAuthentication",
        "metadata": metadata(TRIGGER_AUTHENTICATION, labels=labels, namespace=namespace),
        "spec": {"secretTargetRef": references},
    }


def _modifiers(band: DeadBand) -> dict[str, Any]:
    """The plan's rule on lag, and under it the floor.

    Inside the band the formula answers with exactly what the present consumers stand for, so nothing changes; so it
    does for a trigger that has failed, which KEDA hands over as nil, or as -1 until its status has caught up. The
    target is a whole number: KEDA silently drops the fallback otherwise.
    """
    there = f"{band.add_above} * {PODS_TRIGGER}"
    within = f"lag < {band.remove_below} * {PODS_TRIGGER} ? lag : {there}"
    on_lag = f"(lag ?? -1) < 0 ? {there} : (lag > {there} ? lag : ({within}))"
    on_rate = f"(ratefloor ?? -1) < 0 ? {there} : ratefloor"
    return {
        "formula": f"max({on_lag}, {on_rate})",
        "target": str(band.add_above),
        "metricType": "AverageValue",
    }


def _triggers(policy: ScalingPolicy, keda: Keda) -> list[dict[str, Any]]:
    resources = {"cpu": policy.cpu_target_percent, "memory": policy.memory_target_percent}
    triggers: list[dict[str, Any]] = [
        {"type": name, "metricType": "Utilization", "metadata": {"value": str(percent)}}
        for name, percent in resources.items()
        if percent is not None
    ]
    triggers += [
        _kafka(trigger, trigger.kafka, keda.kafka) if trigger.kafka is not None else _prometheus(trigger, keda)
        for trigger in policy.triggers
    ]
    if policy.band is not None:
        chosen = ",".join(f"{key}={value}" for key, value in selector(policy.workload).items())
        count = {"podSelector": chosen, "value": "1"}
        triggers.append({"type": "kubernetes-workload", "name": PODS_TRIGGER, "metadata": count})
    return triggers


def _kafka(trigger: Trigger, lag: KafkaLag, kafka: KafkaSource) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "type": "kafka",
        "name": trigger.name,
        "metricType": "AverageValue",
        "metadata": {
            "bootstrapServers": kafka.bootstrap_servers,
            "consumerGroup": lag.group,
            "topic": lag.topic,
            "lagThreshold": str(trigger.target_per_pod),
            "offsetResetPolicy": "earliest",
            # Without it KEDA reports no more lag than partitions x threshold, which at 22 of 24 consumers lies within
            # the autoscaler's tolerance: the group would stay there however its lag grew. The maximum bounds it anyway.
            "allowIdleConsumers": "true",
            "version": kafka.version,
        },
    }
    if kafka.authentication is KafkaAuthentication.SCRAM_SHA_512:
        rendered["metadata"] |= {"sasl": "scram_sha512", "tls": "enable"}
        rendered["authenticationRef"] = {"name": TRIGGER_AUTHENTICATION}
    return rendered


def _prometheus(trigger: Trigger, keda: Keda) -> dict[str, Any]:
    chosen = ",".join(f'{key}="{value}"' for key, value in trigger.labels)
    return {
        "type": "prometheus",
        "name": trigger.name,
        "metricType": "Value" if trigger.target_per_pod is None else "AverageValue",
        "metadata": {
            "serverAddress": keda.prometheus_address,
            "query": f"{trigger.metric}{{{chosen}}}",
            "threshold": str(trigger.target_per_pod or 1),
            "ignoreNullValues": "false",
        },
    }
