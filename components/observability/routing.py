"""Whom an alert reaches, and which alerts say nothing new while another one fires."""

from typing import Any

from components.base.manifests import Manifest, metadata
from components.observability.alerts_monitoring import DEAD_MAN, NOT_DELIVERED
from components.observability.model import Area, Severity, Surroundings
from settings.observability import Receiver, ReceiverKind

NAME = "payments-alerts"
PAGE, TICKET, DEAD_MAN_RECEIVER = "page", "ticket", "dead-man"


def _first(annotation: str) -> str:
    """An annotation of a group's first alert: what its alerts differ in is not among ``CommonAnnotations``."""
    return f"{{{{ (index .Alerts 0).Annotations.{annotation} }}}}"


# PagerDuty refuses an event without a description.
_TITLE = (
    f"{{{{ .GroupLabels.alertname }}}} of {{{{ .GroupLabels.subject }}}}: {_first('summary')}"
    "{{ if gt (len .Alerts) 1 }} (and {{ len (slice .Alerts 1) }} more){{ end }}"
)


def plan_routing(around: Surroundings) -> Manifest:
    """The AlertmanagerConfig. The operator adds ``namespace`` to every matcher, which all our alerts carry."""
    receivers = around.observability.receivers
    named = {PAGE: receivers.page, TICKET: receivers.ticket, DEAD_MAN_RECEIVER: receivers.dead_man}
    return {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": metadata(NAME, labels=around.labels_of("routing"), namespace=around.namespace),
        "spec": {
            "route": _route(),
            "receivers": [_receiver(name, receiver) for name, receiver in named.items()],
            "inhibitRules": _inhibitions(),
        },
    }


def _route() -> dict[str, Any]:
    return {
        "receiver": TICKET,
        "groupBy": ["alertname", "subject"],
        "groupWait": "30s",
        "groupInterval": "5m",
        "repeatInterval": "12h",
        "routes": [
            {
                # Sent anew each minute: the receiver's patience is what decides.
                "receiver": DEAD_MAN_RECEIVER,
                "matchers": [_equals("alertname", DEAD_MAN)],
                "groupWait": "0s",
                "groupInterval": "1m",
                "repeatInterval": "1m",
            },
            {
                # One of the two receivers is what does not work: the page comes by the next route.
                "receiver": TICKET,
                "matchers": [_equals("alertname", NOT_DELIVERED)],
                "repeatInterval": "1h",
                "continue": True,
            },
            {
                "receiver": PAGE,
                "matchers": [_equals("severity", str(Severity.CRITICAL))],
                "repeatInterval": "1h",
            },
        ],
    }


def _receiver(name: str, receiver: Receiver) -> dict[str, Any]:
    secret = {"name": receiver.existing_secret, "key": receiver.key}
    match receiver.kind:
        case ReceiverKind.PAGERDUTY:
            details = [{"key": key, "value": _first(key)} for key in ("action", "runbook")]
            config = {"routingKey": secret, "description": _TITLE, "details": details, "sendResolved": True}
            return {"name": name, "pagerdutyConfigs": [config]}
        case ReceiverKind.SLACK:
            lines = "\n".join(f"{{{{ .Annotations.{key} }}}}" for key in ("summary", "action", "runbook"))
            body = f"{{{{ range .Alerts }}}}{lines}\n{{{{ end }}}}"
            config = {"apiURL": secret, "title": _TITLE, "text": body, "sendResolved": True}
            return {"name": name, "slackConfigs": [config]}
        case ReceiverKind.WEBHOOK:
            return {"name": name, "webhookConfigs": [{"urlSecret": secret, "sendResolved": True}]}


def _inhibitions() -> list[dict[str, Any]]:
    """A cause silences its symptoms, and nothing else does."""
    warning = _equals("severity", str(Severity.WARNING))
    symptoms = "ApiLatencyHigh|ErrorBudgetBurn|CircuitBreakerOpen|EventErrorsHigh|DatabaseErrorsHigh"
    lag = "ConsumerLagGrowing|ConsumerDelayHigh|ConsumerStandsStill"
    return [
        # The same thing, said with less urgency.
        _inhibition([_equals("severity", str(Severity.CRITICAL))], [warning], equal=["alertname", "subject", "slo"]),
        # A service without pods has neither latency nor errors worth telling.
        _inhibition([_equals("alertname", "ServiceDown")], [_matches("alertname", symptoms)], equal=["subject"]),
        # Without a leader nothing moves, and every group stands still.
        _inhibition([_equals("alertname", "KafkaOfflinePartitions")], [_matches("alertname", lag)]),
        _inhibition(
            [_equals("alertname", "KafkaOfflinePartitions")],
            [_matches("alertname", "KafkaUnderMinIsr|KafkaUnderReplicated")],
        ),
        # Without a primary every write fails: the services' own warnings and the lag add nothing.
        _inhibition([_equals("alertname", "DatabaseWithoutPrimary")], [_matches("alertname", lag)]),
        _inhibition([_equals("alertname", "DatabaseWithoutPrimary")], [_equals("area", str(Area.SERVICES)), warning]),
        # Rules that are not evaluated record nothing: one cause, and a missing input for each scaler.
        _inhibition(
            [_equals("alertname", "AutoscalerInputsNotEvaluated")],
            [_matches("alertname", "AutoscalerInputMissing|AutoscalerInputStale|AutoscalerInactive")],
        ),
    ]


def _inhibition(
    sources: list[dict[str, str]], targets: list[dict[str, str]], *, equal: list[str] | None = None
) -> dict[str, Any]:
    rule: dict[str, Any] = {"sourceMatch": sources, "targetMatch": targets}
    return rule | ({"equal": equal} if equal else {})


def _equals(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value, "matchType": "="}


def _matches(name: str, pattern: str) -> dict[str, str]:
    return {"name": name, "value": pattern, "matchType": "=~"}
