"""``python -m payments_client.migrations apply | care | balances | metrics | status``: what the Jobs of a shard run.

``apply``   migrations, then partitions ahead, then ``RECONNECT`` at the poolers when something changed.
``care``    partitions ahead, old months to the archive, old idempotency keys forgotten, balances compared with events.
``balances``  the read model of balances, again and again for BALANCES_RUN_SECONDS; as the application.
``metrics``  the figures of the shard for Prometheus, until it is told to end; as the exporter.
``status``  exits with 1 when something is pending or wrong.
Everything else comes from the environment, see ``environment.py``.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence

import psycopg

from payments_client.migrations import care
from payments_client.migrations.balances import keep_fresh
from payments_client.migrations.checks import check_all
from payments_client.migrations.environment import Environment, read
from payments_client.migrations.errors import MigrationError
from payments_client.migrations.files import load
from payments_client.migrations.history import Connection, Status, read_status
from payments_client.migrations.metrics import serve
from payments_client.migrations.poolers import reconnect
from payments_client.migrations.runner import Options, apply, explain

_CONNECT_ATTEMPTS = 30


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Exit code: 0 done, 1 failed or pending, 2 wrong call."""
    commands = {"apply": _apply, "care": _care, "status": _status}
    known = [*commands, "balances", "metrics"]
    if len(arguments) != 1 or arguments[0] not in known:
        print(f"usage: python -m payments_client.migrations {' | '.join(known)}", file=sys.stderr)
        return 2
    try:
        environment = read(variables)
        if arguments[0] == "balances":
            return _balances(environment)
        if arguments[0] == "metrics":
            return serve(lambda: read(variables), _say)
        with _connect(environment) as connection:
            return commands[arguments[0]](connection, environment)
    except MigrationError as error:
        print(error, file=sys.stderr)
    except psycopg.Error as error:
        print(f"the database refused: {explain(error)}", file=sys.stderr)
    return 1


def _apply(connection: Connection, environment: Environment) -> int:
    options = Options(owner=environment.owner, contract_through=environment.contract_through)
    done = apply(connection, load(environment.folder), options, _say)
    _ahead(connection, environment)
    if done.applied:
        for address, failure in reconnect(environment.poolers, environment.database).items():
            _say(f"pooler {address} did not RECONNECT: {failure}; it renews its connections by server_lifetime")
    _say(f"version {done.status.newest:04d}; applied {len(done.applied)}, waiting {len(done.waiting)}")
    return 0


def _care(connection: Connection, environment: Environment) -> int:
    connection.execute("SELECT set_config('role', %s, false)", (environment.owner,))
    _ahead(connection, environment)
    if environment.keep_months is not None:
        care.archive_old(connection, environment.keep_months, say=_say)
    if environment.keep_keys_days is not None:
        _say(f"forgot {care.forget_keys(connection, environment.keep_keys_days)} idempotency keys")
    # Last: it takes longest. What it finds is for the alert on it, not for this Job, which would only repeat it.
    check_all(connection, _say)
    return 0


def _balances(environment: Environment) -> int:
    keep_fresh(
        lambda: _connect(environment),
        run_seconds=environment.balances_run_seconds,
        interval_seconds=environment.balances_interval_seconds,
        say=_say,
    )
    return 0


def _ahead(connection: Connection, environment: Environment) -> None:
    for name in care.make_ahead(connection, environment.months_ahead, _say):
        _say(f"made {name}")
    for parent, days in care.headroom_days(connection).items():
        _say(f"es.{parent} has partitions for {days:.0f} days")


def _status(connection: Connection, environment: Environment) -> int:
    connection.execute("SELECT set_config('role', %s, false)", (environment.owner,))
    status = read_status(connection, load(environment.folder))
    for line in describe(status):
        _say(line)
    return 0 if status.current else 1


def describe(status: Status) -> list[str]:
    """A status for people."""
    parts = {
        "pending": status.pending,
        "unfinished": status.unfinished,
        "edited": status.edited,
        "missing in the folder": status.unknown,
        "ahead of the folder": status.ahead,
    }
    return [
        f"version {status.newest:04d}",
        *(f"{name}: {', '.join(labels)}" for name, labels in parts.items() if labels),
    ]


def _connect(environment: Environment) -> Connection:
    """Connect to the primary; while it is elected or restarted, try for a minute."""
    for attempt in range(1, _CONNECT_ATTEMPTS + 1):
        try:
            return psycopg.connect(**environment.parameters, autocommit=True)  # type: ignore[arg-type]
        except psycopg.OperationalError as error:
            reason = str(error).splitlines()[-1].strip()
            if attempt == _CONNECT_ATTEMPTS or "authentication failed" in str(error):
                raise MigrationError(
                    f"{environment.host}:{environment.port}/{environment.database} cannot be reached: {reason}"
                ) from None
            _say(f"not reachable yet: {reason}")
            time.sleep(2)
    raise AssertionError("unreachable")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))
