"""Bring a running cluster's configuration to what the settings say, and keep its guards there.

PATCH, look again, restart what waits for it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from .members import LEADER, Cluster
from .phases import Json, difference, phases
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
    deadline.wait_for("the cluster to be whole before anything is changed", _Correctable(cluster, desired))
    restarted: list[str] = []
    if not cluster.is_whole():
        _correct(cluster, desired, deadline)
    for patch in phases(cluster.ask("GET", "/config"), desired):
        _patch(cluster, patch)
        _all_have_looked(cluster, deadline)
        restarted += _restart(cluster, deadline)
    # A run that was stopped halfway left members that wait; a run without a change finds them.
    restarted += _restart(cluster, deadline)
    left = difference(cluster.ask("GET", "/config"), desired)
    if left:
        message = f"the configuration still differs: {json.dumps(left, sort_keys=True)}"
        raise RequestError(message)
    print(f"configure: as desired; restarted: {', '.join(restarted) or 'nobody'}", flush=True)
    return restarted


@dataclass(frozen=True, slots=True)
class _Correctable:
    """Whether the cluster is whole, or one of PostgreSQL's settings that are to change may keep a replica down."""

    cluster: Cluster
    desired: Json

    def __call__(self) -> bool:
        if self.cluster.is_whole():
            return True
        try:
            return self.cluster.has_replica_down() and bool(_own(self.cluster, self.desired))
        except RequestError:
            return False


def _correct(cluster: Cluster, desired: Json, deadline: Deadline) -> None:
    """Give a replica that does not start other values to start with; nobody is restarted until all are in step.

    The guards, above all strict replication, wait as well: they could stop the writes of a primary that is alone.
    """
    own = _own(cluster, desired)
    if own:
        print("configure: a replica is down; what it is to start with comes first", flush=True)
        _patch(cluster, {"postgresql": own})
    deadline.wait_for("the cluster to be whole with the new settings", cluster.is_whole)
    # Who waited for a restart only because of the value that is gone says so until it has looked.
    _all_have_looked(cluster, deadline)


def _own(cluster: Cluster, desired: Json) -> Json:
    """What differs in PostgreSQL's own settings."""
    own: Json = difference(cluster.ask("GET", "/config"), desired).get("postgresql", {})
    return own


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
