"""Writes to the primary, reads from the replicas, and no transaction that is repeated by accident."""

from payments_client.database.asynchronous import AsyncDatabase
from payments_client.database.errors import (
    DatabaseError,
    DeadlineExceededError,
    KeyReusedError,
    OutcomeUnknownError,
    TransactionBrokenError,
    WriteInReadError,
)
from payments_client.database.idempotency import IDEMPOTENCY_TABLE, IdempotencyKey, idempotent
from payments_client.database.options import Credentials, PoolOptions
from payments_client.database.synchronous import Database
from payments_client.database.tokens import Token, Written

__all__ = [
    "IDEMPOTENCY_TABLE",
    "AsyncDatabase",
    "Credentials",
    "Database",
    "DatabaseError",
    "DeadlineExceededError",
    "IdempotencyKey",
    "KeyReusedError",
    "OutcomeUnknownError",
    "PoolOptions",
    "Token",
    "TransactionBrokenError",
    "WriteInReadError",
    "Written",
    "idempotent",
]
