"""The declared pods as they can be reached: looking at them, and carrying out steps on them."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from .protocol import Access, Connection, ServerError
from .steps import Assign, Detach, Failover, Forget, Meet, Move, Remove, Replicate, Settle, Step
from .view import Member, View, parse_nodes

_KEYS_AT_ONCE = 100
_MIGRATE_TIMEOUT_MILLISECONDS = 5000
_BATCH_SECONDS = 60.0
_BATCH_POLL_SECONDS = 0.05
# What a server answers when another run, or an earlier one that was killed, has done the same already.
_DONE_ALREADY = ("Unknown node", "is already busy", "already unassigned", "can't failover a master", "is a master")


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What is declared."""

    nodes: tuple[tuple[str, int], ...]
    """Host name and port of each pod, in order of its ordinal."""
    primaries: int
    leaving: int
    """Number of the last pods that are to be emptied and forgotten."""
    zone_parameter: str
    """Name of the server's setting that holds the zone of its pod."""


class Cluster:
    """Open connections to the pods; one that broke is opened again at the next look."""

    def __init__(self, goal: Goal, access: Access) -> None:
        self._goal = goal
        self._access = access
        self._open: dict[str, Connection] = {}
        self._moves_batches = True

    def look(self) -> View:
        """Ask every pod what it knows. Pods that do not answer are named, never guessed at."""
        members: list[Member] = []
        unreachable: list[str] = []
        for ordinal, (host, port) in enumerate(self._goal.nodes):
            try:
                members.append(self._member(ordinal, host, port))
            except (OSError, ServerError) as error:
                self._drop(host)
                unreachable.append(f"{host} ({_reason(error)})")
        return View(
            members=tuple(members),
            unreachable=tuple(unreachable),
            primaries_wanted=self._goal.primaries,
            leaving_from=len(self._goal.nodes) - self._goal.leaving,
        )

    def carry_out(self, step: Step) -> None:  # noqa: C901 # one case per kind of step
        """Do what a step says. Raises ``OSError`` or ``ServerError``; the next look tells what is left to do."""
        match step:
            case Meet():
                self._call(step.teller, "CLUSTER", "MEET", step.newcomer.address, self._port(step.newcomer))
            case Forget():
                for member in step.members:
                    self._repeatable(member, "CLUSTER", "FORGET", step.ghost.id)
            case Assign():
                self._repeatable(step.primary, "CLUSTER", "ADDSLOTS", *step.slots)
            case Replicate():
                self._call(step.replica, "CLUSTER", "REPLICATE", step.primary.id)
            case Failover():
                self._repeatable(step.replica, "CLUSTER", "FAILOVER", *(("TAKEOVER",) if step.force else ()))
            case Detach():
                self._call(step.replica, "CLUSTER", "RESET", "SOFT")
            case Settle():
                self._call(step.member, "CLUSTER", "SETSLOT", step.slot, "STABLE")
            case Move():
                self._move_all(step)
            case Remove():
                for member in step.others:
                    self._repeatable(member, "CLUSTER", "FORGET", step.member.id)
                self._call(step.member, "CLUSTER", "RESET", "HARD")
            case _:
                pass

    def connections(self) -> Iterator[tuple[str, int]]:
        """Host and port of the pods that answered last."""
        return ((host, port) for host, port in self._goal.nodes if host in self._open)

    def close(self) -> None:
        """Close every connection."""
        for host in list(self._open):
            self._drop(host)

    def _member(self, ordinal: int, host: str, port: int) -> Member:
        if host not in self._open:
            self._open[host] = Connection(host, port, self._access)
        connection = self._open[host]
        identity, known = parse_nodes(connection.text("CLUSTER", "NODES"))
        zone = connection.call("CONFIG", "GET", self._goal.zone_parameter)
        replication = connection.text("INFO", "replication")
        return Member(
            ordinal=ordinal,
            name=host.partition(".")[0] if not host[0].isdigit() else host,
            address=connection.address,
            zone=_zone(zone),
            id=identity,
            known=known,
            state_ok="cluster_state:ok" in connection.text("CLUSTER", "INFO"),
            link_up="master_link_status:down" not in replication,
        )

    def _move_all(self, move: Move) -> None:
        """Let the servers move a batch where they can (Valkey 9), else slot by slot."""
        if not move.resume and self._moves_batches:
            try:
                self._call(
                    move.source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *_ranges(move.slots), "NODE", move.target.id
                )
            except ServerError as error:
                if "unknown subcommand" not in str(error).lower():
                    raise
                self._moves_batches = False
            else:
                self._await_batch(move.source)
                return
        for slot in move.slots:
            self._move(move, slot)

    def _await_batch(self, source: Member) -> None:
        """Until the source has no batch under way; what became of it is seen at the next look."""
        deadline = time.monotonic() + _BATCH_SECONDS
        while time.monotonic() < deadline:
            jobs = self._call(source, "CLUSTER", "GETSLOTMIGRATIONS")
            states = [_job_state(job) for job in jobs] if isinstance(jobs, list) else []
            if all(state in ("success", "failed", "cancelled") for state in states):
                return
            time.sleep(_BATCH_POLL_SECONDS)

    def _move(self, move: Move, slot: int) -> None:
        """One slot with its keys.

        Keys that lie on the target before the slot is opened come from an earlier attempt and may be older than the
        source's, or deleted there: they are dropped. Once the source is migrating, what the target gets is current.
        """
        source, target = move.source, move.target
        if not move.resume:
            self._call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
            self._drop_strays(target, slot)
            self._call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := self._keys(source, slot):
            login = ("AUTH2", self._access.user, self._access.auth)
            self._call(
                source, "MIGRATE", target.address, self._port(target), "", 0, _MIGRATE_TIMEOUT_MILLISECONDS, "REPLACE",
                *login, "KEYS", *keys,
            )  # fmt: skip
        self._call(target, "CLUSTER", "SETSLOT", slot, "NODE", target.id)
        self._call(source, "CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def _drop_strays(self, target: Member, slot: int) -> None:
        while keys := self._keys(target, slot):
            for key in keys:
                self._call(target, "ASKING")
                self._call(target, "UNLINK", key)

    def _keys(self, member: Member, slot: int) -> list[bytes]:
        found = self._call(member, "CLUSTER", "GETKEYSINSLOT", slot, _KEYS_AT_ONCE)
        return [key for key in found if isinstance(key, bytes)] if isinstance(found, list) else []

    def _call(self, member: Member, *arguments: str | int | bytes) -> object:
        host, _ = self._goal.nodes[member.ordinal]
        return self._open[host].call(*arguments)

    def _repeatable(self, member: Member, *arguments: str | int | bytes) -> None:
        try:
            self._call(member, *arguments)
        except ServerError as error:
            if not any(known in str(error) for known in _DONE_ALREADY):
                raise

    def _port(self, member: Member) -> int:
        return self._goal.nodes[member.ordinal][1]

    def _drop(self, host: str) -> None:
        with suppress(KeyError, OSError):
            self._open.pop(host).close()


def _ranges(slots: list[int]) -> list[int]:
    """Slots as pairs of first and last."""
    pairs: list[int] = []
    for slot in sorted(slots):
        if pairs and slot == pairs[-1] + 1:
            pairs[-1] = slot
        else:
            pairs += [slot, slot]
    return pairs


def _job_state(job: object) -> str:
    """The state of one migration, which the server describes by alternating names and values."""
    parts = [part.decode() if isinstance(part, bytes) else str(part) for part in job] if isinstance(job, list) else []
    return parts[parts.index("state") + 1] if "state" in parts else ""


def _zone(answer: object) -> str:
    """The zone; empty when the server has none (Redis shows its own name where it was not set)."""
    value = answer[1] if isinstance(answer, list) and len(answer) > 1 else b""
    zone = value.decode() if isinstance(value, bytes) else ""
    return "" if zone == "redis" else zone


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
