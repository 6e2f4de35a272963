"""The state machine: from what is seen and wanted to the one next step. Pure: no connection, no clock.

The order of the rules is the order of safety: know everyone, forget who is gone, agree, close what stands open, give
every slot an owner, then copies, then balance, then good-byes. Each rule leaves a state from which the same function
goes on, so that a run may end at any point and two runs do not undo each other's work.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from .roles import apart, choose_primaries, pair
from .steps import (
    Assign,
    Blocked,
    Detach,
    Done,
    Failover,
    Forget,
    Meet,
    Move,
    Remove,
    Replicate,
    Settle,
    Step,
    Wait,
)  # fmt: skip
from .view import SLOTS, Member, View

# One step moves so many slots at most: between steps the cluster is looked at again.
SLOTS_PER_STEP = 256
# Shares may differ by so much: moving slots costs more than a few slots' imbalance.
TOLERANCE_PERCENT = 2


def decide(view: View) -> list[Step]:
    """The next steps, which may be carried out together; ``Done`` when the cluster is as declared."""
    if not view.members:
        return [Wait(reason=f"none of the pods answers: {', '.join(view.unreachable)}")]
    rules: tuple[Callable[[View], Iterator[Step]], ...] = (
        _two_clusters, _meet, _everyone_answers, _ghosts, _agree, _open_slots, _unassigned, _new_replicas, _promote,
        _balance, _pairs, _zones_of_primaries, _good_byes, _healthy,
    )  # fmt: skip
    for rule in rules:
        if steps := list(rule(view)):
            return steps
    return [Done()]


def _two_clusters(view: View) -> Iterator[Step]:
    claims: dict[int, Member] = {}
    for member in view.members:
        for slot in member.own.slots if member.is_primary else ():
            other = claims.setdefault(slot, member)
            if other is not member and other.id not in member.known and member.id not in other.known:
                yield Blocked(
                    reason=f"{other.name} and {member.name} both own slot {slot} and do not know each other: two "
                    f"clusters hold different values; reset the one that nobody writes to (CLUSTER RESET HARD)"
                )


def _meet(view: View) -> Iterator[Step]:
    teller = max(view.members, key=lambda m: (len(m.own.slots), sum(k.linked for k in m.known.values()), -m.ordinal))
    wanted = [m for m in view.members if m in view.staying or m.own.slots]
    found = False
    for member in wanted:
        unknown = teller.id not in member.known or member.id not in teller.known
        if member is not teller and (unknown or _has_moved(teller, member)):
            yield Meet(teller=teller, newcomer=member)
            found = True
    # The others learn new addresses by gossip, unless they have lost everyone that could tell them.
    for member in wanted if not found else ():
        for other in wanted:
            if member is not other and _has_moved(member, other):
                yield Meet(teller=member, newcomer=other)


def _has_moved(teller: Member, member: Member) -> bool:
    """Whether a member looks for another one, in vain, where it no longer is."""
    seen = teller.known.get(member.id)
    if seen is None:
        return False
    lost = "noaddr" in seen.flags or seen.address != member.address
    return lost and not (seen.linked and not seen.failed)


def _everyone_answers(view: View) -> Iterator[Step]:
    # Who does not answer may only be away: nothing below is decided behind its back.
    if view.unreachable:
        yield Wait(reason=f"no answer from {', '.join(view.unreachable)}")


def _ghosts(view: View) -> Iterator[Step]:
    ghosts = {known.id: known for _, known in view.ghosts()}
    for ghost in ghosts.values():
        if heirs := [member for member in view.members if member.own.primary == ghost.id]:
            yield _succession(view, ghost.id, heirs)
            return
    for ghost in ghosts.values():
        knowing = tuple(member for member in view.members if ghost.id in member.known)
        yield Forget(ghost=ghost, members=knowing)


def _succession(view: View, lost: str, heirs: list[Member]) -> Step:
    """A primary is gone for good: its replica is elected by the other primaries, where enough of them are left."""
    voters = {known.id for m in view.members for known in m.known.values() if known.slots}
    alive = [member for member in view.members if member.id in voters]
    if 2 * len(alive) > len(voters):
        return Wait(reason=f"{', '.join(m.name for m in heirs)} to be elected in place of node {lost[:8]}")
    return Failover(
        replica=heirs[0],
        force=True,
        reason=f"node {lost[:8]} is none of the pods any more and only {len(alive)} of {len(voters)} voters are left",
    )


def _agree(view: View) -> Iterator[Step]:
    if reason := view.disagreement():
        yield Wait(reason=reason)


def _open_slots(view: View) -> Iterator[Step]:
    for member in view.members:
        for slot, source_id in member.own.importing.items():
            source = view.by_id.get(source_id)
            if source and view.owners.get(slot) is source and source.own.migrating.get(slot) == member.id:
                yield Move(source=source, target=member, slots=[slot], resume=True)
            else:
                yield Settle(member=member, slot=slot)
        for slot, target_id in member.own.migrating.items():
            target = view.by_id.get(target_id)
            if target is None or target.own.importing.get(slot) != member.id:
                yield Settle(member=member, slot=slot)


def _unassigned(view: View) -> Iterator[Step]:
    free = [slot for slot in range(SLOTS) if slot not in view.owners]
    if not free:
        return
    primaries = choose_primaries(view)
    if not primaries:
        yield Blocked(reason=f"{len(free)} slots have no owner and no pod that stays is a primary")
        return
    wanted = _shares(primaries)
    for primary in primaries:
        room = max(wanted[primary.id] - len(view.slots_of(primary)), 0)
        if room and free:
            yield Assign(primary=primary, slots=free[:room])
            free = free[room:]
    # More than everybody's share is left when slots of others are about to move away.
    if free:
        yield Assign(primary=primaries[0], slots=free)


def _new_replicas(view: View) -> Iterator[Step]:
    for replica, primary in _wanted_pairs(view):
        if replica.is_primary and not view.slots_of(replica):
            yield Replicate(replica=replica, primary=primary, reason="it owns no slots and is not needed as a primary")


def _promote(view: View) -> Iterator[Step]:
    """One more primary is wanted and only replicas are left: an owner that leaves hands over, or a replica detaches."""
    if len(choose_primaries(view)) >= view.primaries_wanted:
        return
    replicas = sorted(
        (m for m in view.staying if not m.is_primary),
        key=lambda m: (-sum(o.own.primary == m.own.primary for o in view.staying), m.ordinal),
    )
    for owner in (member for member in view.leaving if view.slots_of(member)):
        heirs = [member for member in view.replicas_of(owner) if member in view.staying]
        if any(heir.link_up for heir in heirs):
            yield Failover(replica=next(h for h in heirs if h.link_up), reason=f"{owner.name} leaves")
        elif heirs:
            yield Wait(reason=f"{heirs[0].name} to be in step with {owner.name}, which leaves")
        elif replicas:
            yield Replicate(replica=replicas[0], primary=owner, reason=f"{owner.name} leaves and needs an heir")
        else:
            continue
        return
    if replicas:
        yield Detach(replica=replicas[0])


def _balance(view: View) -> Iterator[Step]:
    primaries = choose_primaries(view)
    wanted = _shares(primaries)
    counts = {member.id: len(view.slots_of(member)) for member in view.members}
    surplus = [m for m in view.members if m.is_primary and counts[m.id] > wanted.get(m.id, 0)]
    lacking = [p for p in primaries if counts[p.id] < wanted[p.id]]
    if not lacking or not surplus or not _worth_moving(counts, wanted):
        return
    source = max(surplus, key=lambda m: (counts[m.id] - wanted.get(m.id, 0), m.ordinal))
    target = max(lacking, key=lambda m: (wanted[m.id] - counts[m.id], -m.ordinal))
    number = min(counts[source.id] - wanted.get(source.id, 0), wanted[target.id] - counts[target.id], SLOTS_PER_STEP)
    yield Move(source=source, target=target, slots=view.slots_of(source)[:number])


def _worth_moving(counts: dict[str, int], wanted: dict[str, int]) -> bool:
    if any(count and identity not in wanted for identity, count in counts.items()):
        return True
    return any(abs(counts[i] - share) * 100 > share * TOLERANCE_PERCENT for i, share in wanted.items())


def _pairs(view: View) -> Iterator[Step]:
    for replica, primary in _wanted_pairs(view):
        if replica.own.primary == primary.id:
            continue
        present = view.by_id.get(replica.own.primary or "")
        if present is not None and not apart(present, replica) and apart(primary, replica):
            reason = f"it shares zone {replica.zone} with its primary {present.name}"
        else:
            reason = f"{primary.name} has too few replicas"
        yield Replicate(replica=replica, primary=primary, reason=reason)
        return  # one at a time: while it copies, it is no help to its primary


def _wanted_pairs(view: View) -> Iterator[tuple[Member, Member]]:
    """Each staying member that is to be a replica, with its primary; who owns slots now is drained first."""
    primaries = choose_primaries(view)
    chosen = {primary.id for primary in primaries}
    replicas = [m for m in view.staying if m.id not in chosen and not view.slots_of(m)]
    followed = pair(primaries, replicas)
    for replica in replicas:
        if replica.name in followed:
            yield replica, followed[replica.name]


def _zones_of_primaries(view: View) -> Iterator[Step]:
    """The loss of one zone must leave a majority of primaries: none holds more than its share of them."""
    primaries = choose_primaries(view)
    zones = {member.zone for member in view.staying if member.zone}
    if not zones or any(not member.zone for member in view.staying):
        return
    share = -(-len(primaries) // len(zones))
    held = Counter(primary.zone for primary in primaries)
    for primary in primaries:
        if held[primary.zone] <= share:
            continue
        for replica in view.replicas_of(primary):
            if held[replica.zone] < share and replica.link_up and replica in view.staying:
                yield Failover(replica=replica, reason=f"zone {primary.zone} holds {held[primary.zone]} primaries")
                return


def _good_byes(view: View) -> Iterator[Step]:
    for member in view.leaving:
        knows_others = len(member.known) > 1
        is_known = any(member.id in other.known for other in view.members if other is not member)
        if not view.slots_of(member) and not view.replicas_of(member) and (knows_others or is_known):
            yield Remove(member=member, others=tuple(m for m in view.members if m is not member))


def _healthy(view: View) -> Iterator[Step]:
    for member in view.staying:
        if not member.state_ok:
            yield Wait(reason=f"{member.name} says that the cluster is down")
        if not member.is_primary and not member.link_up:
            yield Wait(reason=f"{member.name} to be in step with its primary")


def _shares(primaries: list[Member]) -> dict[str, int]:
    """Id → number of slots that a primary should own."""
    base, more = divmod(SLOTS, len(primaries)) if primaries else (0, 0)
    return {primary.id: base + (position < more) for position, primary in enumerate(primaries)}
