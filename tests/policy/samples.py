"""A small platform that breaks no rule, and ways to break it in one place."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from policies.configuration import config_path, load_config
from policies.evaluate import Resource

UNKNOWN_MARK = UNKNOWN_STRING_VALUE
REMOVED = object()
NAMESPACE = "payments"
DIGEST = "sha256:" + "a1" * 32
DEV = load_config(config_path("dev"))
PROD = load_config(config_path("prod"))
PRIVATE_NETWORKS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]


def urn_of(resource_type: str, name: str) -> str:
    return f"urn:pulumi:dev::payments-platform::{resource_type}::{name}"


def kubernetes(
    token: str, name: str, body: Mapping[str, Any], *, namespace: str | None = NAMESPACE, app: str = "payment-service",
    component: str = "api", service: bool = False, extra_labels: Mapping[str, str] | None = None,
    ignore_changes: tuple[str, ...] = (),
) -> Resource:  # fmt: skip
    labels = {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "payments-platform",
        "app.kubernetes.io/managed-by": "pulumi",
        "payments.dev/environment": "dev",
        **({"owner": "payments-team", "pci-scope": "cde"} if service else {}),
        **(extra_labels or {}),
    }
    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if namespace is not None:
        metadata["namespace"] = namespace
    resource_type = f"kubernetes:{token}"
    return Resource(
        type=resource_type,
        name=name,
        urn=urn_of(resource_type, name),
        props={"metadata": metadata, **copy.deepcopy(dict(body))},
        ignore_changes=ignore_changes,
    )


def container(**changes: Any) -> dict[str, Any]:
    amounts = {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "256Mi"}
    return {
        "name": "api",
        "image": f"registry.example.com/payments/payment-service:1.4.2@{DIGEST}",
        "env": [{"name": "KAFKA_BROKERS", "value": "kafka:9093"}, {"name": "LOG_LEVEL", "value": "info"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {"httpGet": {"path": "/startupz", "port": "http"}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
        "livenessProbe": {"tcpSocket": {"port": 8080}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a path in the container
        **changes,
    }


def pod_spec(app: str, containers: Sequence[Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "serviceAccountName": app,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 45,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": app}},
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
        "containers": list(containers),
        **changes,
    }


def _container_of(topic: str | None) -> dict[str, Any]:
    """An API's container, or a consumer's when it reads a topic."""
    api = container()
    if topic is not None:
        api["env"] += [
            {"name": "KAFKA_TOPIC", "value": topic},
            {"name": "KAFKA_CONSUMER_GROUP", "value": f"{topic}-group"},
        ]
    return api


def deployment(app: str, component: str, replicas: int, *, topic: str | None = None) -> Resource:
    strategy = {"maxUnavailable": 0, "maxSurge": 1} if component == "api" else {"maxUnavailable": 1, "maxSurge": 0}
    body = {
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
            "template": {"metadata": {"labels": {"app": app}}, "spec": pod_spec(app, [_container_of(topic)])},
        }
    }
    return kubernetes(
        "apps/v1:Deployment", app, body, app=app, component=component, service=True, ignore_changes=("spec.replicas",)
    )


def budget(app: str) -> Resource:
    body = {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}}
    return kubernetes("policy/v1:PodDisruptionBudget", app, body, app=app)


def hpa(app: str, minimum: int, maximum: int, metrics: Sequence[Mapping[str, Any]]) -> Resource:
    body = {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
            "minReplicas": minimum,
            "maxReplicas": maximum,
            "metrics": list(metrics),
        }
    }
    return kubernetes("autoscaling/v2:HorizontalPodAutoscaler", f"{app}-hpa", body, app=app)


def utilization(resource: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


LAG = {
    "type": "External",
    "external": {
        "metric": {"name": "kafka_consumer_lag"},
        "target": {"type": "AverageValue", "averageValue": "1000"},
    },
}


HOLD = {
    "type": "External",
    "external": {"metric": {"name": "breaker_hold"}, "target": {"type": "Value", "value": "1"}},
}


def scaled_object(app: str, minimum: int, maximum: int) -> Resource:
    body = {
        "spec": {
            "scaleTargetRef": {"name": app},
            "minReplicaCount": minimum,
            "maxReplicaCount": maximum,
            "fallback": {"failureThreshold": 3, "replicas": minimum, "behavior": "scalingModifiers"},
            "advanced": {
                "scalingModifiers": {
                    "formula": "max((lag ?? -1) < 0 ? 1000 * r : lag, ratefloor)",
                    "target": "1000",
                    "metricType": "AverageValue",
                }
            },
            "triggers": [
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}},
                {"type": "kafka", "name": "lag", "metadata": {"lagThreshold": "1000", "topic": "wallet-events"}},
                {
                    "type": "prometheus",
                    "name": "ratefloor",
                    "metadata": {
                        "query": 'kafka_consumer_rate_floor{consumergroup="a-group"}',
                        "threshold": "1000",
                        "ignoreNullValues": "false",
                    },
                },
                {"type": "kubernetes-workload", "name": "r", "metadata": {"podSelector": "app=x", "value": "1"}},
            ],
        }
    }
    return kubernetes("keda.sh/v1alpha1:ScaledObject", f"{app}-scaler", body, app=app)


def recording_rules() -> Resource:
    rules = [
        {"record": "kafka_consumer_lag", "expr": 'sum(kafka_consumergroup_lag{topic="payment-events"})'},
        {
            "record": "kafka_consumer_rate_floor",
            "expr": "1000 * sum by (topic) (rate(kafka_topic_partition_current_offset[2m])) / 225",
        },
        {
            "record": "breaker_hold",
            "expr": "sum(circuit_breaker_rejected_total) / sum(circuit_breaker_calls_total) > bool 0.05",
        },
    ]
    body = {"spec": {"groups": [{"name": "autoscaling", "rules": rules}]}}
    return kubernetes("monitoring.coreos.com/v1:PrometheusRule", "autoscaling", body)


def network_policy(name: str, spec: Mapping[str, Any]) -> Resource:
    return kubernetes("networking.k8s.io/v1:NetworkPolicy", name, {"spec": spec})


def _namespace_objects() -> list[Resource]:
    psa = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        kubernetes("core/v1:Namespace", NAMESPACE, {}, namespace=None, extra_labels=psa),
        kubernetes("core/v1:ResourceQuota", "quota", {"spec": {"hard": {"pods": "200"}}}),
        kubernetes("core/v1:LimitRange", "limits", {"spec": {"limits": [{"type": "Container"}]}}),
        network_policy("default-deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
    ]


def _flows() -> list[Resource]:
    edge = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}},
        "podSelector": {"matchLabels": {"app": "edge"}},
    }
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return [
        network_policy(
            "payment-service",
            {
                "podSelector": {"matchLabels": {"app": "payment-service"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [edge], "ports": [{"port": 8080}]}],
                "egress": [{"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}]}],
            },
        ),
        network_policy(
            "gateway-service-providers",
            {
                "podSelector": {"matchLabels": {"app": "gateway-service"}},
                "policyTypes": ["Egress"],
                "egress": [
                    {
                        "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE_NETWORKS}}],
                        "ports": [{"port": 443, "protocol": "TCP"}],
                    }
                ],
            },
        ),
    ]


def _service() -> Resource:
    body = {
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": "payment-service"},
            "ports": [{"name": "http", "port": 8080, "targetPort": "http"}],
        }
    }
    return kubernetes("core/v1:Service", "payment-service-svc", body, service=True)


def _cron_job() -> Resource:
    spec = pod_spec("partition-maintenance", [container(name="maintain")], restartPolicy="Never")
    template = {"metadata": {"labels": {"app": "partition-maintenance"}}, "spec": spec}
    body = {"spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}}
    return kubernetes("batch/v1:CronJob", "partition-maintenance", body, component="job", service=True)


def platform() -> list[Resource]:
    """Return a namespace, an API with everything it needs, two consumers (HPA and KEDA) and a CronJob."""
    settings = {"data": {"HTTP_PORT": "8080", "PARTITION_KEY": "user_id", "settings.yaml": "retries: 3\n"}}
    return [
        *_namespace_objects(),
        *_flows(),
        kubernetes("core/v1:ServiceAccount", "payment-service", {"automountServiceAccountToken": False}),
        kubernetes("core/v1:ConfigMap", "payment-service", settings),
        deployment("payment-service", "api", 3),
        _service(),
        budget("payment-service"),
        hpa("payment-service", 3, 20, [utilization("cpu", 70), utilization("memory", 80), LAG, HOLD]),
        deployment("payment-processors", "consumer", 2, topic="payment-events"),
        budget("payment-processors"),
        hpa("payment-processors", 2, 24, [LAG]),
        deployment("wallet-processors", "consumer", 2, topic="wallet-events"),
        budget("wallet-processors"),
        scaled_object("wallet-processors", 2, 16),
        recording_rules(),
        _cron_job(),
        Resource(
            type="payments:services:PaymentService",
            name="payment",
            urn=urn_of("payments:services:PaymentService", "payment"),
            props={},
        ),
    ]


def find(resources: Sequence[Resource], kind: str, name: str) -> Resource:
    (found,) = [one for one in resources if one.type.rpartition(":")[2] == kind and one.name == name]
    return found


def changed(resource: Resource, path: str, value: object) -> Resource:
    """Return a copy with one value set (or `REMOVED`) at a path such as `spec>template>spec>containers>0>image`."""
    props = copy.deepcopy(dict(resource.props))
    place: Any = props
    *parents, last = path.split(">")
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if value is REMOVED:
        del place[int(last) if isinstance(place, list) else last]
    elif isinstance(place, list):
        place[int(last) :] = [value, *place[int(last) + 1 :]]
    else:
        place[last] = value
    return dataclasses.replace(resource, props=props)


def platform_with(kind: str, name: str, path: str, value: object) -> list[Resource]:
    """Return the platform with one value of one object changed."""
    resources = platform()
    target = find(resources, kind, name)
    return [changed(one, path, value) if one is target else one for one in resources]


def platform_and(*more: Resource) -> list[Resource]:
    return [*platform(), *more]


def platform_without(kind: str, name: str) -> list[Resource]:
    resources = platform()
    target = find(resources, kind, name)
    return [one for one in resources if one is not target]


def leaves(value: object, path: str = "") -> list[str]:
    """Return the path of every value in the properties, the collections on the way included."""
    pairs: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        pairs = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        pairs = [(str(position), part) for position, part in enumerate(value)]
    found = []
    for key, part in pairs:
        here = f"{path}>{key}" if path else key
        found += [here, *leaves(part, here)]
    return found
