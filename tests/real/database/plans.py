"""The plans of what a call really runs, also inside its functions: auto_explain tells them as they are carried out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tests.real.postgres_server import PostgresServer

_LOUD = {
    "log_min_duration": "0",
    "log_nested_statements": "on",
    "log_analyze": "on",
    "log_format": "json",
    "log_level": "notice",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One statement that ran."""

    query: str
    root: dict[str, Any]
    milliseconds: float

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Every node that was carried out at least once."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            if node["Actual Loops"]:
                yield node
            waiting += node.get("Plans", [])

    def tables(self) -> set[str]:
        """The tables that were read or changed."""
        return {node["Relation Name"] for node in self.nodes() if "Relation Name" in node}


@contextmanager
def explained(server: PostgresServer, database: str, role: str) -> Iterator[tuple[psycopg.Connection[Any], list[Plan]]]:
    """A session as a role, and the plans of everything that it has run so far, nested statements first."""
    plans: list[Plan] = []

    def heard(notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        head, found, body = text.partition("  plan:\n")
        if found and head.startswith("duration:"):
            told = json.loads(body)
            milliseconds = float(head.removeprefix("duration:").removesuffix("ms"))
            plans.append(Plan(query=told["Query Text"], root=told["Plan"], milliseconds=milliseconds))

    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        connection.execute("LOAD 'auto_explain'")
        for name, value in _LOUD.items():
            connection.execute(
                sql.SQL("SET {} = {}").format(sql.Identifier("auto_explain", name), sql.Literal(value)),
            )
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.add_notice_handler(heard)
        plans.clear()
        yield connection, plans
