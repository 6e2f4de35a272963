"""A cluster as the reconciler sees it, in memory: steps change it, looks describe it, gossip is instant."""

from dataclasses import dataclass, field

from components.cache.reconciler.steps import (
    Assign,
    Detach,
    Failover,
    Forget,
    Meet,
    Move,
    Remove,
    Replicate,
    Settle,
    Step,
)  # fmt: skip
from components.cache.reconciler.view import Known, Member, View


@dataclass(kw_only=True)
class Node:
    """One server: what it owns, whom it follows and whom it knows (by id)."""

    ordinal: int
    zone: str
    id: str
    slots: set[int] = field(default_factory=set)
    primary: str | None = None
    knows: set[str] = field(default_factory=set)
    epoch: int = 0
    migrating: dict[int, str] = field(default_factory=dict)
    importing: dict[int, str] = field(default_factory=dict)

    def line(self, *, own: bool = False) -> Known:
        return Known(
            id=self.id, address=f"10.0.0.{self.ordinal}", flags=frozenset({"myself"} if own else ()),
            primary=self.primary, epoch=self.epoch, linked=True, slots=frozenset(self.slots),
            migrating=dict(self.migrating) if own else {}, importing=dict(self.importing) if own else {},
        )  # fmt: skip


@dataclass(kw_only=True)
class Model:
    """The servers and, beside them, nodes that are gone for good but remembered."""

    nodes: list[Node]
    primaries: int
    leaving: int = 0
    ghosts: dict[str, Known] = field(default_factory=dict)
    resets: int = 0

    def look(self) -> View:
        by_id = {node.id: node for node in self.nodes}
        lines = {node.id: node.line() for node in self.nodes}
        members = []
        for node in self.nodes:
            known = {i: lines[i] for i in node.knows if i in by_id} | {node.id: node.line(own=True)}
            known |= {i: self.ghosts[i] for i in node.knows if i in self.ghosts}
            members.append(
                Member(
                    ordinal=node.ordinal, name=f"pod-{node.ordinal}", address=f"10.0.0.{node.ordinal}",
                    zone=node.zone, known=known, id=node.id,
                )
            )  # fmt: skip
        return View(
            members=tuple(members), unreachable=(), primaries_wanted=self.primaries,
            leaving_from=len(self.nodes) - self.leaving,
        )  # fmt: skip

    def apply(self, step: Step) -> None:  # noqa: C901, PLR0912 # one case per kind of step
        """Do what the servers would do."""
        match step:
            case Meet():
                together = self._of(step.teller).knows | self._of(step.newcomer).knows
                together |= {step.teller.id, step.newcomer.id}
                for node in self.nodes:
                    if node.id in together:
                        node.knows |= together
            case Forget():
                for node in self.nodes:
                    node.knows.discard(step.ghost.id)
            case Assign():
                self._of(step.primary).slots |= set(step.slots)
            case Replicate():
                replica = self._of(step.replica)
                assert not replica.slots, "a primary with slots cannot become a replica"
                assert step.primary.id in replica.knows
                replica.primary = step.primary.id
            case Failover():
                self.fail_over(self._of(step.replica))
            case Detach():
                self._forget_all(self._of(step.replica), same_id=True)
            case Settle():
                self._of(step.member).migrating.pop(step.slot, None)
                self._of(step.member).importing.pop(step.slot, None)
            case Move():
                source, target = self._of(step.source), self._of(step.target)
                assert set(step.slots) <= source.slots
                for slot in step.slots:
                    source.migrating.pop(slot, None)
                    target.importing.pop(slot, None)
                source.slots -= set(step.slots)
                target.slots |= set(step.slots)
            case Remove():
                node = self._of(step.member)
                assert not node.slots
                assert not any(other.primary == node.id for other in self.nodes), "it still has replicas"
                for other in self.nodes:
                    other.knows.discard(node.id)
                self._forget_all(node, same_id=False)
            case _:
                raise AssertionError(f"the model cannot go on from: {step}")

    def elect(self) -> None:
        """Where enough voters are left, the servers replace a lost primary by themselves."""
        self.fail_over(next(node for node in self.nodes if node.primary in self.ghosts))

    def fail_over(self, replica: Node) -> None:
        lost = replica.primary
        old = next((node for node in self.nodes if node.id == lost), None)
        replica.primary, replica.epoch = None, 1 + max(node.epoch for node in self.nodes)
        if old is not None:
            replica.slots, old.slots, old.primary = old.slots, set(), replica.id
        elif lost in self.ghosts:
            replica.slots = set(self.ghosts[lost].slots)
            self.ghosts[lost] = Known(
                id=lost, address="", flags=frozenset({"fail"}), primary=None, epoch=0, linked=False
            )
        for node in self.nodes:
            if node.primary == lost:
                node.primary = replica.id

    def _forget_all(self, node: Node, *, same_id: bool) -> None:
        node.slots, node.primary, node.knows = set(), None, set()
        if not same_id:
            self.resets += 1
            node.id = f"reset-{self.resets}"

    def _of(self, member: Member) -> Node:
        return next(node for node in self.nodes if node.ordinal == member.ordinal)
