"""Which keys an event of the platform touches. An event is what Kafka or the outbox carries."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from payments_client.contract import CONFIG, RATES, USER_WALLETS, WALLET_BALANCE, WALLET_TRANSACTIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One change of one aggregate."""

    type: str
    """``WalletDeducted``, ``PaymentCompleted``, …"""
    aggregate_id: str
    """Wallet, payment, or the id of the configuration or rate."""
    version: int
    """Position in the aggregate's stream, from 1, without holes."""
    user_id: str | None = None
    occurred_at_seconds: float | None = None
    """Unix time of the change. Without it a balance that the event carries is not written, only dropped: nobody could
    say how old it is."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Wallet events: ``balance``, the new one in the form that the balance's loader gives. Payment events:
    ``wallet_id``."""

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Parse a message. Raises ``ValueError`` with what is missing; the data is not in the message."""
        try:
            found = json.loads(text)
        except ValueError:
            raise ValueError("the event is not JSON") from None
        if not isinstance(found, dict):
            raise ValueError("the event is not a JSON object")  # noqa: TRY004 # malformed input
        for name, kind in (("type", str), ("aggregate_id", str), ("version", int)):
            if type(found.get(name)) is not kind:
                raise ValueError(f"the event's '{name}' is missing or no {kind.__name__}")
        if found["version"] < 1:
            raise ValueError("the event's 'version' counts from 1")
        if not isinstance(found.get("occurred_at_seconds"), float | int | None):
            raise ValueError("the event's 'occurred_at_seconds' is a number")  # noqa: TRY004
        if not isinstance(found.get("user_id"), str | None) or not isinstance(found.get("data", {}), dict):
            raise ValueError("the event's 'user_id' is text, its 'data' an object")  # noqa: TRY004
        return cls(**{name: found[name] for name in cls.__slots__ if name in found})


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyChange:
    """What an event does to one key."""

    prefix: str
    item_id: str
    aggregate: str | None
    """Aggregate whose version the key's values name; ``None``: the event's aggregate is not among them."""
    value: Any = None
    """The new value where the event carries it; ``None``: the key is only dropped."""


WALLET_EVENTS = frozenset(
    {
        "WalletCreated", "WalletCredited", "WalletDeducted", "WalletReserved", "WalletReleased",
        "WalletFrozen", "WalletUnfrozen", "WalletClosed",
    }
)  # fmt: skip
PAYMENT_EVENTS = frozenset(
    {
        "PaymentCreated", "PaymentAuthorized", "PaymentCaptured", "PaymentCompleted", "PaymentFailed",
        "PaymentCancelled", "PaymentRefunded",
    }
)  # fmt: skip


def changes(event: Event) -> Iterator[KeyChange]:
    """Keys that an event touches, the aggregate's own first. Nothing for events of other systems.

    A type of these families that is not listed yet is treated like the others: dropping too much is slow, dropping too
    little is wrong.
    """
    if event.type.startswith("Wallet"):
        wallet = event.aggregate_id
        yield KeyChange(prefix=WALLET_BALANCE.prefix, item_id=wallet, aggregate=wallet, value=event.data.get("balance"))
        yield KeyChange(prefix=WALLET_TRANSACTIONS.prefix, item_id=wallet, aggregate=wallet)
        if event.user_id is not None:
            yield KeyChange(prefix=USER_WALLETS.prefix, item_id=event.user_id, aggregate=wallet)
    elif event.type.startswith("Payment"):
        wallet_id = event.data.get("wallet_id")
        if wallet_id is not None:
            yield KeyChange(prefix=WALLET_TRANSACTIONS.prefix, item_id=str(wallet_id), aggregate=None)
    elif event.type == "ConfigChanged":
        yield KeyChange(prefix=CONFIG.prefix, item_id=event.aggregate_id, aggregate=event.aggregate_id)
    elif event.type == "RatesChanged":
        yield KeyChange(prefix=RATES.prefix, item_id=event.aggregate_id, aggregate=event.aggregate_id)


FLUSHED_BY_GAP = {"Wallet": (USER_WALLETS.prefix,)}
"""Event family → classes whose keys a lost event alone would have named: the wallet's own keys are named by every later
event of that wallet, a user's are not."""
