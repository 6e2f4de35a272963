"""Jobs of the database: one after the other, and made anew after a failure."""

import pytest

from cli.recording import Recorded
from tests.unit.stacks import STACKS, recording_of


def once(stack: str) -> dict[str, Recorded]:
    """Suffix of the resource's name → Job of the first shard."""
    return {
        one.name.rpartition("s00-")[2]: one
        for one in recording_of(stack).resources
        if one.type == "kubernetes:batch/v1:Job" and one.name.endswith(("s00-rollout-job", "s00-configure-job"))
    }


@pytest.mark.parametrize("stack", STACKS)
def test_members_are_replaced_before_they_are_configured_and_never_both_at_once(stack: str) -> None:
    """Two Jobs that both find the cluster whole would each take a member away."""
    jobs = once(stack)
    assert set(jobs) == {"rollout-job", "configure-job"}
    assert jobs["rollout-job"].urn in jobs["configure-job"].dependencies
    assert jobs["configure-job"].urn not in jobs["rollout-job"].dependencies


@pytest.mark.parametrize("stack", STACKS)
def test_a_job_that_failed_is_made_anew(stack: str) -> None:
    for job in once(stack).values():
        assert job.inputs["metadata"]["annotations"]["pulumi.com/replaceUnready"] == "true"


@pytest.mark.parametrize("stack", STACKS)
def test_a_member_that_a_bad_version_left_down_does_not_keep_the_rollout_from_starting(stack: str) -> None:
    """The engine does not wait for the members: the rollout does, and it can replace one."""
    resources = {one.name: one for one in recording_of(stack).resources}
    members = resources["postgres-s00-statefulset"]
    assert members.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    jobs = [name for name, one in resources.items() if one.type == "kubernetes:batch/v1:Job" and "-s00-" in name]
    for name in jobs:
        if members.urn in resources[name].dependencies and name != "postgres-s00-rollout-job":
            assert resources["postgres-s00-rollout-job"].urn in resources[name].dependencies, name


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_switched_off_by_hand_is_set_back_hourly_from_the_same_file(stack: str) -> None:
    resources = {one.name: one for one in recording_of(stack).resources}
    hourly = resources["postgres-s00-keep-cronjob"].inputs["spec"]
    assert hourly["schedule"].split()[1:] == ["*"] * 4
    kept = hourly["jobTemplate"]["spec"]["template"]["spec"]
    once_only = once(stack)["configure-job"].inputs["spec"]["template"]["spec"]
    command = once_only["containers"][0]["command"]
    assert kept["containers"][0]["command"] == [*command[:-1], "keep"] != command
    assert kept["containers"][0]["env"] == once_only["containers"][0]["env"]
    assert kept["volumes"] == once_only["volumes"]


@pytest.mark.parametrize("stack", STACKS)
def test_a_drain_takes_no_member_that_is_not_ready_while_another_is_down(stack: str) -> None:
    """All members of etcd are not ready without a quorum; a pooler that is not ready holds up nobody."""
    budgets = {
        one.name: one.inputs["spec"]
        for one in recording_of(stack).resources
        if one.type.endswith(":PodDisruptionBudget") and one.name.startswith("postgres-")
    }
    for name, of_pods in {
        "postgres-etcd-pdb": "postgres-etcd",
        "postgres-s00-pdb": "postgres-cluster",
        "postgres-s00-pooler-rw-pdb": "postgres-cluster-pooler-rw",
        "postgres-s00-pooler-ro-pdb": "postgres-cluster-pooler-ro",
    }.items():
        assert budgets[name] == {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow" if "pooler" in name else "IfHealthyBudget",
            "selector": {"matchLabels": {"app": of_pods}},
        }
