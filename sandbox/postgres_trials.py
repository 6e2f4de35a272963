"""What may befall the database, done to real processes under load."""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from sandbox.errors import SandboxError
from sandbox.postgres_load import Load, Verdict
from sandbox.postgres_rig import Rig

_BEFORE_SECONDS = 2
_AFTER_SECONDS = 3
_CALM_SECONDS = 1
_RECOVER_SECONDS = 150
_HEAL_SECONDS = 240

Fault = Callable[[Rig], Callable[[], None]]
"""Does the harm and returns what mends it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One fault and what came of it."""

    name: str
    promoted: bool
    """Whether another member became the primary."""
    verdict: Verdict


def _primary(rig: Rig) -> str:
    name = rig.primary()
    if name is None:
        raise SandboxError("there is no primary to harm", next_step="run it again on a quieter machine")
    return name


def _replica(rig: Rig) -> str:
    primary = _primary(rig)
    return next(name for name in rig.host.members if name != primary)


def _collect(rig: Rig, name: str) -> None:
    with suppress(ProcessLookupError):
        rig.processes[name].kill()
    rig.processes[name].wait(30)


def _restart(rig: Rig, name: str) -> Callable[[], None]:
    def mend() -> None:
        _collect(rig, name)
        rig.start_member(name)

    return mend


def graceful_stop(rig: Rig) -> Callable[[], None]:
    """The pod of the primary is deleted: SIGTERM to Patroni."""
    name = _primary(rig)
    rig.processes[name].send_signal(signal.SIGTERM)
    return _restart(rig, name)


def switchover(rig: Rig) -> Callable[[], None]:
    """An operator moves the primary."""
    name = _primary(rig)
    status, answer = rig.rest(name, "/switchover", {"leader": name}, "POST")
    if status != 200:  # noqa: PLR2004
        raise SandboxError(f"the switchover was refused: {answer}", next_step="wait for a synchronous standby")
    return lambda: None


def postmaster_crash(rig: Rig) -> Callable[[], None]:
    """PostgreSQL dies, Patroni lives."""
    pid = rig.postmaster(_primary(rig))
    if pid is not None:
        psutil.Process(pid).kill()
    return lambda: None


def kill_primary(rig: Rig) -> Callable[[], None]:
    """Power off: every process of the primary dies at once."""
    name = _primary(rig)
    rig.signal_member(name, signal.SIGKILL)
    return _restart(rig, name)


def freeze_primary(rig: Rig) -> Callable[[], None]:
    """The primary's host hangs with its sockets open, and wakes up when another one leads."""
    name = _primary(rig)
    rig.signal_member(name, signal.SIGSTOP)
    return lambda: rig.signal_member(name, signal.SIGCONT)


def lose_replica(rig: Rig) -> Callable[[], None]:
    """A replica dies: a quorum of the others goes on."""
    name = _replica(rig)
    rig.signal_member(name, signal.SIGKILL)
    return _restart(rig, name)


def lose_etcd_member(rig: Rig) -> Callable[[], None]:
    """One of three."""
    _collect(rig, "etcd-0")
    return lambda: rig.start_etcd(0)


def lose_all_etcd(rig: Rig) -> Callable[[], None]:
    """All three for longer than a lease: failsafe keeps the primary."""
    for index in range(3):
        _collect(rig, f"etcd-{index}")
    time.sleep(rig.ttl_seconds + 10)

    def mend() -> None:
        for index in range(3):
            rig.start_etcd(index)

    return mend


def roll_poolers(rig: Rig) -> Callable[[], None]:
    """Every pod of the write pooler is replaced, one after the other, as its Deployment does."""
    for index in range(rig.poolers["rw"]):
        rig.drain_pooler("rw", index)
        rig.stop_pooler("rw", index)
        rig.start_pooler("rw", index)
        time.sleep(1)
    return lambda: None


FAULTS: Mapping[str, Fault] = {
    "graceful stop": graceful_stop,
    "switchover": switchover,
    "postmaster crash": postmaster_crash,
    "primary killed": kill_primary,
    "primary frozen": freeze_primary,
    "replica killed": lose_replica,
    "one etcd lost": lose_etcd_member,
    "all etcd lost": lose_all_etcd,
    "pooler rollout": roll_poolers,
}
"""Name in tables → what is done."""
_LOSSES = frozenset({"primary killed", "primary frozen"})
_BUSY_SECONDS = 15
"""Room for a machine of two cores that runs other tests as well: several times what was ever seen above the timers."""
_LIFETIME_SECONDS = {"pooler rollout": 2.0}
"""How old the writers' connections get: two minutes of the contract, in the time that a trial has."""


def promised_seconds(name: str, timers: Mapping[str, int]) -> int:
    """Seconds without writes that a fault may cost by Patroni's own timers, with room for a busy machine.

    ``timers`` is the cluster's dynamic configuration: ``ttl``, ``loop_wait``, ``retry_timeout``,
    ``primary_start_timeout``, all in seconds. It is a bound for tests; what operators are told is much less.
    """
    round_seconds = timers["loop_wait"] + timers["retry_timeout"]
    if name in _LOSSES:
        # The lease runs out, then the others have a round.
        return timers["ttl"] + round_seconds + _BUSY_SECONDS
    if name == "postmaster crash":
        # Patroni sees it within a round and starts it again, or hands over when that takes too long.
        return round_seconds + timers["primary_start_timeout"] + _BUSY_SECONDS
    return round_seconds + _BUSY_SECONDS


def run_trial(rig: Rig, name: str, number: int) -> Trial:
    """One fault under load, mended afterwards. ``number`` keeps the rows of trials apart.

    Raises ``SandboxError`` when writes do not come back or the cluster does not heal.
    """
    rig.wait_healthy(_HEAL_SECONDS)
    before = _primary(rig)
    with Load(rig=rig, first=number * 10, lifetime_seconds=_LIFETIME_SECONDS.get(name)) as load:
        if not load.wait_for_write(0, _RECOVER_SECONDS):
            raise SandboxError(f"{name}: no write was acknowledged before the fault", next_step="look at the poolers")
        time.sleep(_BEFORE_SECONDS)
        fault = time.monotonic()
        mend = FAULTS[name](rig)
        # Writes of the first seconds may still stand on the old primary.
        time.sleep(_AFTER_SECONDS)
        resumed = load.wait_for_write(time.monotonic(), _RECOVER_SECONDS)
        time.sleep(_CALM_SECONDS)
        mend()
        rig.wait_healthy(_HEAL_SECONDS)
        time.sleep(_CALM_SECONDS)
    if not resumed:
        raise SandboxError(f"{name}: no write for {_RECOVER_SECONDS} s", next_step="look at the members' logs")
    return Trial(name=name, promoted=_primary(rig) != before, verdict=load.verdict(fault))
