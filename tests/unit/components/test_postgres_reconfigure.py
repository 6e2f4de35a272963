"""What the database's Jobs decide: the patch, its order, who restarts and who is replaced first."""

import copy
import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.postgres.reconfigure.configure import configure, keep
from components.postgres.reconfigure.etcd import encoded, prefix_range
from components.postgres.reconfigure.etcd_snapshot import prune, verify
from components.postgres.reconfigure.members import Cluster
from components.postgres.reconfigure.phases import SHARED_MEMORY, difference, phases, superseded, takes_less_memory
from components.postgres.reconfigure.requests import RequestError
from components.postgres.reconfigure.rollout import next_member, roll
from components.postgres.reconfigure.waiting import Deadline, DeadlineError

NAMES = ("work_mem", "wal_level", *SHARED_MEMORY)
parameters = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), max_size=len(NAMES))


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, as Patroni applies it."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(found=parameters, wanted=parameters)
def test_all_phases_together_lead_to_what_is_desired_and_nothing_is_left(
    found: dict[str, int], wanted: dict[str, int]
) -> None:
    current: dict[str, Any] = {"ttl": 30, "pause": True, "postgresql": {"parameters": found, "use_slots": True}}
    desired = {"ttl": 20, "postgresql": {"parameters": wanted}}
    for patch in phases(current, desired):
        current = merged(current, patch)
    assert difference(current, desired) == {}
    assert current["postgresql"]["parameters"] == wanted
    assert current["pause"] is True, "what somebody else set stays"


@given(found=parameters, wanted=parameters)
def test_no_step_takes_less_of_one_and_more_of_another(found: dict[str, int], wanted: dict[str, int]) -> None:
    current: dict[str, Any] = {"postgresql": {"parameters": found}}
    for step, patch in enumerate(phases(current, {"postgresql": {"parameters": wanted}})):
        changed = patch["postgresql"]["parameters"]
        shared = set(changed) & set(SHARED_MEMORY) & set(found)
        lowered = {changed[name] is None or changed[name] < found[name] for name in shared}
        assert len(lowered) < 2, patch
        assert step == 0 or lowered == {True}, "what takes more comes first"


@pytest.mark.parametrize(
    ("pending", "expected"),
    [
        ({}, False),
        ({"max_connections": {"old_value": "100", "new_value": "90"}}, True),
        ({"max_connections": {"old_value": "90", "new_value": "100"}}, False),
        # A standby replays with less of this one.
        ({"shared_buffers": {"old_value": "4GB", "new_value": "1GB"}}, False),
        ({"max_wal_senders": {"old_value": "", "new_value": "10"}}, False),
        (
            {
                "max_connections": {"old_value": "9", "new_value": "10"},
                "max_wal_senders": {"old_value": "10", "new_value": "9"},
            },
            True,
        ),
    ],
)
def test_a_restart_that_takes_less_shared_memory_is_known_by_its_reason(pending: Any, expected: bool) -> None:  # noqa: FBT001
    assert takes_less_memory(pending) is expected


def test_numbers_and_their_texts_are_the_same() -> None:
    assert difference({"ttl": "20", "loop_wait": 5}, {"ttl": 20, "loop_wait": "5"}) == {}
    assert difference({"failsafe_mode": False}, {"failsafe_mode": True}) == {"failsafe_mode": True}


