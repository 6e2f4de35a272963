"""The database's settings: the invariants hold for what is accepted, and a refusal names the numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from settings.postgres import MARGIN_SECONDS, PRESETS, Postgres, Preset, Timers
from settings.postgres_pools import DatabasePooler, PoolerPods
from tests.unit.stacks import problems_of, settings_of

small = st.integers(min_value=2, max_value=12)


@given(ttl=st.integers(20, 120), loop=st.integers(1, 60), retry=st.integers(3, 60))
def test_a_lease_outlives_a_loop_and_two_retries_or_is_refused(ttl: int, loop: int, retry: int) -> None:
    values = {"ttl_seconds": ttl, "loop_wait_seconds": loop, "retry_timeout_seconds": retry}
    fits = loop + 2 * retry + MARGIN_SECONDS <= ttl
    if fits:
        Timers(**values, primary_start_timeout_seconds=20)
    else:
        with pytest.raises(ValidationError, match=f"= {loop + 2 * retry},"):
            Timers(**values, primary_start_timeout_seconds=20)


@pytest.mark.parametrize("preset", Preset)
def test_presets_are_the_published_ones(preset: Preset) -> None:
    timers = PRESETS[preset]
    figures = (timers.ttl_seconds, timers.loop_wait_seconds, timers.retry_timeout_seconds)
    assert figures == {Preset.FAST: (20, 5, 5), Preset.NORM: (30, 5, 10)}[preset]


def test_patronis_own_defaults_are_refused_with_the_sum() -> None:
    timers = {
        "ttl_seconds": 30,
        "loop_wait_seconds": 10,
        "retry_timeout_seconds": 10,
        "primary_start_timeout_seconds": 300,
    }
    [problem] = problems_of("prod", {"postgres/timers": timers})
    assert problem.startswith("postgres.timers:")
    assert "= 30" in problem
    assert "raise ttl_seconds to 35" in problem


@given(
    shards=st.integers(1, 5),
    preset=st.sampled_from(list(Preset)),
    pods=st.tuples(small, st.integers(4, 60), st.integers(0, 4), small, st.integers(4, 60), st.integers(0, 4)),
    room=st.tuples(st.integers(50, 600), st.integers(10, 60)),
)
def test_accepted_pools_fit_one_node_at_every_moment_of_a_rollout(
    shards: int,
    preset: Preset,
    pods: tuple[int, int, int, int, int, int],
    room: tuple[int, int],
) -> None:
    (max_connections, reserved), rw, ro = room, pods[:3], pods[3:]
    base = settings_of("prod").postgres
    assert base is not None
    document = base.model_dump(mode="python")
    document |= {"shards": [f"s{index:02d}" for index in range(shards)], "preset": preset}
    document |= {"max_connections": max_connections, "reserved_connections": reserved}
    for field, (replicas, connections, surge) in (("read_write", rw), ("read_only", ro)):
        document["pooler"][field] = {
            "replicas": replicas,
            "server_connections_per_pod": connections,
            "surge": surge,
        }
    # Per pod: its own connections and the two that look up passwords. Per Deployment, while it rolls: the pods beyond
    # its replicas, and as many (one at least) that wait for their clients to leave.
    needed = sum((replicas + surge + max(1, surge)) * (connections + 2) for replicas, connections, surge in (rw, ro))
    if needed <= max_connections - reserved:
        assert Postgres.model_validate(document).pooler.peak_server_connections == needed
    else:
        with pytest.raises(ValidationError, match=f"= {needed} connections"):
            Postgres.model_validate(document)


def test_the_peak_counts_every_pod_of_a_rollout_once() -> None:
    pooler = DatabasePooler(
        image="registry.example.com/pgbouncer:1.25.2",
        haproxy_image="registry.example.com/haproxy:3.2.8",
        read_write=PoolerPods(replicas=3, server_connections_per_pod=20),
        read_only=PoolerPods(replicas=2, server_connections_per_pod=10, surge=2),
    )
    assert pooler.peak_server_connections == 4 * 22 + 6 * 12
    assert pooler.budget_text() == "(3 + 0 + 1) * (20 + 2) + (2 + 2 + 2) * (10 + 2)"


@given(grace=st.integers(60, 3600))
def test_clients_have_left_a_pooler_before_it_is_killed_and_not_sooner_than_they_must(grace: int) -> None:
    base = settings_of("prod").postgres
    assert base is not None
    lifetime = base.pooler.model_copy(update={"grace_period_seconds": grace}).client_lifetime_seconds
    # The wait before SIGTERM is a part of the grace period; a last transaction may begin at the connection's end.
    assert 10 <= lifetime <= grace - 10 - 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"postgres/etcd/members": 4}, ["postgres.etcd", "members 4 is even", "use 3 or 5"]),
        ({"postgres/storage/max_slot_wal_keep_size": "250Gi"}, ["50 % of size 500Gi", "250Gi"]),
        ({"postgres/shards": ["s00", "s02"]}, ["s00, s02", "expected s00, s01"]),
        ({"postgres/users/wallet-service": "payments_migrator"}, ["postgres.users.wallet-service", "payments_app"]),
        ({"postgres/database": "other"}, ["postgres.database", "data.database, payments"]),
        ({"postgres/resources/limits/cpu": "5000m"}, ["less than twice requests.cpu 4000m", "freeze Patroni"]),
        ({"postgres/max_connections": 180}, ["= 160 connections", "leaves 155"]),
        ({"cluster/namespaces/database": "payments"}, ["cluster.namespaces.database", "namespace of its own"]),
        ({"postgres/backup": None}, ["postgres.backup", "a backup in prod"]),
        ({"postgres/operations/api_server": "kubernetes"}, ["postgres.operations.api_server", "kubernetes-api"]),
        ({"postgres/pooler/client_connections_per_pod": 900}, ["they accept 1800", "2000"]),
        ({"cluster/zones": ["zone-a", "zone-b"]}, ["postgres.nodes", "2 of 3 are lost with one zone"]),
    ],
)
def test_refusals_name_the_place_and_the_numbers(changes: dict[str, object], words: list[str]) -> None:
    text = "\n".join(problems_of("prod", changes))
    for word in words:
        assert word in text, text


def test_a_user_needs_a_way_to_the_pooler() -> None:
    peers = ["kafka", "redis", "redis-local"]
    found = problems_of("prod", {"services/wallet-service/egress_to": peers})
    assert any("postgres-cluster-pooler-rw" in problem and "wallet-service" in problem for problem in found), found
