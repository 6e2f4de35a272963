"""The figures of a shard as Prometheus gets them: from the rendered pod's own command, and from a real server."""

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from components.observability.catalogue import Metric
from components.observability.catalogue_backends import SHARD_METRICS
from payments_client.migrations import care
from payments_client.migrations.environment import Environment, read
from payments_client.migrations.errors import MigrationError
from payments_client.migrations.metrics import Answers, Row, ask, exposition
from sandbox.ports import free_port
from tests.real.database import roles
from tests.real.database.conftest import Database
from tests.real.database.test_job import laid_out, rendered

_DEADLINE_SECONDS = 60
_MONTH_SECONDS = 28 * 86_400


def environment_of(database: Database) -> Environment:
    server = {"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": str(database.server.port), "DATABASE_SSLMODE": "disable"}
    return read({**server, "DATABASE_NAME": database.name, "DATABASE_USER": roles.EXPORTER, "METRICS_SHARD": "s00"})


def values(text: str, name: str) -> dict[str, float]:
    """Labels as written → value of one metric."""
    lines = [line for line in text.splitlines() if line.startswith(f"payments_database_{name}{{")]
    return {line[line.index("{") : line.index("}") + 1]: float(line.rpartition(" ")[2]) for line in lines}


def scraped(database: Database) -> str:
    return exposition("s00", ask(environment_of(database)))


@contextmanager
def serving(database: Database, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The rendered Deployment's container as a process on loopback, and its URL."""
    manifests = rendered(database)
    command, variables = laid_out(manifests, manifests["s00-metrics"]["spec"]["template"], folder)
    port = free_port()
    variables |= {"METRICS_ADDRESS": "127.0.0.1", "METRICS_PORT": str(port)}
    with subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def get(url: str) -> tuple[int, str]:
    """Status and body, once somebody listens."""
    ends = time.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 # loopback
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError:
            assert time.monotonic() < ends, f"nobody listens at {url}"
            time.sleep(0.1)


def test_the_rendered_pod_serves_every_figure_of_the_catalogue_once(newest: Database, tmp_path: Path) -> None:
    with newest.connect(roles.MIGRATOR) as connection:
        care.make_ahead(connection, 3)
    with serving(newest, tmp_path) as (process, url):
        status, text = get(f"{url}/metrics")
        assert (status, get(f"{url}/healthz")) == (HTTPStatus.OK, (HTTPStatus.OK, "ok\n"))
        assert get(f"{url}/")[0] == HTTPStatus.NOT_FOUND
        # A container's first process has to end when it is told to.
        process.terminate()
        assert process.wait(timeout=_DEADLINE_SECONDS) == 0
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    names = [line.partition("{")[0] for line in samples]
    assert sorted(set(names)) == sorted(metric.name for metric in SHARD_METRICS)
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)
    for metric in SHARD_METRICS:
        assert text.count(f"# TYPE {metric.name} {metric.type}\n") == 1
        assert_labels(metric, samples)
    assert values(text, "partition_headroom_seconds")['{shard="s00",table="es.events"}'] > 3 * _MONTH_SECONDS
    assert len(values(text, "outbox_oldest_seconds")) == 16
    assert len(values(text, "read_model_age_seconds")) == 4


def assert_labels(metric: Metric, samples: list[str]) -> None:
    """The labels are those of the catalogue, in its order, on every sample."""
    for line in samples:
        if line.startswith(f"{metric.name}{{"):
            keys = [pair.partition("=")[0] for pair in line[line.index("{") + 1 : line.index("}")].split(",")]
            assert tuple(keys) == metric.labels, line


def test_a_message_that_waits_and_a_model_that_is_old_are_seen_in_their_lane_and_bucket(database: Database) -> None:
    newly = values(scraped(database), "outbox_oldest_seconds")
    assert set(newly.values()) == {0.0}
    database.all(
        "INSERT INTO es.outbox (lane, topic, key, payload, created_at) "
        "VALUES (7, 't', 'k', '{}', clock_timestamp() - interval '2 hours')"
    )
    database.all("UPDATE es.read_model_cursor SET updated_at = updated_at - interval '3 hours' WHERE bucket = 2")
    text = scraped(database)
    waiting = {labels: value for labels, value in values(text, "outbox_oldest_seconds").items() if value > 0}
    assert list(waiting) == ['{shard="s00",lane="7"}']
    assert 7_200 <= waiting['{shard="s00",lane="7"}'] < 10_000
    old = [labels for labels, value in values(text, "read_model_age_seconds").items() if value > 10_000]
    assert old == ['{shard="s00",model="wallet_balances",bucket="2"}']