class FakePatroni:
    """A cluster's REST API in memory: roles, a pending restart after some parameters, looks at etcd."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config: dict[str, Any] = copy.deepcopy(config)
        self.roles = {"m-0": "leader", "m-1": "quorum_standby", "m-2": "replica"}
        self.pending: set[str] = set()
        self.calls: list[tuple[str, str, str, Any]] = []
        self.looks = 0
        self.states: dict[str, str] = {}
        self.reasons: dict[str, dict[str, str]] = {}
        """Why all of the pending ones wait, as Patroni says it."""
        self.starts_with: Callable[[dict[str, Any]], bool] = lambda _: True
        """Whether the members that are down come up with a configuration."""

    def send(self, method: str, url: str, body: Any = None, *, timeout_seconds: float = 1.0) -> Any:
        del timeout_seconds
        host, _, path = url.removeprefix("https://").partition("/")
        name = host.partition(".")[0]
        if (method, path) == ("GET", "config"):
            return copy.deepcopy(self.config)
        if (method, path) == ("GET", "cluster"):
            return {"members": [self._member(one, role) for one, role in self.roles.items()]}
        if (method, path) == ("GET", "patroni"):
            self.looks += 1
            return {"dcs_last_seen": self.looks}
        self.calls.append((method, path, name, copy.deepcopy(body)))
        if method == "PATCH":
            self._patch(body)
        elif path == "restart":
            assert body == {"restart_pending": True}
            self.pending.discard(name)
            if not self.pending:
                self.reasons.clear()
        elif path == "switchover":
            self.roles[body["leader"]], self.roles[body["candidate"]] = "quorum_standby", "leader"
        return "done"

    def _patch(self, body: Any) -> None:
        before = self.config["postgresql"]["parameters"]
        self.config = merged(self.config, body)
        for key in set(body.get("postgresql", {}).get("parameters", {})) & set(SHARED_MEMORY):
            runs_with = self.reasons.get(key, {}).get("old_value", str(before.get(key, "")))
            after = str(self.config["postgresql"]["parameters"].get(key, ""))
            self.reasons[key] = {"old_value": runs_with, "new_value": after}
            self.pending.update(self.roles)
            if runs_with == after:
                del self.reasons[key]
        if not self.reasons:
            self.pending.clear()
        if self.states and self.starts_with(self.config):
            self.pending -= set(self.states)
            self.states.clear()

    def _member(self, name: str, role: str) -> dict[str, Any]:
        state = {
            "name": name,
            "role": role,
            "state": self.states.get(name, "streaming"),
            "api_url": f"https://10.0.0.1:8008/{name}",
        }
        return (
            state
            | ({} if role == "leader" else {"lag": 0})
            | ({"pending_restart": True, "pending_restart_reason": self.reasons} if name in self.pending else {})
        )


def cluster_of(fake: FakePatroni) -> Cluster:
    return Cluster(fake, [f"https://{name}.pods:8008" for name in fake.roles])


def config(**values: int) -> dict[str, Any]:
    return {"ttl": 20, "postgresql": {"parameters": values}}


def test_more_shared_memory_reaches_replicas_first_and_less_the_primary_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config(max_connections=100))
    assert configure(cluster_of(fake), config(max_connections=200), Deadline(30)) == ["m-1", "m-2", "m-0"]
    fake.calls.clear()
    assert configure(cluster_of(fake), config(max_connections=150), Deadline(30)) == ["m-0", "m-1", "m-2"]
    assert fake.calls[0][:2] == ("PATCH", "config")


def test_a_second_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config(work_mem=4))
    assert configure(cluster_of(fake), config(work_mem=8), Deadline(30)) == []
    assert [call[1] for call in fake.calls] == ["config"]
    fake.calls.clear()
    assert configure(cluster_of(fake), config(work_mem=8), Deadline(30)) == []
    assert fake.calls == []


def test_a_run_that_was_stopped_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config(max_connections=200))
    fake.pending.update({"m-0", "m-2"})
    assert configure(cluster_of(fake), config(max_connections=200), Deadline(30)) == ["m-2", "m-0"]
    # Patroni keeps a replica's pending for as long as its primary has more.
    fake.pending.update({"m-0", "m-2"})
    fake.reasons = {"max_connections": {"old_value": "300", "new_value": "200"}}
    assert configure(cluster_of(fake), config(max_connections=200), Deadline(30)) == ["m-0", "m-2"]


def broken(**running: int) -> FakePatroni:
    """A replica does not start with 9000 connections; the others run as they did, and wait."""
    fake = FakePatroni(config(max_connections=9000, work_mem=4) | {"synchronous_mode_strict": False})
    fake.states["m-1"] = "start failed"
    fake.pending.update({"m-0", "m-2"})
    fake.reasons = {name: {"old_value": str(value), "new_value": "9000"} for name, value in running.items()}
    fake.starts_with = lambda found: found["postgresql"]["parameters"]["max_connections"] < 1000
    return fake


def test_what_a_replica_cannot_start_with_is_taken_back_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = broken(max_connections=100)
    desired = config(max_connections=200, work_mem=8) | {"synchronous_mode_strict": True}
    assert configure(cluster_of(fake), desired, Deadline(30)) == ["m-1", "m-2", "m-0"]
    assert [body for method, _, _, body in fake.calls if method == "PATCH"] == [
        {"postgresql": {"parameters": {"max_connections": 100}}},
        {"postgresql": {"parameters": {"max_connections": 200, "work_mem": 8}}, "synchronous_mode_strict": True},
    ]
    assert [call[1] for call in fake.calls][:2] == ["config", "config"], "nobody restarts before all are in step"


def test_a_value_that_the_primary_runs_is_not_what_keeps_a_replica_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = broken()
    fake.pending.clear()
    with pytest.raises(DeadlineError, match="whole before anything is changed"):
        configure(cluster_of(fake), config(max_connections=200), Deadline(0.05))
    assert fake.calls == []


def test_what_is_still_wanted_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = broken(max_connections=100)
    with pytest.raises(DeadlineError, match="whole before anything is changed"):
        configure(cluster_of(fake), config(max_connections=9000, work_mem=8), Deadline(0.05))
    assert fake.calls == []


def test_an_unfinished_change_ends_before_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they would ask for two orders."""
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config(max_connections=200, max_wal_senders=10))
    fake.pending.update(fake.roles)
    fake.reasons = {"max_connections": {"old_value": "100", "new_value": "200"}}
    restarted = configure(cluster_of(fake), config(max_connections=200, max_wal_senders=8), Deadline(30))
    assert restarted == ["m-1", "m-2", "m-0", "m-0", "m-1", "m-2"]


