"""The members of a cluster as Patroni's REST API shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .phases import takes_less_memory
from .requests import RequestError
from .waiting import Deadline

LEADER = "leader"
SYNCHRONOUS = ("quorum_standby", "sync_standby")
_RESTART_SECONDS = 300.0
_HEALTHY = ("running", "streaming")
_DOWN = ("start failed", "restart failed", "crashed", "stopped")
_SMALL_LAG_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One member at one moment."""

    name: str
    role: str
    state: str
    url: str
    lag_bytes: int | None
    pending_restart: bool
    pending: Mapping[str, Any]
    """What it waits for a restart with: parameter → ``old_value`` and ``new_value``."""

    @property
    def in_step(self) -> bool:
        """Whether it serves, and a replica nearly has what the primary has."""
        close = self.role == LEADER or (self.lag_bytes is not None and self.lag_bytes <= _SMALL_LAG_BYTES)
        return self.state in _HEALTHY and close

    @property
    def waits_for_less_memory(self) -> bool:
        """Whether the restart that it waits for must come before that of its standbys."""
        return takes_less_memory(self.pending)

    @property
    def is_down(self) -> bool:
        """Whether its Patroni is there and its PostgreSQL does not run."""
        return self.state in _DOWN


class Sender(Protocol):
    """What a cluster is asked through."""

    def send(self, method: str, url: str, body: object = None, *, timeout_seconds: float = 10.0) -> Any:
        """The answer as JSON. Raises ``RequestError``."""
        ...


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is reached through whichever member answers. ``urls`` is in order of the ordinals."""

    client: Sender
    urls: Sequence[str]

    def ask(self, method: str, path: str, body: object = None, *, timeout_seconds: float = 10.0) -> Any:
        """The first answer of any member. Raises the last error when none answers."""
        last: RequestError | None = None
        for url in self.urls:
            try:
                return self.client.send(method, f"{url}{path}", body, timeout_seconds=timeout_seconds)
            except RequestError as error:
                last = error
        message = f"no member answers {method} {path}; the last one said: {last}"
        raise RequestError(message, last.status if last is not None else 0)

    def members(self) -> list[Member]:
        """All members, by name."""
        found = self.ask("GET", "/cluster").get("members", [])
        return sorted((self._member(one) for one in found), key=lambda member: member.name)

    def _member(self, one: dict[str, Any]) -> Member:
        name, lag = str(one["name"]), one.get("lag", 0 if one.get("role") == LEADER else None)
        own = [url for url in self.urls if url.partition("://")[2].startswith((f"{name}.", f"{name}:"))]
        return Member(
            name=name,
            role=str(one.get("role", "")),
            state=str(one.get("state", "")),
            # An address of the settings where one carries the member's name: it is in the certificate.
            url=own[0] if own else str(one["api_url"]).removesuffix("/patroni"),
            lag_bytes=lag if isinstance(lag, int) else None,
            pending_restart=bool(one.get("pending_restart")),
            pending=one.get("pending_restart_reason", {}),
        )

    def last_looks(self) -> list[int]:
        """When each member last read etcd, in seconds of its own clock; 0 for one that does not answer."""
        found = []
        for url in self.urls:
            try:
                found.append(int(self.client.send("GET", f"{url}/patroni").get("dcs_last_seen", 0)))
            except RequestError:
                found.append(0)
        return found

    def member(self, name: str) -> Member | None:
        """One member; ``None`` while it is away or nobody answers."""
        try:
            return next((member for member in self.members() if member.name == name), None)
        except RequestError:
            return None

    def is_whole(self) -> bool:
        """Whether all members are there, one leads, and the others are in step."""
        try:
            return self.are_whole(self.members())
        except RequestError:
            return False

    def are_whole(self, members: Sequence[Member]) -> bool:
        """The same of one look."""
        leaders = [member for member in members if member.role == LEADER]
        return len(members) >= len(self.urls) and len(leaders) == 1 and all(member.in_step for member in members)

    def restart_pending(self, name: str, deadline: Deadline) -> bool:
        """Restart one member if it waits for it, and wait until the cluster is whole again."""
        member = self.member(name)
        if member is None or not member.pending_restart:
            return False
        timeout_seconds = min(_RESTART_SECONDS, max(10.0, deadline.left_seconds))
        self.client.send("POST", f"{member.url}/restart", {"restart_pending": True}, timeout_seconds=timeout_seconds)
        deadline.wait_for(f"{name} to come back", lambda: self._is_back(name))
        deadline.wait_for("the cluster to be whole", self.is_whole)
        return True

    def _is_back(self, name: str) -> bool:
        member = self.member(name)
        return member is not None and member.in_step and not member.pending_restart
