"""The reconciler's decisions: from any state that can arise to the declared one, and never a dangerous step."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components.cache.reconciler.decide import decide
from components.cache.reconciler.steps import Blocked, Done, Failover, Meet, Step, Wait
from components.cache.reconciler.view import SLOTS, Known, parse_nodes, ranges
from tests.unit.components.cluster_model import Model, Node

ZONES = ("zone-a", "zone-b", "zone-c")
MOST_STEPS = 400


def fresh(pods: int, primaries: int, leaving: int = 0) -> Model:
    nodes = [Node(ordinal=n, zone=ZONES[n % 3], id=f"id-{n}") for n in range(pods)]
    return Model(nodes=nodes, primaries=primaries, leaving=leaving)


def settle(model: Model) -> list[Step]:
    """Carry out decisions until nothing is left to do."""
    carried_out: list[Step] = []
    for _ in range(MOST_STEPS):
        steps = decide(model.look())
        if isinstance(steps[0], Done):
            return carried_out
        if isinstance(steps[0], Wait) and "to be elected" in steps[0].reason:
            model.elect()
            continue
        for step in steps:
            model.apply(step)
            carried_out.append(step)
    raise AssertionError(f"not settled; the last steps: {[str(s) for s in carried_out[-5:]]}")


def assert_declared(model: Model) -> None:
    staying = model.nodes[: len(model.nodes) - model.leaving]
    owners = [node for node in staying if node.slots]
    assert sorted(slot for node in owners for slot in node.slots) == list(range(SLOTS))
    assert len(owners) == model.primaries
    followed = Counter(node.primary for node in staying if not node.slots)
    assert set(followed) <= {owner.id for owner in owners}
    assert max(followed.values()) - min(followed[owner.id] for owner in owners) <= 1
    zone_of = {node.id: node.zone for node in staying}
    assert all(node.zone != zone_of[node.primary] for node in staying if node.primary)
    for node in model.nodes[len(staying) :]:
        assert (node.slots, node.primary, node.knows) == (set(), None, set())
    assert not any(set(node.knows) & set(model.ghosts) for node in staying)


def test_six_empty_pods_become_three_primaries_and_three_replicas() -> None:
    model = fresh(6, 3)
    settle(model)
    assert_declared(model)
    assert {node.zone for node in model.nodes if node.slots} == set(ZONES)


def test_a_settled_cluster_is_left_alone() -> None:
    model = fresh(6, 3)
    settle(model)
    assert settle(model) == []


def test_growing_moves_a_quarter_of_the_slots_and_no_more() -> None:
    model = fresh(6, 3)
    settle(model)
    before = {slot: node.id for node in model.nodes for slot in node.slots}
    model.nodes += [Node(ordinal=n, zone=ZONES[n % 3], id=f"id-{n}") for n in (6, 7)]
    model.primaries = 4
    settle(model)
    assert_declared(model)
    moved = sum(before[slot] != node.id for node in model.nodes for slot in node.slots)
    assert moved <= SLOTS // 4


def test_shrinking_empties_the_leaving_pods_before_they_are_forgotten() -> None:
    model = fresh(8, 4)
    settle(model)
    model.primaries, model.leaving = 3, 2
    settle(model)
    assert_declared(model)


@settings(max_examples=50, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes here
@given(
    primaries=st.integers(3, 4),
    leaving=st.sampled_from([0, 2]),
    grown=st.booleans(),
    failovers=st.lists(st.integers(0, 13), max_size=6),
    lost=st.sets(st.integers(0, 13), max_size=3),
    opened=st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13), st.booleans(), st.booleans()), max_size=3),
    cut=st.integers(0, 12),
)
def test_every_state_that_can_arise_ends_as_declared(  # noqa: PLR0917 # drawn by name
    primaries: int, leaving: int, grown: bool, failovers: list[int], lost: set[int],  # noqa: FBT001
    opened: list[tuple[int, int, bool, bool]], cut: int,
) -> None:  # fmt: skip
    """Formed or cut short, failed over, with pods that lost their identity, and slots left half open."""
    model = fresh(2 * primaries + leaving, primaries + (leaving // 2))
    for _ in range(cut):
        for step in decide(model.look()):
            if not isinstance(step, Done | Wait):
                model.apply(step)
    for number in failovers:
        node = model.nodes[number % len(model.nodes)]
        if node.primary:
            model.fail_over(node)
    lose(model, lost)
    for source, target, one, other in opened:
        open_slot(model, source, target, migrating=one, importing=other)
    if grown:
        model.nodes.append(Node(ordinal=len(model.nodes), zone=ZONES[0], id="late"))
        model.nodes.append(Node(ordinal=len(model.nodes), zone=ZONES[1], id="later"))
        leaving = leaving + 2 if leaving else 0
    model.leaving = leaving
    model.primaries = primaries
    settle(model)
    staying = model.nodes[: len(model.nodes) - leaving]
    owners = [node for node in staying if node.slots]
    assert sorted(slot for node in owners for slot in node.slots) == list(range(SLOTS))
    assert len(owners) == primaries
    assert all(node.primary in {owner.id for owner in owners} for node in staying if not node.slots)
    assert settle(model) == []


def lose(model: Model, ordinals: set[int]) -> None:
    """Pods that come back without their volume: a new identity, and an old one that others remember."""
    for number in ordinals:
        node = model.nodes[number % len(model.nodes)]
        if len(node.knows) < 2 or node.id.startswith("new"):
            continue
        model.ghosts[node.id] = replace(node.line(), flags=frozenset({"fail"}), linked=False)
        node.id, node.slots, node.primary, node.knows = f"new-{node.id}", set(), None, set()
        node.migrating, node.importing = {}, {}


def open_slot(model: Model, source: int, target: int, *, migrating: bool, importing: bool) -> None:
    """A slot as a killed move leaves it."""
    one, other = model.nodes[source % len(model.nodes)], model.nodes[target % len(model.nodes)]
    if one is other or not one.slots or other.primary is not None or other.id not in one.knows:
        return
    slot = min(one.slots)
    if migrating:
        one.migrating[slot] = other.id
    if importing:
        other.importing[slot] = one.id


def test_nothing_is_decided_behind_the_back_of_a_pod_that_does_not_answer() -> None:
    model = fresh(6, 3)
    settle(model)
    view = model.look()
    [step] = decide(replace(view, members=view.members[:-1], unreachable=("pod-5 (refused)",)))
    assert isinstance(step, Wait)
    assert "pod-5 (refused)" in str(step)


def test_two_clusters_that_both_own_a_slot_are_left_to_a_person() -> None:
    model = fresh(6, 3)
    model.nodes[0].slots = {1, 2}
    model.nodes[1].slots = {2, 3}
    [step] = decide(model.look())
    assert isinstance(step, Blocked)
    assert "pod-0 and pod-1 both own slot 2" in str(step)


def test_everyone_is_met_at_its_new_address() -> None:
    model = fresh(6, 3)
    settle(model)
    view = model.look()

    def gone(known: Known) -> Known:
        return known if "myself" in known.flags else replace(known, address="10.9.9.9", linked=False)

    members = tuple(replace(m, known={i: gone(k) for i, k in m.known.items()}) for m in view.members)
    steps = decide(replace(view, members=members))
    assert all(isinstance(step, Meet) for step in steps)
    assert {step.newcomer.name for step in steps if isinstance(step, Meet)} == {f"pod-{n}" for n in range(1, 6)}


def test_a_replica_is_forced_up_only_when_the_voters_are_gone_for_good() -> None:
    model = fresh(6, 3)
    settle(model)
    primaries = [node.ordinal for node in model.nodes if node.slots]
    lose(model, set(primaries[:1]))
    for newcomer in decide(model.look()):
        model.apply(newcomer)
    [step] = decide(model.look())
    assert isinstance(step, Wait), "two of three voters are left: they elect"
    lose(model, set(primaries[1:2]))
    for newcomer in decide(model.look()):
        model.apply(newcomer)
    [step] = decide(model.look())
    assert isinstance(step, Failover)
    assert step.force


def test_lines_of_a_real_answer_are_understood() -> None:
    answer = (
        "a1 127.0.0.1:6379@16379,pod-0.cache myself,master - 0 0 7 connected 0-2 5 [5->-b2] [9-<-c3]\n"
        "b2 127.0.0.2:6379@16379 slave,fail? a1 0 0 7 disconnected\n"
        "c3 :0@0 master,noaddr - 0 0 0 disconnected\n"
    )
    identity, known = parse_nodes(answer)
    assert identity == "a1"
    assert known["a1"].slots == {0, 1, 2, 5}
    assert (known["a1"].migrating, known["a1"].importing) == ({5: "b2"}, {9: "c3"})
    assert (known["b2"].address, known["b2"].primary, known["b2"].failed, known["b2"].linked) == (
        "127.0.0.2", "a1", True, False,
    )  # fmt: skip
    assert known["c3"].address == ""


@pytest.mark.parametrize(("slots", "text"), [([], ""), ([3], "3"), ([1, 2, 3, 7, 9, 10], "1-3, 7, 9-10")])
def test_slots_are_written_as_people_write_them(slots: list[int], text: str) -> None:
    assert ranges(slots) == text
