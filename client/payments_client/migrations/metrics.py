"""Serves the figures of ``ops.metrics`` in Prometheus' text format, asked of the shard's primary at each scrape.

What cannot be asked is answered by 503, never by an older figure: the target is then down, and that has an alert.
"""

import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg

from payments_client.migrations.environment import Environment
from payments_client.migrations.errors import MigrationError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Row = tuple[str, str, float | None]
_PREFIX = "payments_database_"
_CONNECT_TIMEOUT_SECONDS = 3
"""For each of three members; Prometheus gives a scrape ten seconds."""
_STATEMENT_TIMEOUT = "5s"
_CLIENT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class _Figure:
    """One name of the view: what its label holds, separated by a slash, and what it tells."""

    labels: tuple[str, ...]
    help: str


_FIGURES = {
    "partition_headroom_seconds": _Figure(
        labels=("table",), help="Seconds until the first moment that no partition takes."
    ),
    "outbox_oldest_seconds": _Figure(labels=("lane",), help="Age of the oldest message that is not published."),
    "read_model_age_seconds": _Figure(labels=("model", "bucket"), help="Seconds since the read model was refreshed."),
    "schema_version": _Figure(labels=(), help="The newest migration that is applied."),
    "cross_shard_transfers": _Figure(labels=(), help="Transfers from this shard that are on their way to another one."),
    "cross_shard_oldest_seconds": _Figure(labels=(), help="Age of the oldest of them."),
    "buckets_refused_seconds": _Figure(
        labels=(), help="Seconds for which users of a bucket that leaves are refused; 0 while none are."
    ),
    "check_wrong_rows": _Figure(labels=("check",), help="Rows that the last check of balances found wrong."),
    "check_age_seconds": _Figure(labels=("check",), help="Seconds since that check was made."),
}


def ask(environment: Environment) -> list[Row]:
    """The rows of ``ops.metrics`` on the one member that takes writes. Raises ``psycopg.Error``."""
    parameters: dict[str, Any] = {
        **environment.parameters,
        "application_name": "payments-metrics",
        "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "options": f"-c statement_timeout={_STATEMENT_TIMEOUT} -c payments.shard={environment.shard}",
    }
    with psycopg.connect(**parameters, autocommit=True) as connection:
        rows = connection.execute("SELECT name, label, value FROM ops.metrics").fetchall()
    return [(name, label, None if value is None else float(value)) for name, label, value in rows]


def exposition(shard: str, rows: Iterable[Row]) -> str:
    """The figures as text. Names that are not known are left out: a newer migration may add some.

    Raises ``MigrationError`` when one that is known has no value: an alert on it could never fire.
    """
    values: dict[str, list[str]] = {name: [] for name in _FIGURES}
    for name, label, value in rows:
        if name in _FIGURES and value is not None:
            values[name].append(_sample(name, shard, label, value))
    missing = sorted(name for name, samples in values.items() if not samples)
    if missing:
        raise MigrationError(f"ops.metrics of {shard} has no {', '.join(missing)}")
    lines = []
    for name, samples in values.items():
        lines += [f"# HELP {_PREFIX}{name} {_FIGURES[name].help}", f"# TYPE {_PREFIX}{name} gauge", *samples]
    return "\n".join(lines) + "\n"


def _sample(name: str, shard: str, label: str, value: float) -> str:
    keys = _FIGURES[name].labels
    parts = label.split("/", len(keys) - 1) if keys else []
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in zip(("shard", *keys), (shard, *parts), strict=True))
    return f"{_PREFIX}{name}{{{pairs}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Answers:
    """What a scrape is answered: one question to the database at a time, whoever asks."""

    def __init__(self, figures: Callable[[], str], say: Callable[[str], None]) -> None:
        self._figures, self._say = figures, say
        self._lock, self._failure = threading.Lock(), ""

    def answer(self) -> tuple[HTTPStatus, str]:
        """Status and text; a failure is said once, until another one follows or it ends."""
        with self._lock:
            try:
                text, failure = self._figures(), ""
            except MigrationError as error:
                text, failure = "", str(error)
            except psycopg.Error as error:
                text, failure = "", f"the database refused: {str(error).splitlines()[-1].strip() or type(error)}"
            if failure != self._failure:
                self._say(failure or "the figures are there again")
                self._failure = failure
        # The reason is in the log only: whoever may scrape need not see the database's words.
        return (HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be asked\n") if failure else (HTTPStatus.OK, text)


def server(address: tuple[str, int], answers: Answers) -> ThreadingHTTPServer:
    """``/metrics`` asks the database, ``/healthz`` only says that the process answers."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_SECONDS
        server_version, sys_version = "payments-metrics", ""

        def do_GET(self) -> None:
            """Answer a scrape or a probe."""
            known: dict[str, Callable[[], tuple[HTTPStatus, str]]] = {
                "/metrics": answers.answer,
                "/healthz": lambda: (HTTPStatus.OK, "ok\n"),
            }
            status, text = known.get(self.path.partition("?")[0], lambda: (HTTPStatus.NOT_FOUND, "not found\n"))()
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class names it so
            """Say nothing: a line for each probe would hide the failures."""

    return ThreadingHTTPServer(address, Handler)


def serve(read: Callable[[], Environment], say: Callable[[str], None]) -> int:
    """Answer until the pod is told to end. The environment is read anew each time: passwords are renewed in place."""

    def figures() -> str:
        environment = read()
        return exposition(environment.shard, ask(environment))

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    # The first process of a container has no handler of its own.
    signal.signal(signal.SIGTERM, end)
    environment = read()
    address = (environment.metrics_address, environment.metrics_port)
    with server(address, Answers(figures, say)) as listening:
        say(f"figures of {environment.shard} at port {environment.metrics_port}")
        listening.serve_forever()
    return 0
