"""An event store and a ledger in PostgreSQL: appended once, in order, with balances that can be trusted."""

from payments_client.eventstore.aio import AsyncEventStore, AsyncLedger
from payments_client.eventstore.errors import (
    AmountError,
    ArchivedError,
    BucketClosedError,
    ConflictError,
    CurrencyError,
    EventStoreError,
    InsufficientFundsError,
    KeyReusedError,
    TryAgainError,
    UncertainError,
    UnknownWalletError,
    WalletOwnerError,
)
from payments_client.eventstore.model import (
    NEW,
    Appended,
    Message,
    NewEvent,
    Position,
    RecordedEvent,
    Snapshot,
    Transferred,
)
from payments_client.eventstore.outbox import AsyncOutbox, Outbox
from payments_client.eventstore.sync import EventStore, Ledger

__all__ = [
    "NEW",
    "AmountError",
    "Appended",
    "ArchivedError",
    "AsyncEventStore",
    "AsyncLedger",
    "AsyncOutbox",
    "BucketClosedError",
    "ConflictError",
    "CurrencyError",
    "EventStore",
    "EventStoreError",
    "InsufficientFundsError",
    "KeyReusedError",
    "Ledger",
    "Message",
    "NewEvent",
    "Outbox",
    "Position",
    "RecordedEvent",
    "Snapshot",
    "Transferred",
    "TryAgainError",
    "UncertainError",
    "UnknownWalletError",
    "WalletOwnerError",
]
