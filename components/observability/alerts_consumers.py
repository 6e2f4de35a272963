"""Alerts on consumer groups: lag per consumer and its growth, never the sum of the lag.

The plan's alert, "lag > 10000", fires while 20 consumers at their target of 1000 each work as they should.
"""

from collections.abc import Iterator

from components.autoscaling.hpa import hpa_name
from components.observability.model import Alert, Area, Severity, Surroundings
from settings.kafka_names import dead_letter_topic, retry_topic
from settings.observability import ExporterKind
from settings.services import Consumer

_RETRY_SECONDS = 900
"""A message waits for 30 s there, as the settings have it."""


def consumer_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts for every consumer group; none without the lag's exporter."""
    if not around.has(ExporterKind.KAFKA):
        return
    for consumer in around.consumers.values():
        yield _lag_grows(around, consumer)
        yield _delay(around, consumer)
        yield _stands_still(consumer)
        yield _at_maximum(around, consumer)
        yield _dead_letters(consumer)
        yield _retries(consumer)


def lag_of(consumer: Consumer) -> str:
    """Recorded lag of a group on its topic, over all partitions."""
    return f'consumergroup:lag:sum{{consumergroup="{consumer.group}",topic="{consumer.topic}"}}'


def _lag_grows(around: Surroundings, consumer: Consumer) -> Alert:
    threshold = consumer.scaling.add_above_lag_per_consumer * around.observability.thresholds.lag_per_consumer_factor
    pods = f'kube_deployment_status_replicas_ready{{namespace="{around.namespace}",deployment="{consumer.name}"}}'
    per_consumer = f"sum({lag_of(consumer)}) / clamp_min(sum({pods}), 1)"
    return Alert(
        name="ConsumerLagGrowing",
        expression=f"{per_consumer} > {threshold:g} and sum(deriv({lag_of(consumer)}[10m])) > 0",
        lasts="5m",
        severity=Severity.WARNING,
        area=Area.CONSUMERS,
        subject=consumer.group,
        summary=f'{consumer.group}: {{{{ $value | printf "%.0f" }}}} messages per consumer, and growing',
        action="./payctl detect; with consumers below their maximum ./payctl act raises the minimum by 3",
        runbook="consumer-lag.md#lag-grows",
    )


def _delay(around: Surroundings, consumer: Consumer) -> Alert:
    seconds = around.observability.thresholds.event_delay_seconds
    chosen = f'{{consumergroup="{consumer.group}",topic="{consumer.topic}"}}'
    return Alert(
        name="ConsumerDelayHigh",
        expression=f"sum({lag_of(consumer)}) / (sum(consumergroup:events:rate5m{chosen}) > 0) > {seconds}",
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.CONSUMERS,
        subject=consumer.group,
        summary=f"{consumer.group} is {{{{ $value | humanizeDuration }}}} behind {consumer.topic} at its present pace",
        action="find out whether it is too few consumers, a slow dependency or one partition",
        runbook="consumer-lag.md#far-behind",
    )


def _stands_still(consumer: Consumer) -> Alert:
    chosen = f'{{consumergroup="{consumer.group}",topic="{consumer.topic}"}}'
    return Alert(
        name="ConsumerStandsStill",
        expression=f"sum({lag_of(consumer)}) > 0 and sum(consumergroup:events:rate5m{chosen}) == 0",
        lasts="10m",
        severity=Severity.CRITICAL,
        area=Area.CONSUMERS,
        subject=consumer.group,
        summary=f"{consumer.group} has work and commits nothing of it",
        action="look for a message that fails again and again, for endless rebalances, or for a hanging dependency",
        runbook="consumer-lag.md#nothing-is-committed",
    )


def _at_maximum(around: Surroundings, consumer: Consumer) -> Alert:
    scaler = f'{{namespace="{around.namespace}",horizontalpodautoscaler="{hpa_name(consumer.name)}"}}'
    at_maximum = (
        f"max(kube_horizontalpodautoscaler_status_current_replicas{scaler})"
        f" >= max(kube_horizontalpodautoscaler_spec_max_replicas{scaler})"
    )
    floor = consumer.scaling.add_above_lag_per_consumer * consumer.scaling.max_replicas
    return Alert(
        name="AtMaximumAndGrowing",
        expression=f"sum({lag_of(consumer)}) > {floor} and sum(deriv({lag_of(consumer)}[10m])) > 0 and {at_maximum}",
        lasts="10m",
        severity=Severity.CRITICAL,
        area=Area.AUTOSCALING,
        subject=consumer.name,
        summary=f'{consumer.name} has all its consumers, and the lag is {{{{ $value | printf "%.0f" }}}} and growing',
        action="./payctl plan says what a larger maximum takes; beyond the partitions it is a migration",
        runbook="at-maximum.md#consumers",
    )


def _dead_letters(consumer: Consumer) -> Alert:
    topic = dead_letter_topic(consumer.group)
    return Alert(
        name="DeadLetters",
        expression=f'sum(topic:events:rate5m{{topic="{topic}"}}) > 0',
        lasts="1m",
        severity=Severity.WARNING,
        area=Area.CONSUMERS,
        subject=consumer.group,
        summary=f"{consumer.group} gives messages up: they wait in {topic}",
        action="read why in the messages' headers; mend, then write them again before their retention ends",
        runbook="kafka-dead-letters.md#what-is-there-and-why",
    )


def _retries(consumer: Consumer) -> Alert:
    # A group of the topic's name reads it. It commits nothing while its first messages wait for their time.
    chosen = f'{{consumergroup="{retry_topic(consumer.group)}",topic="{retry_topic(consumer.group)}"}}'
    pace = f"(sum(consumergroup:events:rate5m{chosen}) or vector(0))"
    return Alert(
        name="RetriesPileUp",
        expression=f"sum(consumergroup:lag:sum{chosen}) > {_RETRY_SECONDS} * {pace}",
        lasts="15m",
        severity=Severity.WARNING,
        area=Area.CONSUMERS,
        subject=consumer.group,
        summary=f'{consumer.group}: {{{{ $value | printf "%.0f" }}}} messages wait in its retry topic and hardly move',
        action="mend what they fail of: what is there longer than the topic keeps it is lost",
        runbook="kafka-dead-letters.md#retries-pile-up",
    )
