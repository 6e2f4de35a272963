"""Who should be a primary and who should replicate whom: pure functions over a view."""

from collections import Counter
from collections.abc import Sequence

from .view import Member, View


def choose_primaries(view: View) -> list[Member]:
    """The staying members that shall own slots: owners first, then empty ones where their zone has the fewest.

    Shorter than wanted when only replicas are left to choose from.
    """
    owners = [member for member in view.staying if view.slots_of(member)]
    owners.sort(key=lambda member: (-len(view.slots_of(member)), member.ordinal))
    chosen = owners[: view.primaries_wanted]
    empty = [member for member in view.staying if member.is_primary and not view.slots_of(member)]
    while empty and len(chosen) < view.primaries_wanted:
        zones = Counter(member.zone for member in chosen)
        best = min(empty, key=lambda member: (zones[member.zone], member.ordinal))
        empty.remove(best)
        chosen.append(best)
    return sorted(chosen, key=lambda member: member.ordinal)


def apart(one: Member, other: Member) -> bool:
    """Whether two members are not known to share a zone."""
    return not one.zone or not other.zone or one.zone != other.zone


def pair(primaries: Sequence[Member], replicas: Sequence[Member]) -> dict[str, Member]:
    """Replica's name → the primary that it should follow.

    Every primary gets its first replica before one gets a second, no pair shares a zone where that can be had (a
    maximum matching), and pairs that are right already stay. A replica too many for its zone follows the primary with
    the fewest replicas all the same: a copy in the same zone is better than none.
    """
    if not primaries:
        return {}
    followers: dict[str, Member] = {}
    rounds = -(-len(replicas) // len(primaries))
    for _ in range(rounds):
        free = [replica for replica in replicas if replica.name not in followers]
        followers |= _match(primaries, free)
    counts = Counter(primary.name for primary in followers.values())
    for replica in replicas:
        if replica.name not in followers:
            best = min(primaries, key=lambda primary: (counts[primary.name], primary.ordinal))
            followers[replica.name] = best
            counts[best.name] += 1
    return followers


def _match(primaries: Sequence[Member], replicas: Sequence[Member]) -> dict[str, Member]:
    """At most one replica per primary, in another zone; as many pairs as possible (Kuhn's augmenting paths)."""
    taken: dict[str, Member] = {}
    by_name = {replica.name: replica for replica in replicas}
    for primary in primaries:
        present = [r for r in replicas if r.own.primary == primary.id and apart(r, primary) and r.name not in taken]
        if present:
            taken[present[0].name] = primary

    def augment(primary: Member, tried: set[str]) -> bool:
        # Those that are free first: whoever is matched already had better stay where it is.
        for name, replica in sorted(by_name.items(), key=lambda item: item[0] in taken):
            if name in tried or not apart(replica, primary):
                continue
            tried.add(name)
            if name not in taken or augment(taken[name], tried):
                taken[name] = primary
                return True
        return False

    matched = {primary.name for primary in taken.values()}
    for primary in primaries:
        if primary.name not in matched:
            augment(primary, set())
    return taken
