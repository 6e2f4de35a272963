"""Alerts on what the services' Kafka client counts itself: a reader that hangs, waits or is refused, a writer unheard.

Lag says little of one partition among many; the client knows which of its handlers does not come back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from components.observability.model import Alert, Area, Severity, Surroundings
from settings.services import Consumer

_EVENTS = "payments_kafka_events_total"
_INSIDE = "payments_kafka_seconds_in_handler"
HANDLER_SECONDS = 60
"""One message takes longer: its handler hangs."""
_PAGE = "kafka-clients.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """What a client counts and should not: once within the window is enough."""

    alert: str
    event: str
    window: str
    lasts: str
    severity: Severity
    summary: str
    """With ``{group}`` and ``{name}`` of the consumer."""
    action: str
    anchor: str


_HAPPENED = (
    _Event(
        alert="HandlersWait",
        event="unavailable",
        window="5m",
        lasts="10m",
        severity=Severity.WARNING,
        summary="{group} postpones messages: what its handlers need is down",
        action="look at the database and at what else the handlers call; nothing is lost, and it goes on by itself",
        anchor="messages-wait-for-a-dependency",
    ),
    _Event(
        alert="FailedMessageStays",
        event="park_failed",
        window="5m",
        lasts="2m",
        severity=Severity.CRITICAL,
        summary="{group}: neither its retry nor its dead-letter topic takes a message: its partition waits",
        action="see whether the brokers take writes; then the user's access and the message's size",
        anchor="a-failed-message-stays",
    ),
    _Event(
        alert="BrokersRefuseConsumer",
        event="refused",
        window="10m",
        lasts="0m",
        severity=Severity.CRITICAL,
        summary="the brokers refuse {name}: its pods end and start again",
        action="compare the KafkaUser's rules and password with what the pods have; AccessError in the logs names it",
        anchor="the-brokers-refuse-a-consumer",
    ),
    _Event(
        alert="ConsumerGivenUp",
        event="lost",
        window="15m",
        lasts="0m",
        severity=Severity.WARNING,
        summary="{group} has given up a member that still ran: messages are handled twice",
        action="look for pods without CPU time, long pauses or a broken network to the brokers",
        anchor="a-member-was-given-up",
    ),
    _Event(
        alert="CommitsFail",
        event="commit_failed",
        window="5m",
        lasts="10m",
        severity=Severity.WARNING,
        summary="{group}: the brokers refuse commits; a restart would handle everything since then again",
        action="read the reason in the logs; see whether the group has a coordinator",
        anchor="commits-fail",
    ),
)


def client_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts for every Deployment that reads or writes a topic."""
    for consumer in around.consumers.values():
        yield _unseen(around, consumer)
        yield _hangs(consumer)
        yield from (_happened(consumer, event) for event in _HAPPENED)
        yield _fails(around, consumer)
        yield _rebalances(around, consumer)
    for workload in _writers(around):
        yield _not_acknowledged(workload)
        yield _broken(workload)


def _writers(around: Surroundings) -> list[str]:
    """APIs that write topics, and all consumers: they write their groups' retries and dead letters."""
    return [*sorted(name for name, service in around.services.items() if service.api.produces), *around.consumers]


def _increase(workload: str, event: str, window: str, more: str = "") -> str:
    return f'sum(increase({_EVENTS}{{service="{workload}",event="{event}"{more}}}[{window}]))'


def _alert(
    name: str,
    consumer: Consumer,
    expression: str,
    *,
    lasts: str,
    severity: Severity,
    summary: str,
    action: str,
    anchor: str,
) -> Alert:
    return Alert(
        name=name, expression=expression, lasts=lasts, severity=severity, area=Area.CONSUMERS, subject=consumer.group,
        summary=summary, action=action, runbook=f"{_PAGE}#{anchor}",
    )  # fmt: skip


