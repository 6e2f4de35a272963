"""What the reconciler can do next, as values: each says itself in the log."""

from dataclasses import dataclass

from .view import Known, Member, ranges


@dataclass(frozen=True, kw_only=True)
class Done:
    """Everything is as declared."""

    def __str__(self) -> str:
        return "nothing to do"


@dataclass(frozen=True, kw_only=True)
class Wait:
    """The cluster has to settle, or a pod to come back, before the next step is safe."""

    reason: str

    def __str__(self) -> str:
        return f"wait: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """Something that only a person may decide."""

    reason: str

    def __str__(self) -> str:
        return f"blocked: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Meet:
    """Tell one member the present address of another one."""

    teller: Member
    newcomer: Member

    def __str__(self) -> str:
        return f"meet: {self.teller.name} is told that {self.newcomer.name} is at {self.newcomer.address}"


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Drop a node that is no declared pod any more from every member's memory."""

    ghost: Known
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return f"forget: node {self.ghost.id[:8]} (last at {self.ghost.address or 'no address'}) is none of the pods"


@dataclass(frozen=True, kw_only=True)
class Assign:
    """Give slots that nobody owns to a primary."""

    primary: Member
    slots: list[int]

    def __str__(self) -> str:
        return f"assign: {len(self.slots)} slots without an owner ({ranges(self.slots)}) to {self.primary.name}"


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """Make a member the replica of a primary."""

    replica: Member
    primary: Member
    reason: str

    def __str__(self) -> str:
        zones = f"zone {self.replica.zone or 'unknown'} for zone {self.primary.zone or 'unknown'}"
        return f"replicate: {self.replica.name} follows {self.primary.name} ({zones}): {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Failover:
    """Let a replica take over from its primary. ``force``: without the votes of a majority that is lost for good."""

    replica: Member
    reason: str
    force: bool = False

    def __str__(self) -> str:
        return f"failover: {self.replica.name} takes over from its primary: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Detach:
    """Turn a replica into an empty primary; it is met again afterwards."""

    replica: Member

    def __str__(self) -> str:
        return f"detach: {self.replica.name} becomes an empty primary, since one more primary is wanted"


@dataclass(frozen=True, kw_only=True)
class Settle:
    """Close a slot that stands half open without the other half."""

    member: Member
    slot: int

    def __str__(self) -> str:
        return f"settle: slot {self.slot} stands half open on {self.member.name}"


@dataclass(frozen=True, kw_only=True)
class Move:
    """Move slots with their keys. ``resume``: the slot is open on both sides, so the target's keys are current."""

    source: Member
    target: Member
    slots: list[int]
    resume: bool = False

    def __str__(self) -> str:
        verb = "finish moving" if self.resume else "move"
        return f"move: {verb} {len(self.slots)} slots ({ranges(self.slots)}) {self.source.name} → {self.target.name}"


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Take an emptied member out of the cluster and reset it, so that it does not come back by itself."""

    member: Member
    others: tuple[Member, ...]

    def __str__(self) -> str:
        return f"remove: {self.member.name} owns nothing any more and leaves"


Step = Done | Wait | Blocked | Meet | Forget | Assign | Replicate | Failover | Detach | Settle | Move | Remove
