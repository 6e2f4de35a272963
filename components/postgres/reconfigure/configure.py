"""Bring a running cluster's configuration to what the settings say, and keep its guards there.

PATCH, look again, restart what waits for it.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from .members import LEADER, Cluster
from .phases import Json, difference, phases, superseded
from .requests import Client, RequestError, read_password
from .waiting import Deadline


def cluster_of(environment: dict[str, str]) -> Cluster:
    """The cluster that the environment names."""
    client = Client.of(
        ca_file=environment["PG_CA_FILE"], cert_file=environment["PG_CERT_FILE"], key_file=environment["PG_KEY_FILE"]
    ).with_login(environment["PG_REST_USER"], read_password(environment["PG_PASSWORD_FILE"]))
    return Cluster(client, environment["PG_MEMBERS"].split(","))


def main() -> None:
    """The command ``configure``."""
    configure(*_arguments())


def keep_main() -> None:
    """The command ``keep``."""
    keep(*_arguments())


def _arguments() -> tuple[Cluster, Json, Deadline]:
    environment = dict(os.environ)
    desired = json.loads(Path(environment["PG_DESIRED_FILE"]).read_text(encoding="utf-8"))
    return cluster_of(environment), desired, Deadline(float(environment["PG_DEADLINE_SECONDS"]))


def configure(cluster: Cluster, desired: Json, deadline: Deadline) -> list[str]:
    """Change what differs; the names of the members that were restarted, in order."""
    start = _Start(cluster, desired)
    deadline.wait_for("the cluster to be whole before anything is changed", start)
    if start.superseded:
        print("configure: the primary does not run this yet, and it is not wanted any more", flush=True)
        _patch(cluster, start.superseded)
        deadline.wait_for("the cluster to be whole with what its primary runs with", cluster.is_whole)
        # Who waited for a restart only because of what is gone says so until it has looked.
        _all_have_looked(cluster, deadline)
    # A run that was stopped halfway left members that wait: before the next change, whose order may be another one.
    restarted = _restart(cluster, deadline)
    for patch in phases(cluster.ask("GET", "/config"), desired):
        _patch(cluster, patch)
        _all_have_looked(cluster, deadline)
        restarted += _restart(cluster, deadline)
    left = difference(cluster.ask("GET", "/config"), desired)
    if left:
        message = f"the configuration still differs: {json.dumps(left, sort_keys=True)}"
        raise RequestError(message)
    print(f"configure: as desired; restarted: {', '.join(restarted) or 'nobody'}", flush=True)
    return restarted


@dataclass(slots=True)
class _Start:
    """Looks whether a change can begin: all members are in step, or a replica is down and a value to be taken back.

    A value that no server starts with stops at the first replica. It would never be whole again, and so nobody could
    correct the value. Nothing else is changed while a member is missing.
    """

    cluster: Cluster
    desired: Json
    superseded: Json = field(default_factory=dict)

    def __call__(self) -> bool:
        try:
            members, current = self.cluster.members(), self.cluster.ask("GET", "/config")
        except RequestError:
            return False
        leader = next((member for member in members if member.role == LEADER and member.in_step), None)
        if leader is None:
            return False
        self.superseded = superseded(leader.pending, current, self.desired)
        return self.cluster.are_whole(members) or (bool(self.superseded) and any(member.is_down for member in members))


def _patch(cluster: Cluster, patch: Json) -> None:
    print(f"configure: patch {json.dumps(patch, sort_keys=True)}", flush=True)
    cluster.ask("PATCH", "/config", patch)


def keep(cluster: Cluster, desired: Json, deadline: Deadline) -> Json:
    """Set back what somebody switched off by hand, above all strict replication; what was set back.

    It waits for a whole cluster: strict replication without a replica in step would stop all writes. PostgreSQL's own
    settings are left to ``configure``: they may ask for restarts, in an order, and nobody watches a schedule.
    """
    deadline.wait_for("the cluster to be whole before anything is set back", cluster.is_whole)
    patch, left = _guards(cluster, desired)
    if patch:
        print(f"keep: patch {json.dumps(patch, sort_keys=True)}", flush=True)
        cluster.ask("PATCH", "/config", patch)
        _all_have_looked(cluster, deadline)
        remaining, left = _guards(cluster, desired)
        if remaining:
            message = f"the configuration still differs: {json.dumps(remaining, sort_keys=True)}"
            raise RequestError(message)
    if left:
        print(f"keep: left to the configuration's Job: {json.dumps(left, sort_keys=True)}", flush=True)
    print("keep: as desired", flush=True)
    return patch


def _guards(cluster: Cluster, desired: Json) -> tuple[Json, Json]:
    """What differs: outside PostgreSQL's own settings, and in them."""
    found = difference(cluster.ask("GET", "/config"), desired)
    own = found.pop("postgresql", {})
    return found, own


def _all_have_looked(cluster: Cluster, deadline: Deadline) -> None:
    """Wait for two more looks of each member at etcd: the first finds the change and ends before the second."""
    for _ in range(2):
        before = cluster.last_looks()
        deadline.wait_for("all members to look at etcd", _Looked(cluster, before))


@dataclass(frozen=True, slots=True)
class _Looked:
    """Whether every member has looked at etcd since."""

    cluster: Cluster
    before: list[int]

    def __call__(self) -> bool:
        return all(new > old for new, old in zip(self.cluster.last_looks(), self.before, strict=True))


def _restart(cluster: Cluster, deadline: Deadline) -> list[str]:
    """Restart who waits for it: the primary last, or first where it is to have less shared memory."""
    members = cluster.members()
    primary_first = any(member.role == LEADER and member.waits_for_less_memory for member in members)
    order = sorted(members, key=lambda member: ((member.role == LEADER) != primary_first, member.name))
    return [member.name for member in order if cluster.restart_pending(member.name, deadline)]