def _unseen(around: Surroundings, consumer: Consumer) -> Alert:
    pods = f'kube_deployment_status_replicas_ready{{namespace="{around.namespace}",deployment="{consumer.name}"}}'
    return _alert(
        "KafkaClientUnseen",
        consumer,
        f'absent({_INSIDE}{{service="{consumer.name}"}}) and on () sum({pods}) > 0',
        lasts="15m",
        severity=Severity.WARNING,
        summary=f"{consumer.name} serves no metrics of its Kafka client: a handler that hangs reaches nobody",
        action="give its Runner metrics=PrometheusMetrics() and serve them with the others",
        anchor="the-client-is-not-seen",
    )


def _hangs(consumer: Consumer) -> Alert:
    return _alert(
        "HandlerHangs",
        consumer,
        f'max by (pod, topic) ({_INSIDE}{{service="{consumer.name}"}}) > {HANDLER_SECONDS}',
        lasts="1m",
        severity=Severity.CRITICAL,
        summary=(
            "{{ $labels.pod }} has been at one message of {{ $labels.topic }} for {{ $value | humanizeDuration }}:"
            " its partition stands still"
        ),
        action="read where its thread stands, then delete the pod; give what it waits for a deadline",
        anchor="a-handler-hangs",
    )


def _happened(consumer: Consumer, what: _Event) -> Alert:
    return _alert(
        what.alert,
        consumer,
        f"{_increase(consumer.name, what.event, what.window)} > 0",
        lasts=what.lasts,
        severity=what.severity,
        summary=what.summary.format(group=consumer.group, name=consumer.name),
        action=what.action,
        anchor=what.anchor,
    )


def _fails(around: Surroundings, consumer: Consumer) -> Alert:
    def rate(event: str) -> str:
        return f'sum(rate({_EVENTS}{{service="{consumer.name}",event="{event}"}}[5m]))'

    failed = rate("failed")
    return _alert(
        "HandlersFail",
        consumer,
        f"100 * {failed} / ({failed} + {rate('handled')} > 0) > {around.observability.thresholds.error_percent}",
        lasts="10m",
        severity=Severity.WARNING,
        summary=f'{consumer.group}: {{{{ $value | printf "%.1f" }}}} % of the attempts at messages fail',
        action="read the errors in its logs; undo the last deployment when it began with it",
        anchor="many-attempts-fail",
    )


def _rebalances(around: Surroundings, consumer: Consumer) -> Alert:
    # A rollout moves each partition about twice.
    most = 4 * around.topics[consumer.topic].partitions
    moved = _increase(consumer.name, "revoked", "30m", f',topic="{consumer.topic}"')
    return _alert(
        "RebalancesWithoutEnd",
        consumer,
        f"{moved} > {most}",
        lasts="0m",
        severity=Severity.WARNING,
        summary=f'{consumer.group}: {{{{ $value | printf "%.0f" }}}} partitions moved within 30 minutes',
        action="look for pods that come and go: restarts, probes that fail, an autoscaler that swings",
        anchor="rebalances-without-end",
    )


def _not_acknowledged(workload: str) -> Alert:
    return Alert(
        name="EventsNotAcknowledged",
        expression=f"{_increase(workload, 'not_acknowledged', '5m')} > 0",
        lasts="1m",
        severity=Severity.CRITICAL,
        area=Area.KAFKA,
        subject=workload,
        summary=f'{workload} has {{{{ $value | printf "%.0f" }}}} messages that the brokers did not acknowledge',
        action="see whether the brokers take writes; what comes from an outbox is written again, the rest may be lost",
        runbook=f"{_PAGE}#messages-are-not-acknowledged",
    )


def _broken(workload: str) -> Alert:
    return Alert(
        name="ProducerBroken",
        expression=f"{_increase(workload, 'producer_broken', '5m')} > 0",
        lasts="0m",
        severity=Severity.CRITICAL,
        area=Area.KAFKA,
        subject=workload,
        summary=f"a producer of {workload} is beyond repair and takes no message",
        action="delete the pod; FatalError must end the process, which then starts again",
        runbook=f"{_PAGE}#a-producer-is-broken",
    )
