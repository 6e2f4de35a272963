"""The poolers' rollout and the contract: what Kubernetes does not count is counted, and clients know their limits."""

from typing import Any

import pytest

from components.contract import platform_contract
from components.postgres.model import DatabaseContext, context_of
from components.postgres.pgbouncer_files import PoolerMode
from components.postgres.pooler_plan import plan_poolers
from payments_client.contract import PlatformContract
from payments_client.database import PoolOptions
from tests.unit.stacks import REMOVED, STACKS, settings_of


def context(changes: dict[str, object] | None = None) -> DatabaseContext:
    found = context_of(settings_of("prod", changes or {}))
    assert found is not None
    return found


def deployment(mode: PoolerMode, changes: dict[str, object] | None = None) -> Any:
    return plan_poolers(context(changes), "s00")[f"pooler-{mode}-deployment"]


@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (1, 0), (2, 0)])
def test_the_next_pod_goes_when_the_last_one_is_gone_for_certain(surge: int, unavailable: int) -> None:
    changes: dict[str, object] = {"postgres/pooler/read_write/surge": surge, "postgres/max_connections": 400}
    spec = deployment(PoolerMode.READ_WRITE, changes)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": unavailable}
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    assert spec["minReadySeconds"] >= grace
    assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"], "the API server refuses anything else"


def test_the_engine_waits_for_pods_that_are_ready_and_not_for_the_pace_of_a_rollout() -> None:
    planned = deployment(PoolerMode.READ_ONLY)
    replicas = planned["spec"]["replicas"]
    wanted = f"jsonpath={{.status.readyReplicas}}={replicas}"
    assert planned["metadata"]["annotations"] == {"pulumi.com/waitFor": wanted}


@pytest.mark.parametrize("mode", PoolerMode)
def test_only_haproxy_outlives_pgbouncer(mode: PoolerMode) -> None:
    """A session of the exporter would keep PgBouncer from ending: it waits for every client, the console's too."""
    pod = deployment(mode)["spec"]["template"]["spec"]
    assert [(one["name"], one["restartPolicy"]) for one in pod["initContainers"]] == [("haproxy", "Always")]
    assert [one["name"] for one in pod["containers"]] == ["pgbouncer", "exporter"]
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
    assert "lifecycle" not in pod["containers"][1]


@pytest.mark.parametrize("stack", STACKS)
def test_clients_read_where_shards_are_and_how_much_they_may_open(stack: str) -> None:
    settings = settings_of(stack)
    contract = PlatformContract.parse(platform_contract(settings).to_json()).database
    assert contract is not None
    assert settings.postgres is not None
    assert [shard.name for shard in contract.shards] == settings.postgres.shards
    first = contract.shard("s00")
    assert first.write.host == "postgres-cluster.database.svc.cluster.local"
    assert [read.host for read in first.reads] == ["postgres-cluster-ro.database.svc.cluster.local"]
    assert contract.sslmode == "verify-full"
    assert (contract.concurrent_writes, contract.concurrent_reads) == (60, 48)
    assert contract.max_lifetime_seconds == settings.postgres.pooler.client_lifetime_seconds
    api = settings.services["payment-service"].api
    assert contract.connections_of("payment-service") == api.database_connections_per_pod
    endpoints = 2 * len(contract.shards)
    options = PoolOptions.of(contract, "payment-service", processes=2)
    assert options.max_size == max(1, api.database_connections_per_pod // (2 * endpoints))
    assert options.lifetime_seconds(contract) == contract.max_lifetime_seconds
    with pytest.raises(KeyError, match=r"it has: .*'payment-service'"):
        contract.connections_of("payments")


def test_without_a_database_the_contract_has_none() -> None:
    assert platform_contract(settings_of("dev", {"postgres": REMOVED})).database is None
