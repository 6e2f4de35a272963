"""Replace a StatefulSet's outdated pods in order: replicas one by one, then the primary after a switchover."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .configure import cluster_of
from .members import LEADER, SYNCHRONOUS, Cluster, Member
from .requests import Client, RequestError, read_password
from .waiting import Deadline

_SWITCHOVER_SECONDS = 60.0
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one StatefulSet, asked of the Kubernetes API."""

    client: Client
    server: str
    namespace: str
    workload: str

    def revision(self) -> str:
        """The revision that all pods shall have."""
        url = f"{self.server}/apis/apps/v1/namespaces/{self.namespace}/statefulsets/{self.workload}"
        found = self.client.send("GET", url)
        status = found.get("status", {})
        if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
            message = f"the controller has not looked at {self.workload} yet"
            raise RequestError(message)
        return str(status["updateRevision"])

    def all(self) -> list[dict[str, Any]]:
        """The pods as the API shows them."""
        url = f"{self.server}/api/v1/namespaces/{self.namespace}/pods?labelSelector=app%3D{self.workload}"
        items: list[dict[str, Any]] = self.client.send("GET", url)["items"]
        return items

    def delete(self, pod: dict[str, Any]) -> None:
        """Delete exactly this pod, not one that has already taken its name."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        url = f"{self.server}/api/v1/namespaces/{self.namespace}/pods/{name}"
        self.client.send("DELETE", url, {"preconditions": {"uid": uid}})


class Workload(Protocol):
    """What a rollout needs of the pods."""

    def revision(self) -> str:
        """The revision that all pods shall have."""
        ...

    def all(self) -> list[dict[str, Any]]:
        """The pods as the API shows them."""
        ...

    def delete(self, pod: dict[str, Any]) -> None:
        """Delete exactly this pod."""
        ...


def main() -> None:
    """The command ``rollout``."""
    environment = dict(os.environ)
    client = Client.of(ca_file=f"{_ACCOUNT}/ca.crt").with_header(
        "Authorization", f"Bearer {read_password(f'{_ACCOUNT}/token')}"
    )
    pods = Pods(client, api_address(environment), environment["PG_NAMESPACE"], environment["PG_WORKLOAD"])
    roll(cluster_of(environment), pods, Deadline(float(environment["PG_DEADLINE_SECONDS"])))


def api_address(environment: Mapping[str, str]) -> str:
    """Where the kubelet says that the API server is: an address that its certificate names; IPv6 in brackets."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def roll(cluster: Cluster, pods: Workload, deadline: Deadline) -> list[str]:
    """Replace every outdated pod; their names in the order of replacement."""
    deadline.wait_for("the StatefulSet's new revision", lambda: _is_known(pods))
    replaced: list[str] = []
    while True:
        look = _Look(cluster, pods)
        deadline.wait_for("the cluster to be whole, or an outdated replica that is broken", look)
        if not look.outdated:
            print(f"rollout: as desired; replaced: {', '.join(replaced) or 'nobody'}", flush=True)
            return replaced
        if look.chosen is None:
            message = f"these pods are no members of the cluster: {', '.join(sorted(look.outdated))}"
            raise RequestError(message)
        name, pod = look.chosen, look.outdated[look.chosen]
        member = cluster.member(name)
        if member is not None and member.role == LEADER:
            _hand_over(cluster, name, deadline)
        print(f"rollout: delete {name}", flush=True)
        pods.delete(pod)
        deadline.wait_for(f"the new pod {name}", _Replaced(pods, name, pod["metadata"]["uid"]))
        replaced.append(name)


def broken_replica(outdated: Collection[str], ready: Collection[str], members: Sequence[Member]) -> str | None:
    """An outdated pod that is down already, so that its replacement takes nothing away; never the primary's.

    The cluster gets whole no other way when the version before was a bad one. Without a primary nobody is named: the
    pod that is not ready may be the one that has all the data.
    """
    if not any(member.role == LEADER for member in members):
        return None
    serving = {member.name for member in members if member.role == LEADER or member.in_step}
    return min((name for name in outdated if name not in ready and name not in serving), default=None)


def next_member(outdated: Sequence[tuple[str, str]]) -> str | None:
    """Who is replaced next, of (name, role): a replica without a vote, one with a vote, the primary last."""

    def rank(one: tuple[str, str]) -> tuple[int, str]:
        name, role = one
        return (2 if role == LEADER else 1 if role in SYNCHRONOUS else 0, name)

    return min(outdated, key=rank)[0] if outdated else None


@dataclass(slots=True)
class _Look:
    """One look at the pods and the members: whether somebody can be replaced now, and who."""

    cluster: Cluster
    pods: Workload
    outdated: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: str | None = None

    def __call__(self) -> bool:
        try:
            revision, found, members = self.pods.revision(), self.pods.all(), self.cluster.members()
        except RequestError:
            return False
        self.outdated = {pod["metadata"]["name"]: pod for pod in found if _revision_of(pod) != revision}
        ready = {pod["metadata"]["name"] for pod in found if _is_ready(pod)}
        self.chosen = broken_replica(self.outdated, ready, members)
        if self.chosen is not None:
            return True
        if not self.cluster.is_whole():
            return False
        outdated = [member for member in members if member.name in self.outdated]
        # What Patroni says of a member is up to its lease old, and it knows nothing of the other containers.
        down = [member for member in outdated if member.name not in ready and member.role != LEADER]
        self.chosen = next_member([(member.name, member.role) for member in down or outdated])
        leaders = {member.name for member in members if member.role == LEADER}
        others_down = {pod["metadata"]["name"] for pod in found} - ready - leaders - {self.chosen}
        return not self.outdated or bool(down) or not others_down


def _hand_over(cluster: Cluster, leader: str, deadline: Deadline) -> None:
    """Another member becomes primary before this one's pod goes: seconds without writes, not a lease."""
    candidates = [member.name for member in cluster.members() if member.role in SYNCHRONOUS and member.in_step]
    if not candidates:
        message = f"no synchronous replica can take over from {leader}"
        raise RequestError(message)
    body = {"leader": leader, "candidate": candidates[0]}
    print(f"rollout: switchover {leader} -> {candidates[0]}", flush=True)
    cluster.ask("POST", "/switchover", body, timeout_seconds=_SWITCHOVER_SECONDS)
    deadline.wait_for("the new primary", lambda: _leads(cluster, candidates[0]))
    deadline.wait_for("the cluster to be whole", cluster.is_whole)


def _leads(cluster: Cluster, name: str) -> bool:
    member = cluster.member(name)
    return member is not None and member.role == LEADER


def _is_known(pods: Workload) -> bool:
    try:
        pods.revision()
    except RequestError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Replaced:
    """Whether a pod of this name, another one than before, is ready."""

    pods: Workload
    name: str
    uid: str

    def __call__(self) -> bool:
        try:
            found = [pod for pod in self.pods.all() if pod["metadata"]["name"] == self.name]
        except RequestError:
            return False
        return any(pod["metadata"]["uid"] != self.uid and _is_ready(pod) for pod in found)


def _revision_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"].get("labels", {}).get("controller-revision-hash", ""))


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