def test_one_look_without_an_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config(max_connections=100, max_wal_senders=10))
    cluster, answers = cluster_of(fake), iter([False, True])
    members = cluster.members
    monkeypatch.setattr(Cluster, "members", lambda _: members() if next(answers, True) else [])
    assert configure(cluster, config(max_connections=200, max_wal_senders=8), Deadline(30))[:3] == ["m-1", "m-2", "m-0"]
    assert fake.calls[0][3] == {"postgresql": {"parameters": {"max_connections": 200}}}


@pytest.mark.parametrize(
    ("pending", "found", "wanted", "back"),
    [
        ({}, {"work_mem": 4}, {"work_mem": 8}, {}),
        ({"shared_preload_libraries": "a"}, {"shared_preload_libraries": "b"}, {"shared_preload_libraries": "a"},
         {"shared_preload_libraries": "a"}),
        ({"shared_buffers": "1GB"}, {"shared_buffers": "9TB"}, {}, {"shared_buffers": None}),
        ({"max_connections": "100"}, {"max_connections": 900}, {"max_connections": 200}, {"max_connections": 100}),
        ({"max_connections": ""}, {"max_connections": 900}, {"max_connections": 200}, {"max_connections": 200}),
        ({"max_connections": "100"}, {"max_connections": 200}, {"max_connections": 200}, {}),
    ],
)  # fmt: skip
def test_what_nobody_runs_or_wants_is_taken_back(pending: Any, found: Any, wanted: Any, back: Any) -> None:
    reasons = {name: {"old_value": value, "new_value": "?"} for name, value in pending.items()}
    current, desired = ({"postgresql": {"parameters": values}} for values in (found, wanted))
    assert superseded(reasons, current, desired) == ({"postgresql": {"parameters": back}} if back else {})


