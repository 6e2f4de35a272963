"""What the members say of the cluster, as data: parsed answers, and questions that rules ask of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

SLOTS = 16384


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """One line of CLUSTER NODES: what a member knows of a node, itself included."""

    id: str
    address: str
    flags: frozenset[str]
    primary: str | None
    """Id of the primary that the node replicates."""
    epoch: int
    linked: bool
    slots: frozenset[int] = frozenset()
    migrating: dict[int, str] = field(default_factory=dict)
    """Slot → id of the node that it is leaving for; only in a member's line about itself."""
    importing: dict[int, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the majority, or this member alone, holds the node for lost."""
        return bool(self.flags & {"fail", "fail?"})


@dataclass(frozen=True, kw_only=True)
class Member:
    """A declared pod that answered."""

    ordinal: int
    name: str
    address: str
    """Address that its name leads to now: what others have to be told."""
    zone: str
    known: dict[str, Known]
    id: str
    state_ok: bool = True
    link_up: bool = True
    """Of a replica: it is in step with its primary."""

    @property
    def own(self) -> Known:
        """Its line about itself."""
        return self.known[self.id]

    @property
    def is_primary(self) -> bool:
        """Whether it replicates nobody."""
        return self.own.primary is None


@dataclass(frozen=True, kw_only=True)
class View:
    """Everything observed in one look, and what is wanted."""

    members: tuple[Member, ...]
    """In order of their ordinals."""
    unreachable: tuple[str, ...]
    primaries_wanted: int
    leaving_from: int
    """Pods from this ordinal on are to be emptied and forgotten."""

    @cached_property
    def by_id(self) -> dict[str, Member]:
        """Id → member."""
        return {member.id: member for member in self.members}

    @cached_property
    def staying(self) -> tuple[Member, ...]:
        """Members that the cluster shall consist of."""
        return tuple(member for member in self.members if member.ordinal < self.leaving_from)

    @cached_property
    def leaving(self) -> tuple[Member, ...]:
        """Members that shall go."""
        return tuple(member for member in self.members if member.ordinal >= self.leaving_from)

    @cached_property
    def owners(self) -> dict[int, Member]:
        """Slot → the primary that claims it; of two claims the one with the higher epoch, as the servers settle it."""
        claims: dict[int, Member] = {}
        for member in sorted((m for m in self.members if m.is_primary), key=lambda m: (m.own.epoch, m.id)):
            claims |= dict.fromkeys(member.own.slots, member)
        return claims

    def slots_of(self, member: Member) -> list[int]:
        """Slots that a member owns, in order."""
        return sorted(slot for slot in member.own.slots if self.owners.get(slot) is member)

    def replicas_of(self, primary: Member) -> list[Member]:
        """Members that replicate a primary."""
        return [member for member in self.members if member.own.primary == primary.id]

    def ghosts(self) -> Iterator[tuple[Member, Known]]:
        """Nodes that members know and that are no declared pod; only meaningful when every pod answered."""
        for member in self.members:
            for known in member.known.values():
                if known.id not in self.by_id and "handshake" not in known.flags:
                    yield member, known

    def disagreement(self) -> str | None:
        """Why a step now would rest on news that has not reached everyone; None when all agree."""
        for member in self.staying:
            for other in self.staying:
                seen = member.known.get(other.id)
                if seen is None:
                    return f"{member.name} does not know {other.name} yet"
                if seen.failed:
                    return f"{member.name} holds {other.name} for failed"
                if seen.slots != other.own.slots:
                    return f"{member.name} and {other.name} differ about the slots of {other.name}"
                if seen.primary != other.own.primary:
                    return f"{member.name} and {other.name} differ about the role of {other.name}"
        return None


def parse_nodes(answer: str) -> tuple[str, dict[str, Known]]:
    """The answer of CLUSTER NODES as (own id, id → node). Source: redis.io, "CLUSTER NODES"."""
    known = [_parse_node(line) for line in answer.splitlines() if line.strip()]
    [own] = [node for node in known if "myself" in node.flags]
    return own.id, {node.id: node for node in known}


def _parse_node(line: str) -> Known:
    words = line.split()
    identity, endpoint, flags, primary, _ping, _pong, epoch, link = words[:8]
    slots: set[int] = set()
    migrating: dict[int, str] = {}
    importing: dict[int, str] = {}
    for word in words[8:]:
        if word.startswith("[") and "->-" in word:
            slot, _, target = word.strip("[]").partition("->-")
            migrating[int(slot)] = target
        elif word.startswith("[") and "-<-" in word:
            slot, _, source = word.strip("[]").partition("-<-")
            importing[int(slot)] = source
        else:
            first, _, last = word.partition("-")
            slots.update(range(int(first), int(last or first) + 1))
    return Known(
        id=identity,
        address=endpoint.split("@")[0].rpartition(":")[0],
        flags=frozenset(flags.split(",")),
        primary=None if primary == "-" else primary,
        epoch=int(epoch),
        linked=link == "connected",
        slots=frozenset(slots),
        migrating=migrating,
        importing=importing,
    )


def ranges(slots: list[int]) -> str:
    """Slots as people write them: ``0-5460, 5462``."""
    parts: list[list[int]] = []
    for slot in sorted(slots):
        if parts and slot == parts[-1][1] + 1:
            parts[-1][1] = slot
        else:
            parts.append([slot, slot])
    return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in parts)
