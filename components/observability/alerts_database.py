"""Alerts on what is inside the shards: partitions, the outbox, read models. Each shard's primary is asked once."""

from collections.abc import Iterator

from components.observability.model import Alert, Area, Severity, Surroundings

_HEADROOM = "payments_database_partition_headroom_seconds"
_OUTBOX = "payments_database_outbox_oldest_seconds"
_READ_MODEL = "payments_database_read_model_age_seconds"
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