@pytest.mark.parametrize(
    ("states", "roles"),
    [
        pytest.param({"m-1": "start failed"}, {}, id="other values do not help"),
        pytest.param({"m-0": "start failed", "m-1": "start failed"}, {}, id="the primary does not serve"),
        pytest.param({"m-1": "start failed"}, {"m-0": "replica"}, id="nobody leads"),
        pytest.param({"m-1": "creating replica"}, {}, id="it is on its way"),
    ],
)
def test_a_cluster_that_is_not_whole_is_not_restarted(
    states: dict[str, str], roles: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = broken(max_connections=100)
    fake.states, fake.roles = states, fake.roles | roles
    fake.starts_with = lambda _: False
    with pytest.raises(DeadlineError, match="whole"):
        configure(cluster_of(fake), config(max_connections=200), Deadline(0.05))
    assert all(call[0] == "PATCH" for call in fake.calls)
    assert bool(fake.calls) == (states == {"m-1": "start failed"} and not roles)


def test_nothing_is_changed_while_a_member_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config(work_mem=4))
    cluster = cluster_of(fake)
    del fake.roles["m-2"]
    with pytest.raises(DeadlineError, match="whole before anything is changed"):
        configure(cluster, config(work_mem=8), Deadline(0.05))
    assert fake.calls == []


def test_strict_replication_that_somebody_switched_off_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    desired = config(max_connections=200) | {"synchronous_mode_strict": True, "failsafe_mode": True}
    by_hand = config(max_connections=300) | {"synchronous_mode_strict": False, "failsafe_mode": True, "pause": True}
    fake = FakePatroni(by_hand)
    assert keep(cluster_of(fake), desired, Deadline(5)) == {"synchronous_mode_strict": True}
    # Nothing that may need a restart, and nobody's pause of this minute.
    assert fake.calls == [("PATCH", "config", "m-0", {"synchronous_mode_strict": True})]
    assert fake.config == by_hand | {"synchronous_mode_strict": True}
    assert keep(cluster_of(fake), desired, Deadline(5)) == {}
    assert len(fake.calls) == 1


