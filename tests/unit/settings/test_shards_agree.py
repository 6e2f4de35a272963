"""The clusters of `postgres` and the shards of `data` are the same ones."""

import pytest

from tests.unit.stacks import STACKS, platform_of, problems_of, settings_of


@pytest.mark.parametrize("stack", STACKS)
def test_both_stacks_name_the_same_shards_twice(stack: str) -> None:
    settings = settings_of(stack)
    assert settings.postgres is not None
    assert settings.data is not None
    assert list(settings.postgres.shards) == list(settings.data.shards)


def test_a_cluster_without_data_is_refused() -> None:
    problems = problems_of("dev", {"postgres/shards": ["s00", "s01"]})
    assert [problem for problem in problems if problem.startswith("postgres.shards")] == [
        (
            "postgres.shards: is ['s00', 's01']; allowed: the names of data.shards, s00: each shard is a cluster of "
            "its own; fix: name the same shards in both"
        )
    ]


@pytest.mark.parametrize("block", ["postgres", "data"])
def test_either_may_be_somebody_elses(block: str) -> None:
    changes = {block: None, "postgres/shards": ["s00", "s01"]} if block == "data" else {block: None}
    assert [p for p in problems_of("dev", changes) if p.startswith("postgres.shards")] == []


@pytest.mark.parametrize("peer", ["postgres", "postgres-s01"])
def test_a_service_must_reach_the_writers_of_every_shard(peer: str) -> None:
    names = {"postgres": "postgres-cluster-pooler-rw", "postgres-s01": "postgres-cluster-s01-pooler-rw"}
    path = "services/gateway-service/egress_to"
    left = [name for name in platform_of("prod")["services"]["gateway-service"]["egress_to"] if name != peer]
    [problem] = problems_of("prod", {path: left})
    assert f"a peer that leads to {names[peer]}: gateway-service is a user of the database" in problem
