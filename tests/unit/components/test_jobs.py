"""Jobs of every component: how long the engine waits for them, and what it makes of one that failed."""

import pytest

from tests.unit.stacks import STACKS, recording_of

_NAMED = {"cache-reconciler-job", "migrations-s00-job", "postgres-s00-configure-job"}


@pytest.mark.parametrize("stack", STACKS)
def test_the_engine_waits_as_long_as_the_cluster_lets_a_job_run_and_makes_one_that_failed_anew(stack: str) -> None:
    jobs = {one.name: one.inputs for one in recording_of(stack).resources if one.type == "kubernetes:batch/v1:Job"}
    assert jobs.keys() >= _NAMED
    for name, job in jobs.items():
        annotations = job["metadata"]["annotations"]
        assert annotations["pulumi.com/replaceUnready"] == "true", name
        # The engine's own limit is 600 s.
        assert int(annotations["pulumi.com/timeoutSeconds"]) > job["spec"]["activeDeadlineSeconds"] > 600, name


@pytest.mark.parametrize("stack", STACKS)
def test_the_figures_of_a_shard_come_after_its_own_migration(stack: str) -> None:
    """Beside an older schema there would be none at all, and every alert on that shard would be blind."""
    resources = {one.name: one for one in recording_of(stack).resources}
    shards = [name.split("-")[1] for name in resources if name.startswith("migrations-") and name.endswith("-metrics")]
    assert shards
    for shard in shards:
        jobs = {name for name in resources if name.startswith("migrations-") and name.endswith("-job")}
        found = {name for name in jobs if resources[name].urn in resources[f"migrations-{shard}-metrics"].dependencies}
        assert found == {f"migrations-{shard}-job"}
