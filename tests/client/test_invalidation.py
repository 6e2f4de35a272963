"""Events, messages and holes in their numbers, without any server."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_client.cache import Event, TierUnavailableError
from payments_client.cache.core import Ask, Core, Generations
from payments_client.cache.events import PAYMENT_EVENTS, WALLET_EVENTS, changes
from payments_client.cache.invalidation import Publisher, Receiver
from payments_client.cache.scripts import APPLY, DROP, FLUSH
from payments_client.cache.values import json_codec
from payments_client.contract import PLAN_CLASSES, WALLET_TRANSACTIONS, CacheClass, Tier
from tests.client.fake_server import FakeServer

CLASSES = {entry.prefix: entry for entry in PLAN_CLASSES}


class Bench:
    """A publisher, one server and the messages that it sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.l3 = FakeServer(
            now_ms=lambda: 1_000_000, publish=lambda name, text: self.sent.append((name, json.loads(text)))
        )
        self.publisher = Publisher(classes=CLASSES, generations=Generations())
        self.asked: list[Ask] = []

    def apply(self, event: Event, *, dead_from: int = 99) -> None:
        steps, answer = self.publisher.apply(event), None
        while True:
            try:
                ask = steps.send(answer)
            except StopIteration:
                return
            assert isinstance(ask, Ask)
            alive = len(self.asked) < dead_from
            self.asked.append(ask)
            answer = self.l3.evaluate(ask.script, ask.key, ask.arguments) if alive else None


def deducted(version: int, **data: Any) -> Event:
    return Event(
        type="WalletDeducted", aggregate_id="w1", version=version, user_id="u1", occurred_at_seconds=1000.0, data=data
    )


