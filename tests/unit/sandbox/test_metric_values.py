"""What the metrics API answers: external series by selector, and usage as a share of requests."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.metric_values import Usage, container_usage, external_value, read_values, set_external, set_resource

LAG = "kafka_consumer_lag"
PAYMENT = {"group": "payment-service-group"}
WALLET = {"group": "wallet-service-group"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.json"


def test_a_fresh_sandbox_is_calm(file: Path) -> None:
    values = read_values(file)
    assert external_value(values, LAG, PAYMENT) == 0
    assert container_usage(values, "payment-service", {"cpu": "500m", "memory": "1Gi"}) == Usage(
        cpu_nanocores=200_000_000, memory_bytes=2**29
    )


def test_a_broken_file_means_the_defaults(file: Path) -> None:
    file.write_text('{"external": ', encoding="utf-8")
    assert external_value(read_values(file), LAG, {}) == 0


def test_a_series_without_labels_answers_every_selector(file: Path) -> None:
    set_external(file, LAG, 12500)
    values = read_values(file)
    assert [external_value(values, LAG, selector) for selector in ({}, PAYMENT, WALLET)] == [12500] * 3
    assert external_value(values, "another_metric", {}) == 0


def test_a_labelled_series_drives_its_own_group_only(file: Path) -> None:
    set_external(file, LAG, 12500, PAYMENT)
    values = read_values(file)
    assert external_value(values, LAG, PAYMENT) == 12500
    assert external_value(values, LAG, WALLET) == 0
    assert external_value(values, LAG, {**PAYMENT, "topic": "payment-events"}) == 0


def test_series_live_side_by_side_and_replace_their_own_labels_only(file: Path) -> None:
    set_external(file, LAG, 1, PAYMENT)
    set_external(file, LAG, 2, WALLET)
    set_external(file, LAG, 3, PAYMENT)
    set_external(file, LAG, 9)
    values = read_values(file)
    assert external_value(values, LAG, PAYMENT) == 3
    assert external_value(values, LAG, WALLET) == 2
    assert external_value(values, LAG, {"group": "gateway-service-group"}) == 9
    assert external_value(values, LAG, {}) == 5, "a selector that matches several series gets their sum"


def test_none_is_no_data(file: Path) -> None:
    set_external(file, LAG, None, PAYMENT)
    values = read_values(file)
    assert external_value(values, LAG, PAYMENT) is None
    assert external_value(values, LAG, WALLET) == 0


def test_no_default_is_no_data_for_what_was_never_set(file: Path) -> None:
    file.write_text('{"external_default": null}', encoding="utf-8")
    assert external_value(read_values(file), LAG, {}) is None


def test_a_single_series_written_by_hand_is_understood(file: Path) -> None:
    file.write_text('{"external": {"kafka_consumer_lag": {"value": 7}}}', encoding="utf-8")
    assert external_value(read_values(file), LAG, PAYMENT) == 7


def test_usage_is_set_per_workload(file: Path) -> None:
    set_resource(file, "payment-service", cpu_percent=90, memory_percent=10)
    values = read_values(file)
    requests = {"cpu": "1", "memory": "1000"}
    assert container_usage(values, "payment-service", requests) == Usage(cpu_nanocores=900_000_000, memory_bytes=100)
    assert container_usage(values, "wallet-service", requests) == Usage(cpu_nanocores=400_000_000, memory_bytes=500)


def test_a_container_without_requests_uses_nothing(file: Path) -> None:
    assert container_usage(read_values(file), "any", {}) == Usage(cpu_nanocores=0, memory_bytes=0)


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        *(("2048", 2048), ("1Ki", 2**10), ("1Mi", 2**20), ("1Gi", 2**30), ("1Ti", 2**40)),
        *(("1k", 1000), ("1M", 10**6), ("3G", 3 * 10**9), ("1T", 10**12), ("1500m", 1), ("1e3", 1000)),
    ],
)
def test_every_form_in_which_the_api_server_writes_a_quantity(file: Path, memory: str, size: int) -> None:
    set_resource(file, "any", cpu_percent=100, memory_percent=100)
    assert container_usage(read_values(file), "any", {"memory": memory}).memory_bytes == size


@given(percent=st.integers(0, 400), millicores=st.integers(1, 64_000))
def test_usage_is_the_stated_share_of_the_request(percent: int, millicores: int) -> None:
    values = {"resource": {"a": {"cpu_percent_of_request": percent, "memory_percent_of_request": 0}}}
    usage = container_usage({**values, "resource_default": {}}, "a", {"cpu": f"{millicores}m"})
    assert usage == Usage(cpu_nanocores=millicores * percent * 10_000, memory_bytes=0)
