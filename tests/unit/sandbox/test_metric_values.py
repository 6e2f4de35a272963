from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sandbox.metric_values import container_usage, external_value, read_values, set_external, set_resource


def test_a_fresh_sandbox_is_calm(tmp_path: Path) -> None:
    values = read_values(tmp_path / "absent.json")
    assert external_value(values, "kafka_consumer_lag", {}) == 0
    usage = container_usage(values, "payment-service", {"cpu": "500m", "memory": "1Gi"})
    assert (usage.cpu_nanocores, usage.memory_bytes) == (200_000_000, 2**29)


def test_a_set_value_is_read_back_and_others_stay_calm(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    set_external(path, "kafka_consumer_lag", 12_500, {"consumergroup": "payment-service-group"})
    values = read_values(path)
    assert external_value(values, "kafka_consumer_lag", {"consumergroup": "payment-service-group"}) == 12_500
    assert external_value(values, "kafka_consumer_lag", {"consumergroup": "wallet-service-group"}) == 0
    assert external_value(values, "another_metric", {}) == 0


def test_a_removed_metric_has_no_series_rather_than_zero(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    set_external(path, "kafka_consumer_lag", None)
    assert external_value(read_values(path), "kafka_consumer_lag", {}) is None


def test_a_broken_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("{ half", encoding="utf-8")
    assert external_value(read_values(path), "kafka_consumer_lag", {}) == 0


@given(percent=st.integers(0, 400), millicores=st.integers(1, 64_000))
def test_usage_is_the_stated_share_of_the_request(percent: int, millicores: int) -> None:
    values = {"resource": {"a": {"cpu_percent_of_request": percent, "memory_percent_of_request": 0}}}
    usage = container_usage({**values, "resource_default": {}}, "a", {"cpu": f"{millicores}m"})
    assert usage.cpu_nanocores == millicores * percent * 10_000
    assert usage.memory_bytes == 0


def test_workloads_have_their_own_usage(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    set_resource(path, "payment-service", cpu_percent=90, memory_percent=10)
    values = read_values(path)
    assert container_usage(values, "payment-service", {"cpu": "1"}).cpu_nanocores == 900_000_000
    assert container_usage(values, "wallet-service", {"cpu": "1"}).cpu_nanocores == 400_000_000