@pytest.mark.parametrize("name", sorted(WALLET_EVENTS | {"WalletInventedLater"}))
def test_s11_every_wallet_event_drops_the_plan_s_three_keys(name: str) -> None:
    bench = Bench()
    bench.apply(Event(type=name, aggregate_id="w1", version=3, user_id="u1"))
    assert [(ask.script, ask.key) for ask in bench.asked] == [
        (APPLY, "wallet:balance:w1"), (APPLY, "wallet:transactions:w1"), (APPLY, "user:wallets:u1"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(PAYMENT_EVENTS | {"PaymentInventedLater"}))
def test_every_payment_event_drops_its_wallet_s_transactions(name: str) -> None:
    bench = Bench()
    bench.apply(Event(type=name, aggregate_id="p1", version=3, data={"wallet_id": "w1"}))
    assert [(ask.script, ask.key) for ask in bench.asked] == [(DROP, "wallet:transactions:w1")]


@pytest.mark.parametrize(("name", "key"), [("ConfigChanged", "config:x"), ("RatesChanged", "rates:x")])
def test_configuration_and_rates_are_dropped_by_their_revision(name: str, key: str) -> None:
    bench = Bench()
    bench.apply(Event(type=name, aggregate_id="x", version=3))
    assert [ask.key for ask in bench.asked] == [key]
    bench.apply(Event(type="SomethingElse", aggregate_id="x", version=3))
    assert len(bench.asked) == 1


def test_s11_the_new_balance_is_written_where_the_old_one_was_known() -> None:
    bench = Bench()
    bench.apply(deducted(1, balance={"cents": 500}))
    assert "d" not in bench.l3.keys["wallet:balance:w1"], "nothing was known: it is read anew"
    bench.apply(deducted(2, balance={"cents": 400}))
    assert bench.l3.keys["wallet:balance:w1"]["d"] == b'{"cents":400}'


def test_t24_an_older_event_never_overwrites_a_newer_balance() -> None:
    bench = Bench()
    for version in (1, 2, 3):
        bench.apply(deducted(version, balance={"cents": 1000 - version}))
    bench.apply(deducted(2, balance={"cents": 998}))
    assert bench.l3.keys["wallet:balance:w1"]["d"] == b'{"cents":997}'


@given(st.permutations([1, 2, 3, 4, 5]))
def test_whatever_the_order_the_newest_is_left(order: list[int]) -> None:
    bench = Bench()
    for version in order:
        bench.apply(deducted(version, balance={"version": version}))
    held = bench.l3.keys["wallet:balance:w1"]
    assert held["f:w1"] == 5
    assert json.loads(held.get("d", b'{"version":5}')) == {"version": 5}


@pytest.mark.parametrize(
    ("occurred_at_seconds", "written"), [(None, False), (700.0, False), (701.0, True), (9e9, True)]
)
def test_a_balance_is_as_old_as_its_event_however_late_that_comes(
    occurred_at_seconds: float | None, *, written: bool
) -> None:
    bench = Bench()  # its clock says 1000.0
    bench.apply(deducted(1))
    event = dataclasses.replace(deducted(2, balance={"cents": 1}), occurred_at_seconds=occurred_at_seconds)
    bench.apply(event)
    held = bench.l3.keys["wallet:balance:w1"]
    assert ("d" in held) is written
    if written and occurred_at_seconds is not None:
        assert held["x"] <= min(occurred_at_seconds, 1000.0) * 1000 + 300_000


def test_balances_are_not_spoken_about() -> None:
    bench = Bench()
    bench.apply(deducted(1, balance={"cents": 1}))
    assert {name for name, _ in bench.sent} == {"cache:invalidate:wallet:transactions", "cache:invalidate:user:wallets"}
    assert "cents" not in json.dumps(bench.sent)


def test_a_hole_in_the_stream_flushes_the_class_whose_keys_only_the_lost_event_named() -> None:
    bench = Bench()
    bench.apply(deducted(1))
    bench.apply(deducted(2))
    assert not [ask for ask in bench.asked if ask.script is FLUSH]
    bench.apply(deducted(4))
    assert [ask.arguments[0] for ask in bench.asked if ask.script is FLUSH] == ["user:wallets:"]
    assert bench.sent[-1][1]["kind"] == "flush"
    bench.apply(deducted(4))
    assert len([ask for ask in bench.asked if ask.script is FLUSH]) == 1, "fed again: no new hole"


def test_an_event_that_l3_did_not_take_is_not_done_and_can_be_fed_again() -> None:
    bench = Bench()
    with pytest.raises(TierUnavailableError):
        bench.apply(deducted(1), dead_from=1)
    bench.asked.clear()
    bench.apply(deducted(1))
    assert len(bench.asked) == 3
    numbers = [content["number"] for name, content in bench.sent if name.endswith("transactions")]
    assert numbers == [2], "the call that failed leaves a hole"


class Ear:
    """A receiver, and what it did."""

    def __init__(self) -> None:
        self.l2 = FakeServer(now_ms=lambda: 1000)
        self.dropped: list[str] = []
        self.flushes = 0
        self.order: list[str] = []
        generations = {Tier.L2: Generations(), Tier.L3: Generations()}
        self.receiver = Receiver(
            key_class=WALLET_TRANSACTIONS, invalidate=self._drop, flush_process=self._flush, generations=generations
        )

    def hear(self, **message: Any) -> None:
        self.run(json.dumps({"publisher": "p", **message}))

    def run(self, text: str) -> None:
        steps, answer = self.receiver.hear(text), None
        while True:
            try:
                ask = steps.send(answer)
            except StopIteration:
                return
            assert isinstance(ask, Ask)
            self.order.append(ask.tier)
            answer = self.l2.evaluate(ask.script, ask.key, ask.arguments) if ask.tier is Tier.L2 else None

    def _drop(self, item_id: str) -> None:
        self.dropped.append(item_id)
        self.order.append("l1")

    def _flush(self) -> None:
        self.flushes += 1
        self.order.append("l1")


def raised(number: int, version: int = 1) -> dict[str, Any]:
    return {"number": number, "kind": "raise", "id": "w1", "aggregate": "w1", "version": version}


def test_l2_is_told_before_the_process_that_reads_from_it() -> None:
    ear = Ear()
    ear.hear(**raised(1, version=7))
    assert ear.l2.keys["wallet:transactions:w1"] == {"f:w1": 7}
    assert (ear.dropped, ear.order) == (["w1"], [Tier.L2, "l1"])


@pytest.mark.parametrize(
    ("messages", "flushes"),
    [
        ([raised(1), raised(2), raised(3)], 0),
        ([raised(1), raised(3)], 1),
        ([raised(2)], 1),  # the first one of a publisher that is new to us was lost, or sent before we listened
        ([raised(1), raised(3), raised(2)], 1),  # reordered: the late one is not a second loss
        ([raised(1), raised(1)], 0),
        ([raised(1), {"number": 1, "kind": "heartbeat"}], 0),
        ([raised(1), {"number": 2, "kind": "heartbeat"}], 1),
        ([{"number": 1, "kind": "heartbeat"}], 1),
        ([raised(1), {"number": 2, "kind": "flush", "generation": "9"}], 1),
        ([raised(1), {"publisher": "other", **raised(1)}], 0),
    ],
)
def test_t24_a_hole_in_the_numbers_flushes_the_class(messages: list[dict[str, Any]], flushes: int) -> None:
    ear = Ear()
    for message in messages:
        ear.hear(**message)
    assert ear.flushes == flushes


@given(st.one_of(st.text(), st.builds(json.dumps, st.dictionaries(st.sampled_from(["kind", "id"]), st.text()))))
def test_a_message_that_cannot_be_read_flushes_and_does_not_end_the_listener(text: str) -> None:
    ear = Ear()
    ear.run(text)
    assert ear.flushes == 1


def test_an_event_is_parsed_and_its_content_is_not_in_the_error() -> None:
    text = '{"type": "WalletDeducted", "aggregate_id": "w1", "version": 3, "data": {"balance": 1}, "more": 1}'
    assert Event.from_json(text) == Event(type="WalletDeducted", aggregate_id="w1", version=3, data={"balance": 1})
    for wrong in ("[]", "{", '{"type": "secret"}', '{"type": "T", "aggregate_id": "secret", "version": "3"}',
                  '{"type": "T", "aggregate_id": "secret", "version": 0}'):  # fmt: skip
        with pytest.raises(ValueError, match="the event") as refused:
            Event.from_json(wrong)
        assert "secret" not in str(refused.value)
    assert list(changes(Event(type="Payment", aggregate_id="p", version=1))) == []


@given(st.floats(0, 2000), st.sampled_from(PLAN_CLASSES), st.booleans(), st.floats(0.9, 1.1))
def test_no_tier_outlives_the_class_bound_whatever_the_age(
    age_seconds: float, key_class: CacheClass, negative: Any, jitter: float
) -> None:
    core = Core(key_class=key_class, codec=json_codec(), now=lambda: 0.0, generations={}, jitter=lambda: jitter)
    for tier, nominal in key_class.ttl_seconds.items():
        ttl = core.ttl_seconds(tier, age_seconds, negative=bool(negative))
        assert age_seconds + max(ttl, 0) <= max(key_class.max_staleness_seconds, age_seconds)
        assert ttl <= nominal * 1.1
        if negative:
            assert ttl <= key_class.negative_ttl_seconds * 1.1
        elif age_seconds == 0:
            assert ttl >= nominal * 0.9
