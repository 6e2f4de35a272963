"""Which of the brokers' MBeans become Prometheus metrics, and under which names."""

from typing import Any

import yaml

from components.base.manifests import Manifest, metadata
from components.kafka.model import KafkaContext

METRICS_NAME = "kafka-metrics"
METRICS_KEY = "kafka-metrics-config.yml"
_LABELS = {"topic": "$4", "partition": "$5"}


def plan_metrics(context: KafkaContext) -> Manifest:
    """The ConfigMap that the JMX exporter in each broker reads."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(METRICS_NAME, labels=context.labels("metrics"), namespace=context.namespace),
        "data": {METRICS_KEY: yaml.safe_dump(exporter_rules(), sort_keys=False)},
    }


def exporter_rules() -> dict[str, Any]:
    """Counters, gauges and the percentiles of requests; per topic and partition where the broker tells them.

    The first rule that fits an MBean wins, so the longer names stand first. Names: ``kafka_server_replicamanager_
    underreplicatedpartitions``, ``kafka_server_brokertopicmetrics_bytesin_total``.
    """
    counters = r"kafka.(\w+)<type=(.+), name=(.+)PerSec"
    gauges = r"kafka.(\w+)<type=(.+), name=(.+)"
    return {
        "lowercaseOutputName": True,
        "rules": [
            _rule(rf"{counters}, topic=(.+), partition=(.+)><>Count", "kafka_$1_$2_$3_total", "COUNTER", 2),
            _rule(rf"{counters}, topic=(.+)><>Count", "kafka_$1_$2_$3_total", "COUNTER", 1),
            _rule(rf"{counters}><>Count", "kafka_$1_$2_$3_total", "COUNTER", 0),
            _rule(rf"{gauges}, topic=(.+), partition=(.+)><>Value", "kafka_$1_$2_$3", "GAUGE", 2),
            _rule(r"kafka.network<type=RequestMetrics, name=(.+), request=(.+)><>(\d+)thPercentile",
                  "kafka_network_requestmetrics_$1", "GAUGE", {"request": "$2", "quantile": "0.$3"}),
            _rule(rf"{gauges}><>Value", "kafka_$1_$2_$3", "GAUGE", 0),
            _rule(r"kafka.server<type=raft-metrics><>(.+):", "kafka_server_raftmetrics_$1", "GAUGE", 0),
        ],
    }  # fmt: skip


def _rule(pattern: str, name: str, kind: str, labels: int | dict[str, str]) -> dict[str, Any]:
    chosen = dict(list(_LABELS.items())[:labels]) if isinstance(labels, int) else labels
    return {"pattern": pattern, "name": name, "type": kind, **({"labels": chosen} if chosen else {})}
