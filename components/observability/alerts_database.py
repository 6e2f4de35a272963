"""Alerts on what is inside the shards: schema, partitions, the outbox, money. Each shard's primary is asked once."""

from collections.abc import Iterator

from components.observability.model import Alert, Area, Severity, Surroundings

_HEADROOM = "payments_database_partition_headroom_seconds"
_OUTBOX = "payments_database_outbox_oldest_seconds"
_READ_MODEL = "payments_database_read_model_age_seconds"
_VERSION = "payments_database_schema_version"
_ON_ITS_WAY = "payments_database_cross_shard_oldest_seconds"
_REFUSED = "payments_database_buckets_refused_seconds"
_WRONG = "payments_database_check_wrong_rows"
_CHECK_AGE = "payments_database_check_age_seconds"
_STUCK_SECONDS = {Severity.WARNING: 300, Severity.CRITICAL: 1800}
"""A transfer takes milliseconds and a failover half a minute; what fails is tried again every 5 minutes at least."""
_REFUSED_SECONDS = {Severity.WARNING: 600, Severity.CRITICAL: 3600}
"""A cut over takes about a minute; its steps are lines that a person runs, and may forget the last of."""
_UNCHECKED_SECONDS = 172_800
"""Two days: the check is daily, and one run may fail."""
_MONTH_SECONDS = 2_592_000
"""30 days. At least three months are made ahead, every day."""
_SHORT_MONTHS = {Severity.WARNING: 2, Severity.CRITICAL: 1}


def shard_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts on the shards whose figures are served."""
    if not around.measured_shards:
        return
    for severity, months in _SHORT_MONTHS.items():
        yield Alert(
            name="PartitionHeadroomLow",
            # Until when a table has partitions without a hole.
            expression=f"min by (shard, table) ({_HEADROOM}) < {months * _MONTH_SECONDS}",
            lasts="15m",
            severity=severity,
            area=Area.DATABASE,
            subject="partitions",
            summary="{{ $labels.table }} of {{ $labels.shard }} has partitions for {{ $value | humanizeDuration }}",
            action="look why database-care of this shard fails, and run it: without a partition no event is stored",
            runbook="database-shards.md#partitions-run-out",
        )
    yield Alert(
        name="OutboxStuck",
        expression=f"max by (shard, lane) ({_OUTBOX}) > 60",
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.DATABASE,
        subject="outbox",
        summary=(
            "lane {{ $labels.lane }} of {{ $labels.shard }}: a message waits for {{ $value | humanizeDuration }}"
            " to be published"
        ),
        action="see whether the services publish and the brokers accept; what waits is not lost",
        runbook="database-shards.md#the-outbox-is-stuck",
    )
    yield from _schema_alerts()
    yield from _money_alerts()
    for severity, seconds in _REFUSED_SECONDS.items():
        yield Alert(
            name="BucketsStayClosed",
            expression=f"max by (shard) ({_REFUSED}) > {seconds}",
            lasts="1m",
            severity=severity,
            area=Area.DATABASE,
            subject="buckets",
            summary="{{ $labels.shard }} refuses the users of buckets that move for {{ $value | humanizeDuration }}",
            action="run the rest of the cut over; before hand_over_buckets, reopening the buckets here ends it as well",
            runbook="database-shards.md#users-are-refused-while-buckets-move",
        )
    if around.balances_kept:
        yield Alert(
            name="BalancesStale",
            expression=f'max by (shard) ({_READ_MODEL}{{model="wallet_balances"}}) > 60',
            lasts="5m",
            severity=Severity.WARNING,
            area=Area.DATABASE,
            subject="balances",
            summary="balances that {{ $labels.shard }} shows are {{ $value | humanizeDuration }} old",
            action="look at the CronJob database-balances of this shard; nothing about money is decided by them",
            runbook="database-shards.md#balances-are-old",
        )


def _schema_alerts() -> Iterator[Alert]:
    yield Alert(
        name="SchemaVersionsDiffer",
        expression=f"max({_VERSION}) - min({_VERSION}) > 0",
        # All shards are migrated by one deployment; an index over a year of events takes a while.
        lasts="1h",
        severity=Severity.WARNING,
        area=Area.DATABASE,
        subject="schema",
        summary="a shard is {{ $value }} migrations behind another one",
        action="payctl db status names it; look why its migration Job fails, and run it before the next release",
        runbook="database-shards.md#the-schema-differs-between-shards",
    )


def _money_alerts() -> Iterator[Alert]:
    for severity, seconds in _STUCK_SECONDS.items():
        yield Alert(
            name="CrossShardTransferStuck",
            expression=f"max by (shard) ({_ON_ITS_WAY}) > {seconds}",
            lasts="1m",
            severity=severity,
            area=Area.DATABASE,
            subject="cross-shard-transfers",
            summary="money that left a wallet of {{ $labels.shard }} is on its way for {{ $value | humanizeDuration }}",
            action="see that the target's shard answers and workers run; the money is in a house wallet, not lost",
            runbook="database-shards.md#money-is-stuck-between-shards",
        )
    yield Alert(
        name="BooksWrong",
        expression=f"max by (shard, check) ({_WRONG}) > 0",
        lasts="1m",
        severity=Severity.CRITICAL,
        area=Area.DATABASE,
        subject="books",
        summary="{{ $value }} rows of {{ $labels.shard }} do not agree with the events ({{ $labels.check }})",
        action="the log of database-care names them; find out what wrote them before anything else is changed",
        runbook="database-shards.md#the-books-are-wrong",
    )
    yield Alert(
        name="BooksUnchecked",
        expression=f"max by (shard, check) ({_CHECK_AGE}) > {_UNCHECKED_SECONDS}",
        lasts="15m",
        severity=Severity.CRITICAL,
        area=Area.DATABASE,
        subject="books",
        summary="{{ $labels.check }} of {{ $labels.shard }} were last compared {{ $value | humanizeDuration }} ago",
        action="look why the CronJob database-care of this shard fails or is too slow, and run it",
        runbook="database-shards.md#the-books-are-not-checked",
    )
