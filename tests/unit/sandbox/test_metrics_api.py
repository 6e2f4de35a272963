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
from sandbox.layout import Layout
from sandbox.metric_values import set_external
from sandbox.metrics_api import answer
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


@pytest.mark.parametrize(("group", "kinds"), [("metrics.k8s.io", ["PodMetrics"]), ("external.metrics.k8s.io", [])])
def test_discovery_names_the_group_and_its_resources(layout: Layout, group: str, kinds: list[str]) -> None:
    document = _document(layout, f"/apis/{group}/v1beta1")
    assert document["kind"] == "APIResourceList"
    assert document["groupVersion"] == f"{group}/v1beta1"
    assert [resource["kind"] for resource in document["resources"]] == kinds


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
