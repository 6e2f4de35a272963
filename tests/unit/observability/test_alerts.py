"""Alerts lead somewhere: labels by which they are routed, and runbooks that exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from components.observability.catalogue import Source
from components.observability.known import EXPORTED
from policies.scaler_metrics import metric_names
from tests.unit.stacks import REMOVED, STACKS, Changes, manifest, manifests_of, of_kind, problems_of, recording_of

ROOT = Path(__file__).resolve().parents[3]
RELEASE = {"release": "kube-prometheus-stack"}


def alerts(stack: str, changes: Changes | None = None) -> list[dict[str, Any]]:
    groups = [
        group for rules in of_kind(stack, "PrometheusRule", changes).values() for group in rules["spec"]["groups"]
    ]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("stack", STACKS)
def test_every_alert_has_an_action_and_a_runbook_that_exists(stack: str) -> None:
    for alert in alerts(stack):
        notes = alert["annotations"]
        assert notes["summary"], alert["alert"]
        assert notes["action"], alert["alert"]
        page, _, anchor = notes["runbook"].partition("#")
        text = (ROOT / page).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        slugs = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert anchor in slugs, f"{alert['alert']}: {notes['runbook']}"
        assert alert["alert"] in text, f"{page} does not say {alert['alert']}"
        if stack == "prod" and "runbook_url" in notes:
            assert notes["runbook_url"].endswith(notes["runbook"])


@pytest.mark.parametrize("stack", STACKS)
def test_every_alert_can_be_routed(stack: str) -> None:
    for alert in alerts(stack):
        labels = alert["labels"]
        assert labels["namespace"] == "payments", alert["alert"]
        assert labels["severity"] in ("critical", "warning", "none")
        assert labels["subject"]
        assert labels["area"]


@pytest.mark.parametrize("stack", STACKS)
def test_the_operator_can_choose_every_object(stack: str) -> None:
    for kind in ("PrometheusRule", "PodMonitor", "AlertmanagerConfig"):
        for name, found in of_kind(stack, kind).items():
            assert found["metadata"]["labels"].items() >= RELEASE.items(), f"{kind} {name}"


@pytest.mark.parametrize("stack", STACKS)
def test_every_input_of_an_autoscaler_has_an_alert_when_it_is_missing(stack: str) -> None:
    rules = manifest(stack, "PrometheusRule", "autoscaling-inputs")["spec"]["groups"]
    recorded = {
        (rule["record"], *sorted(rule["labels"].values())) for g in rules for rule in g["rules"] if "record" in rule
    }
    missing = [alert for alert in alerts(stack) if alert["alert"] == "AutoscalerInputMissing"]
    assert len(missing) == len(recorded) > 10
    for name, *_ in recorded:
        assert any(alert["labels"]["metric"] == name for alert in missing)


def test_routes_send_pages_tickets_and_the_dead_man_to_receivers_of_their_own() -> None:
    spec = manifest("prod", "AlertmanagerConfig", "payments-alerts")["spec"]
    assert spec["route"]["receiver"] == "ticket"
    routes = [(route["receiver"], route["matchers"], route.get("continue", False)) for route in spec["route"]["routes"]]
    assert routes == [
        ("dead-man", [{"name": "alertname", "value": "DeadMan", "matchType": "="}], False),
        # Whichever receiver still works gets it.
        ("ticket", [{"name": "alertname", "value": "AlertsNotDelivered", "matchType": "="}], True),
        ("page", [{"name": "severity", "value": "critical", "matchType": "="}], False),
    ]
    assert {receiver["name"] for receiver in spec["receivers"]} == {"page", "ticket", "dead-man"}
    [pager] = next(r["pagerdutyConfigs"] for r in spec["receivers"] if r["name"] == "page")
    assert pager["routingKey"] == {"name": "alerts-page", "key": "routing-key"}


def test_a_group_of_alerts_that_differ_still_has_a_title_and_an_action() -> None:
    receivers = manifest("prod", "AlertmanagerConfig", "payments-alerts")["spec"]["receivers"]
    # Empty for what two alerts of a group say differently, and PagerDuty refuses an event without a description.
    assert "CommonAnnotations" not in str(receivers)
    [pager] = next(r["pagerdutyConfigs"] for r in receivers if r["name"] == "page")
    assert {one["key"] for one in pager["details"]} == {"action", "runbook"}
    for text in (pager["description"], *(one["value"] for one in pager["details"])):
        assert "(index .Alerts 0).Annotations." in text
    assert pager["description"].startswith("{{ .GroupLabels.alertname }}")


@pytest.mark.parametrize("stack", STACKS)
def test_inhibitions_name_alerts_that_exist_and_never_a_page_without_its_cause(stack: str) -> None:
    names = {alert["alert"] for alert in alerts(stack)} | {"KedaScalerErrors"}
    for rule in manifest(stack, "AlertmanagerConfig", "payments-alerts")["spec"]["inhibitRules"]:
        for side in ("sourceMatch", "targetMatch"):
            for matcher in rule[side]:
                if matcher["name"] == "alertname":
                    assert set(matcher["value"].split("|")) <= names
        sources = {matcher["value"] for matcher in rule["sourceMatch"] if matcher["name"] == "alertname"}
        targets = {name for m in rule["targetMatch"] if m["name"] == "alertname" for name in m["value"].split("|")}
        assert not sources & targets


UNSCRAPED = {
    ("redis-cluster", "server"): "its exporter tells of it",
    ("redis-local", "server"): "losing it is only misses, which the clients count by tier; cAdvisor has its memory",
    ("postgres-cluster", "backup"): "serves backups and has no figures; the postgres exporter tells of the archive",
    ("postgres-cluster-s01", "backup"): "as postgres-cluster",
    **{
        (f"postgres-cluster{shard}-pooler-{mode}", "pgbouncer"): "its exporter tells of it"
        for shard in ("", "-s01")
        for mode in ("rw", "ro")
    },
}
"""Containers that nobody scrapes, each with the reason."""


def scraping(stack: str, namespace: str, labels: dict[str, str], container: dict[str, Any]) -> list[int]:
    """Ports of a container that a monitor reads."""
    numbers = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    return [
        numbers[endpoint["port"]]
        for monitor in of_kind(stack, "PodMonitor").values()
        if namespace in monitor["spec"]["namespaceSelector"]["matchNames"]
        and monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        if endpoint["port"] in numbers
    ]


def admits(policy: dict[str, Any], labels: dict[str, str], port: int) -> bool:
    """Whether a policy lets Prometheus' pods reach this port of pods with these labels."""
    spec = policy["spec"]
    if not spec["podSelector"].get("matchLabels", {}).items() <= labels.items():
        return False
    scraper = {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    return any(
        any(one.get("podSelector") == scraper for one in rule.get("from", []))
        and port in [each["port"] for each in rule["ports"]]
        for rule in spec.get("ingress", [])
    )


@pytest.mark.parametrize("stack", STACKS)
def test_every_container_of_every_workload_is_scraped_and_let_in_or_excepted_with_a_reason(stack: str) -> None:
    every = manifests_of(stack).values()
    policies = [one for one in every if one["kind"] == "NetworkPolicy"]
    workloads = [one for one in every if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    assert {one["kind"] for one in workloads} == {"Deployment", "StatefulSet", "DaemonSet"}
    excepted = set()
    for workload in workloads:
        name, namespace = workload["metadata"]["name"], workload["metadata"]["namespace"]
        template = workload["spec"]["template"]
        labels = template["metadata"]["labels"]
        beside = [one for one in template["spec"].get("initContainers", []) if one.get("restartPolicy") == "Always"]
        for container in [*template["spec"]["containers"], *beside]:
            ports = scraping(stack, namespace, labels, container)
            if not ports:
                assert (name, container["name"]) in UNSCRAPED, f"nobody scrapes {container['name']} of {name}"
                excepted.add((name, container["name"]))
            for port in ports:
                own = [one for one in policies if one["metadata"]["namespace"] == namespace]
                assert any(admits(policy, labels, port) for policy in own), f"{name}: Prometheus cannot reach {port}"
    if stack == "prod":
        assert excepted == set(UNSCRAPED)


@pytest.mark.parametrize("stack", STACKS)
def test_a_service_is_scraped_under_its_own_name(stack: str) -> None:
    monitors = of_kind(stack, "PodMonitor")
    for name, deployment in of_kind(stack, "Deployment").items():
        monitor = monitors[f"{name}-pods"]["spec"]
        assert monitor["selector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
        [endpoint] = monitor["podMetricsEndpoints"]
        assert {"targetLabel": "service", "replacement": name, "action": "replace"} in endpoint["relabelings"]


def test_nothing_is_declared_without_the_block() -> None:
    changes = {"observability": REMOVED}
    kinds = {r.type.rpartition(":")[2] for r in recording_of("dev", changes).resources}
    assert not kinds & {"PodMonitor", "AlertmanagerConfig", "Monitoring"}


def test_what_is_not_scraped_has_no_alert_and_no_board() -> None:
    changes = {"observability/exporters/postgres": REMOVED, "observability/exporters/pgbouncer": REMOVED}
    rules = of_kind("dev", "PrometheusRule", changes).values()
    text = str([rule for one in rules for group in one["spec"]["groups"] for rule in group["rules"]])
    assert "pg_stat" not in text
    assert "pgbouncer" not in text
    assert "patroni" in text


def test_each_shard_and_each_member_is_missed_when_it_is_gone() -> None:
    every = alerts("prod")
    for name in ("DatabaseWithoutPrimary", "DatabaseUnseen"):
        found = {one["labels"]["subject"]: one["expr"] for one in every if one["alert"] == name}
        assert found.keys() == {"postgres-cluster", "postgres-cluster-s01"}
        assert 'scope="payments-s00"' in found["postgres-cluster"]
        assert 'scope="payments-s01"' in found["postgres-cluster-s01"]
    incomplete = {
        (one["labels"]["job"], one["labels"]["subject"]): one["expr"]
        for one in every
        if one["alert"] == "TargetsIncomplete"
    }
    sets = {
        name: one["spec"]["replicas"]
        for namespace in ("cache", "database")
        for name, one in of_kind("prod", "StatefulSet", namespace=namespace).items()
    }
    counted = {subject: expr.rpartition("< ")[2] for (_, subject), expr in incomplete.items()}
    assert {name: counted.get(name) for name in sets} == {name: str(replicas) for name, replicas in sets.items()}
    assert counted.keys() >= {"kafka-cluster-broker", "kafka-cluster-controller", "kafka-cluster-kafka-exporter"}


@pytest.mark.parametrize("stack", STACKS)
def test_what_the_cluster_exports_is_missed_when_it_is_gone(stack: str) -> None:
    every = alerts(stack)
    missed = [metric_names(one["expr"]) for one in every if one["alert"] == "ClusterMetricsMissing"]
    watched = {name for names in missed for name in names}
    belongs = (Source.KUBERNETES, Source.PROMETHEUS)
    read = {name for one in every for name in metric_names(one["expr"]) if name in EXPORTED} - {"up"}
    clusters = {name for name in read if EXPORTED[name].source in belongs}
    assert len(clusters) > 10
    # kube_<kind>, container, kubelet, prometheus, alertmanager: each by one metric at least.
    for name in clusters:
        kind = "_".join(name.split("_")[: 2 if name.startswith("kube_") else 1])
        assert any(one.startswith(kind) for one in watched), name


def test_a_database_that_others_run_is_missed_as_a_whole() -> None:
    [found] = [one["expr"] for one in alerts("dev", {"postgres": REMOVED}) if one["alert"] == "DatabaseUnseen"]
    assert found == "absent(patroni_primary)"


def test_alerts_on_shards_are_there_while_their_figures_are_served() -> None:
    names = {alert["alert"] for alert in alerts("dev")}
    inside = {
        "PartitionHeadroomLow", "OutboxStuck", "BalancesStale", "SchemaVersionsDiffer", "CrossShardTransferStuck",
        "BooksWrong", "BooksUnchecked", "BucketsStayClosed",
    }  # fmt: skip
    assert inside <= names
    for removed, gone in (("metrics", inside), ("balances", {"BalancesStale"})):
        rules = of_kind("dev", "PrometheusRule", {f"data/migrations/{removed}": REMOVED})["payments-alerts"]
        left = {rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]}
        assert inside - left == gone


def test_an_exporter_behind_tls_is_scraped_with_its_authority_verified() -> None:
    endpoints = {
        name: monitor["spec"]["podMetricsEndpoints"][0] for name, monitor in of_kind("dev", "PodMonitor").items()
    }
    patroni = endpoints.pop("patroni-pods")
    assert patroni["scheme"] == "https"
    assert patroni["tlsConfig"] == {
        "ca": {"secret": {"name": "postgres-authority", "key": "ca.crt"}},
        "serverName": "postgres-cluster-pods.database.svc.cluster.local",
    }
    assert not any({"scheme", "tlsConfig"} & endpoint.keys() for endpoint in endpoints.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observability/prometheus": "monitring"}, "did you mean 'monitoring'?"),
        ({"observability/exporters/kafka/peer": "banks"}, "a peer with pod_labels"),
        ({"observability/exporters/kafka": REMOVED}, "kafka among them"),
        ({"observability/exporters/kafka/scheme": "https"}, "authority and server_name are missing"),
        ({"observability/exporters/patroni/server_name": REMOVED}, "server_name is missing"),
        ({"observability/exporters/patroni/scheme": "http"}, "authority and server_name are given"),
        ({"observability/objectives/payment-service/latency_milliseconds": 300}, "one of 5, 10, 25, 50, 100, 250, 500"),
        ({"observability/objectives/payment-servce": {}}, "did you mean 'payment-service'?"),
        ({"observability/objectives/payment-service/availability_percent": 90}, "at least 95"),
        ({"loadtest/mix": {"create-payment": 90}}, "mix adds up to 90 percent"),
        ({"loadtest/run": ["peak"]}, "run names peak with 5000 requests/s; max_requests_per_second is 1000"),
        ({"loadtest/run": ["storm"]}, "scenarios are normal, peak, stress"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_words(changes: dict[str, object], said: str) -> None:
    problems = problems_of("dev", changes)
    assert len(problems) == 1, problems
    assert said in problems[0]


def test_keda_without_its_exporter_is_refused() -> None:
    [problem] = problems_of("prod", {"observability/exporters/keda": REMOVED})
    assert "keda among them" in problem
