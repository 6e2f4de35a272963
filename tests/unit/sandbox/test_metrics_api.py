"""The metrics API as the API server calls it: documents, and a server that one silent client cannot stop."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cli.recording import ROOT
from sandbox import metrics_api
from sandbox.layout import Layout
from sandbox.metric_values import set_custom, set_external
from sandbox.metrics_api import answer
from sandbox.metrics_registration import plan_registration
from sandbox.ports import LOOPBACK, free_port

LAG_PATH = "/apis/external.metrics.k8s.io/v1beta1/namespaces/payments/kafka_consumer_lag"
_START_TIMEOUT_SECONDS = 20


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path.resolve())


def _document(layout: Layout, path: str, selector: str = "") -> dict[str, Any]:
    document = answer(layout, path, {"labelSelector": [selector]} if selector else {})
    assert document is not None
    return document


def test_an_external_metric_has_one_item_with_its_value_and_selector(layout: Layout) -> None:
    set_external(layout.metrics, "kafka_consumer_lag", 12500, {"group": "payment-service-group"})
    document = _document(layout, LAG_PATH, "group=payment-service-group")
    assert document["kind"] == "ExternalMetricValueList"
    assert document["apiVersion"] == "external.metrics.k8s.io/v1beta1"
    (item,) = document["items"]
    assert item["value"] == "12500"
    assert item["metricLabels"] == {"group": "payment-service-group"}


def test_a_metric_without_data_is_an_empty_list_as_from_a_real_adapter(layout: Layout) -> None:
    set_external(layout.metrics, "kafka_consumer_lag", None)
    assert _document(layout, LAG_PATH)["items"] == []


def test_the_file_is_read_anew(layout: Layout) -> None:
    values = []
    for value in (1, 2):
        set_external(layout.metrics, "kafka_consumer_lag", value)
        values.append(_document(layout, LAG_PATH)["items"][0]["value"])
    assert values == ["1", "2"]


@pytest.mark.parametrize(
    ("served", "kinds"),
    [
        ("metrics.k8s.io/v1beta1", ["PodMetrics"]),
        ("external.metrics.k8s.io/v1beta1", []),
        ("custom.metrics.k8s.io/v1beta2", []),
    ],
)
def test_discovery_names_the_group_and_its_resources(layout: Layout, served: str, kinds: list[str]) -> None:
    document = _document(layout, f"/apis/{served}")
    assert document["kind"] == "APIResourceList"
    assert document["groupVersion"] == served
    assert [resource["kind"] for resource in document["resources"]] == kinds


CUSTOM_PATH = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/payments"


def test_an_object_metric_describes_its_object(layout: Layout) -> None:
    set_custom(layout.metrics, "requests_per_second", "payment-service-svc", 750)
    document = _document(layout, f"{CUSTOM_PATH}/services/payment-service-svc/requests_per_second")
    assert document["kind"] == "MetricValueList"
    assert document["apiVersion"] == "custom.metrics.k8s.io/v1beta2"
    (item,) = document["items"]
    assert item["value"] == "750"
    assert item["metric"] == {"name": "requests_per_second"}
    assert item["describedObject"] == {"kind": "Service", "namespace": "payments", "name": "payment-service-svc"}


def test_an_object_of_a_group_has_its_kind(layout: Layout) -> None:
    set_custom(layout.metrics, "depth", "payment-service", 1)
    document = _document(layout, f"{CUSTOM_PATH}/deployments.apps/payment-service/depth")
    assert document["items"][0]["describedObject"]["kind"] == "Deployment"


def test_an_object_metric_without_data_does_not_exist(layout: Layout) -> None:
    set_custom(layout.metrics, "requests_per_second", "payment-service-svc", None)
    assert answer(layout, f"{CUSTOM_PATH}/services/payment-service-svc/requests_per_second", {}) is None
    assert answer(layout, f"{CUSTOM_PATH}/services/wallet-service-svc/requests_per_second", {}) is None


def test_a_pods_metric_has_one_item_for_each_pod_of_a_workload_that_has_a_value(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = [
        {"metadata": {"name": f"{workload}-{number}", "labels": {"app": workload}}}
        for workload in ("payment-service", "wallet-service")
        for number in range(2)
    ]
    monkeypatch.setattr(metrics_api, "_running_pods", lambda *_: pods)
    set_custom(layout.metrics, "in_flight", "payment-service", 12)
    document = _document(layout, f"{CUSTOM_PATH}/pods/*/in_flight")
    assert {item["describedObject"]["name"]: item["value"] for item in document["items"]} == {
        "payment-service-0": "12",
        "payment-service-1": "12",
    }


def test_each_group_is_registered_in_the_version_that_is_served() -> None:
    service, *registered = plan_registration(4711)
    assert {each["metadata"]["name"] for each in registered} == {
        "v1beta1.external.metrics.k8s.io",
        "v1beta1.metrics.k8s.io",
        "v1beta2.custom.metrics.k8s.io",
    }
    assert all(each["spec"]["service"]["port"] == 4711 for each in registered)
    assert service["spec"]["type"] == "ExternalName"


@pytest.mark.parametrize(
    "path", ["/", "/apis", "/apis/metrics.k8s.io", "/apis/metrics.k8s.io/v2/x", "/apis/metrics.k8s.io/v1beta1/nodes"]
)
def test_what_it_does_not_serve_does_not_exist(layout: Layout, path: str) -> None:
    assert answer(layout, path, {}) is None


@pytest.fixture
def server(layout: Layout) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "sandbox.metrics_api", str(layout.root), str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not layout.metrics_certificate.exists() or _refused(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=_START_TIMEOUT_SECONDS)


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def test_a_client_that_connects_and_stays_silent_blocks_nobody(layout: Layout, server: int) -> None:
    set_external(layout.metrics, "kafka_consumer_lag", 42)
    with (
        socket.create_connection((LOOPBACK, server)),
        urllib3.PoolManager(ca_certs=str(layout.metrics_certificate), retries=False, timeout=5.0) as pool,
    ):
        response = pool.request("GET", f"https://localhost:{server}{LAG_PATH}")
        missing = pool.request("GET", f"https://localhost:{server}/unknown")
    assert response.status == 200
    assert response.json()["items"][0]["value"] == "42"
    assert missing.status == 404