def test_money_on_its_way_is_counted_and_its_oldest_transfer_has_an_age(database: Database) -> None:
    assert values(scraped(database), "cross_shard_oldest_seconds") == {'{shard="s00"}': 0.0}
    for number, state, minutes in ((1, "started", 10), (2, "started", 40), (3, "completed", 90)):
        database.all(
            "INSERT INTO ledger.cross_transfers (transfer_id, source, target, target_shard, amount, currency, state, "
            "created_at, settled_at) VALUES (%s, 'a', 'b', 's01', 1, 'EUR', %s, "
            "clock_timestamp() - make_interval(mins => %s), "
            "CASE %s WHEN 'started' THEN NULL ELSE clock_timestamp() END)",
            f"t{number}", state, minutes, state,
        )  # fmt: skip
    text = scraped(database)
    assert values(text, "cross_shard_transfers") == {'{shard="s00"}': 2.0}
    assert 2_400 <= values(text, "cross_shard_oldest_seconds")['{shard="s00"}'] < 2_460


def test_users_who_are_refused_while_a_bucket_moves_are_seen_and_those_of_a_copy_are_not(database: Database) -> None:
    def refused_seconds() -> float:
        return values(scraped(database), "buckets_refused_seconds")['{shard="s00"}']

    older = "UPDATE ops.buckets SET closed_at = closed_at - interval '2 hours'"
    assert refused_seconds() == 0
    # Closed here for this shard itself: it is the one that they go to, and nobody asks it for them yet.
    database.all("SELECT ops.close_buckets(8, 9, 's00')")
    database.all(older)
    assert refused_seconds() == 0
    # Closed here for another shard, until they have left and the other one is open.
    database.all("SELECT ops.close_buckets(0, 1, 's01')")
    database.all(older)
    assert 7_200 <= refused_seconds() < 7_260
    database.all("INSERT INTO ops.asked (first_bucket, last_bucket, upto, pending) VALUES (0, 1, '5', '{}')")
    database.all("UPDATE ops.buckets SET drained_at = clock_timestamp(), left_at = clock_timestamp() WHERE bucket < 2")
    assert 7_200 <= refused_seconds() < 7_260
    database.all("SELECT ops.forget_copy('s00', 0, 1)")
    assert refused_seconds() == 0


def test_without_a_partition_of_today_the_headroom_is_nought(database: Database) -> None:
    for (name,) in database.all(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'es.events'::regclass"
    ):
        database.all(f"DROP TABLE {name}")
    assert values(scraped(database), "partition_headroom_seconds") == {'{shard="s00",table="es.events"}': 0.0}


def test_what_cannot_be_asked_is_no_figure_and_is_said_once(database: Database) -> None:
    said: list[str] = []
    answers = Answers(lambda: scraped(database), said.append)
    assert answers.answer()[0] == HTTPStatus.OK
    database.all("REVOKE SELECT ON ops.metrics FROM payments_exporter")
    refused = [answers.answer() for _ in range(2)]
    assert refused == [(HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be asked\n")] * 2
    database.all("GRANT SELECT ON ops.metrics TO payments_exporter")
    assert answers.answer()[0] == HTTPStatus.OK
    assert said == ["the database refused: permission denied for view metrics", "the figures are there again"]


def test_a_member_that_takes_no_writes_is_not_asked(database: Database) -> None:
    """A replica answers the same query; its figures would stand beside those of the primary."""
    with database.server.connect() as connection:
        connection.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    status, _ = Answers(lambda: scraped(database), print).answer()
    assert status == HTTPStatus.SERVICE_UNAVAILABLE


ROWS: list[Row] = [
    ("partition_headroom_seconds", "es.events", 5.0),
    ("outbox_oldest_seconds", "0", 0.0),
    ("read_model_age_seconds", 'a"b/3', 1.5),
    ("schema_version", "", 10.0),
    ("cross_shard_transfers", "", 0.0),
    ("cross_shard_oldest_seconds", "", 0.0),
    ("buckets_refused_seconds", "", 0.0),
    ("check_wrong_rows", "books", 0.0),
    ("check_age_seconds", "books", 60.0),
]


def test_a_figure_that_is_missing_is_an_error_and_one_that_is_new_is_left_out() -> None:
    text = exposition("s00", [*ROWS, ("something_new", "x", 1.0)])
    assert "something_new" not in text
    assert 'payments_database_read_model_age_seconds{shard="s00",model="a\\"b",bucket="3"} 1.5' in text
    without: list[Row] = [*ROWS[1:], ("partition_headroom_seconds", "es.events", None)]
    with pytest.raises(MigrationError, match="of s00 has no partition_headroom_seconds"):
        exposition("s00", without)