def test_strict_replication_does_not_come_back_before_a_replica_is_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stop all writes, which is why somebody switched it off."""
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config() | {"synchronous_mode_strict": False})
    fake.states["m-1"] = "starting"
    with pytest.raises(DeadlineError, match="whole before anything is set back"):
        keep(cluster_of(fake), config() | {"synchronous_mode_strict": True}, Deadline(0.05))
    assert fake.calls == []


class FakePods:
    """The pods of the StatefulSet; a deleted one is back at once with the new revision, ready and in step."""

    def __init__(self, outdated: set[str], *, down: Collection[str] = (), patroni: FakePatroni | None = None) -> None:
        self.down, self.patroni = set(down), patroni
        self.revisions = {name: "old" if name in outdated else "new" for name in ("m-0", "m-1", "m-2")}
        self.deleted: list[str] = []

    def revision(self) -> str:
        return "new"

    def all(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {
                    "name": name,
                    "uid": f"{name}-{revision}",
                    "labels": {"controller-revision-hash": revision},
                },
                "status": {"conditions": [{"type": "Ready", "status": str(name not in self.down)}]},
            }
            for name, revision in self.revisions.items()
        ]

    def delete(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self.deleted.append(name)
        self.revisions[name] = "new"
        self.down.discard(name)
        if self.patroni is not None:
            self.patroni.states.pop(name, None)
            self.patroni.roles.setdefault(name, "replica")


def test_replicas_are_replaced_first_and_the_primary_after_a_switchover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake, pods = FakePatroni(config()), FakePods({"m-0", "m-1", "m-2"})
    assert roll(cluster_of(fake), pods, Deadline(30)) == ["m-2", "m-1", "m-0"]
    assert [call[1] for call in fake.calls] == ["switchover"]
    assert fake.roles["m-0"] != "leader", "the last pod that went was not the primary any more"


def test_pods_of_the_right_revision_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake, pods = FakePatroni(config()), FakePods(set())
    assert roll(cluster_of(fake), pods, Deadline(30)) == []
    assert (fake.calls, pods.deleted) == ([], [])


def test_a_replica_that_a_bad_version_left_down_is_replaced_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config())
    cluster = cluster_of(fake)
    pods = FakePods({"m-0", "m-1", "m-2"}, down={"m-1"}, patroni=fake)
    fake.states["m-1"] = "start failed"
    assert roll(cluster, pods, Deadline(5)) == ["m-1", "m-2", "m-0"]
    # One whose Patroni never started is no member at all.
    pods = FakePods({"m-0"}, down={"m-0"}, patroni=fake)
    del fake.roles["m-0"]
    assert roll(cluster, pods, Deadline(5)) == ["m-0"]
    # Only another container of it is broken: PostgreSQL is in step, and yet it is the first.
    assert roll(cluster, FakePods({"m-0", "m-2"}, down={"m-2"}, patroni=fake), Deadline(5)) == ["m-2", "m-0"]


@pytest.mark.parametrize(
    ("roles", "outdated", "down", "states"),
    [
        pytest.param(
            {"m-0": "leader", "m-1": "quorum_standby", "m-2": "replica"},
            {"m-0", "m-1"},
            {"m-2"},
            {"m-2": "start failed"},
            id="the new version is the bad one",
        ),
        pytest.param(
            {"m-0": "leader", "m-1": "quorum_standby", "m-2": "replica"},
            {"m-1"},
            {"m-2"},
            {},
            id="Patroni's word is older than the pod's",
        ),
        pytest.param(
            {"m-0": "replica", "m-1": "replica", "m-2": "replica"},
            {"m-0", "m-1", "m-2"},
            {"m-0"},
            {"m-0": "stopped"},
            id="nobody leads: it may be the one with all the data",
        ),
        pytest.param(
            {"m-0": "leader", "m-1": "quorum_standby", "m-2": "replica"},
            {"m-0", "m-1"},
            {"m-0", "m-2"},
            {"m-0": "starting", "m-2": "crashed"},
            id="never the primary",
        ),
    ],
)
def test_no_pod_is_taken_away_while_another_is_down(
    roles: dict[str, str],
    outdated: set[str],
    down: set[str],
    states: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config())
    fake.roles, fake.states = roles, states
    pods = FakePods(outdated, down=down)
    with pytest.raises(DeadlineError, match="whole"):
        roll(cluster_of(fake), pods, Deadline(0.05))
    assert (fake.calls, pods.deleted) == ([], [])


def test_a_primary_with_a_broken_exporter_is_still_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.postgres.reconfigure.waiting.PAUSE_SECONDS", 0.0)
    fake = FakePatroni(config())
    pods = FakePods({"m-0", "m-1", "m-2"}, down={"m-0"})
    assert roll(cluster_of(fake), pods, Deadline(5)) == ["m-2", "m-1", "m-0"]


def test_the_order_of_replacement() -> None:
    assert next_member([("m-0", "leader"), ("m-1", "sync_standby"), ("m-2", "replica")]) == "m-2"
    assert next_member([("m-0", "leader"), ("m-1", "sync_standby")]) == "m-1"
    assert next_member([]) is None


def test_a_prefix_ends_where_the_next_one_begins() -> None:
    assert prefix_range("/payments/s00/") == {
        "key": encoded(b"/payments/s00/"),
        "range_end": encoded(b"/payments/s000"),
    }


def test_a_snapshot_is_kept_only_with_its_checksum(tmp_path: Path) -> None:
    content = bytes(1024)
    path = tmp_path / "snapshot-1.db"
    path.write_bytes(content + hashlib.sha256(content).digest())
    verify(path)
    path.write_bytes(content[:-1] + b"x" + hashlib.sha256(content).digest())
    with pytest.raises(RequestError, match="checksum"):
        verify(path)
    path.write_bytes(content)
    with pytest.raises(RequestError, match="cut off"):
        verify(path)


def test_the_newest_snapshots_are_kept(tmp_path: Path) -> None:
    names = [f"snapshot-2026010{day}T000000Z.db" for day in range(1, 6)]
    for name in names:
        (tmp_path / name).touch()
    prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == names[-2:]
