"""Alerts lead to an action, silence is heard, receivers read Secrets, load tests are bounded."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies.evaluate import Resource, evaluate
from tests.policy.samples import DEV, REMOVED, UNKNOWN_MARK, changed, kubernetes

PROD = {
    **DEV,
    "load-tests-are-bounded": {"maxRequestsPerSecond": 1000, "exceptionRequired": True, "approvers": ["head"]},
}
TODAY = datetime.now(tz=UTC).date()
RULE = "spec>groups>0>rules>0"


def rules() -> Resource:
    notes = {"summary": "s", "action": "a", "runbook": "docs/runbooks/latency.md#api-latency"}
    alert = {"alert": "Slow", "expr": "vector(0)", "labels": {"severity": "critical"}, "annotations": notes}
    dead_man = {"alert": "DeadMan", "expr": "vector(1)", "labels": {"severity": "none"}, "annotations": dict(notes)}
    body = {"spec": {"groups": [{"name": "g", "rules": [alert, dead_man]}]}}
    return kubernetes("monitoring.coreos.com/v1:PrometheusRule", "rules", body)


def routing() -> Resource:
    matcher = {"name": "alertname", "value": "DeadMan", "matchType": "="}
    hook = {"urlSecret": {"name": "hook", "key": "url"}}
    body = {
        "spec": {
            "route": {"receiver": "ticket", "routes": [{"receiver": "dead-man", "matchers": [matcher]}]},
            "receivers": [{"name": "ticket", "webhookConfigs": [hook]}, {"name": "dead-man"}],
        }
    }
    return kubernetes("monitoring.coreos.com/v1alpha1:AlertmanagerConfig", "routing", body)


def load_test(rate: object = "1000", by: object = "head", until: object = TODAY.isoformat()) -> Resource:
    notes = {
        "payments.dev/target": "http://payment-service-svc.payments:8080",
        "payments.dev/requests-per-second": rate,
        "payments.dev/allowed-by": by,
        "payments.dev/allowed-until": until,
    }
    return changed(
        kubernetes("k6.io/v1alpha1:TestRun", "test", {"spec": {"parallelism": 1}}), "metadata>annotations", notes
    )


def found(policy: str, *resources: Resource, config: Mapping[str, object] = DEV) -> list[str]:
    return [finding.message for finding in evaluate(list(resources), config) if finding.policy == policy]


def test_what_complies_is_accepted() -> None:
    resources = [rules(), routing(), load_test()]
    names = ("alerts-can-be-acted-on", "silence-is-heard", "receivers-read-secrets", "load-tests-are-bounded")
    for config in (DEV, PROD):
        assert [finding for finding in evaluate(resources, config) if finding.policy in names] == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("annotations>runbook", "https://wiki/x", "has the runbook 'https://wiki/x'. Allowed: docs/runbooks/"),
        ("annotations>runbook", REMOVED, "has the runbook"),
        ("annotations>action", "", "has no action"),
        ("annotations>summary", REMOVED, "has no summary"),
        ("labels>severity", "urgent", "has severity 'urgent'. Allowed: critical, warning, none"),
    ],
)
def test_an_alert_that_leads_nowhere_is_refused(path: str, value: object, said: str) -> None:
    [message] = found("alerts-can-be-acted-on", changed(rules(), f"{RULE}>{path}", value))
    assert said in message
    assert "'Slow'" in message
    assert found("alerts-can-be-acted-on", changed(rules(), f"{RULE}>{path}", UNKNOWN_MARK)) == []


def test_an_alert_on_an_unknown_metric_is_refused() -> None:
    [message] = found("scaler-metrics-have-a-source", changed(rules(), f"{RULE}>expr", "no_such_metric > 1"))
    assert "alerts 'Slow' on 'no_such_metric'" in message
    assert found("scaler-metrics-have-a-source", changed(rules(), f"{RULE}>expr", "up == 0")) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec>route>routes", []),
        ("spec>route>routes>0>receiver", "ticket"),
        ("spec>route>routes>0>matchers>0>value", "Other"),
    ],
)
def test_a_dead_man_without_a_receiver_of_its_own_is_refused(path: str, value: object) -> None:
    [message] = found("silence-is-heard", rules(), changed(routing(), path, value))
    assert "alerts that always fire (DeadMan)" in message


def test_no_dead_man_at_all_is_refused() -> None:
    [message] = found("silence-is-heard", routing())
    assert "there is none" in message


@pytest.mark.parametrize(
    ("receiver", "said"),
    [
        ({"webhookConfigs": [{"url": "https://hooks.test/secret"}]}, "holds a URL in webhookConfigs"),
        ({"pagerdutyConfigs": [{"routingKey": "abc"}]}, "holds routingKey in pagerdutyConfigs"),
        ({"slackConfigs": [{"apiURL": "https://hooks.test/secret"}]}, "holds apiURL in slackConfigs"),
    ],
)
def test_a_credential_in_the_object_is_refused_and_not_shown(receiver: dict[str, object], said: str) -> None:
    subject = changed(routing(), "spec>receivers>0", {"name": "ticket", **receiver})
    [message] = found("receivers-read-secrets", subject)
    assert said in message
    assert "secret" not in message.partition("Allowed")[0]
    assert "abc" not in message


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (load_test(rate="1001"), "sends 1001 requests/s. Allowed: at most 1000"),
        (load_test(rate="many"), "states no rate"),
        (load_test(by="somebody"), "allowed by 'somebody'. Allowed: head"),
        (load_test(until=(TODAY - timedelta(days=1)).isoformat()), "Allowed: today or later"),
        (load_test(until="soon"), "is allowed until 'soon'"),
    ],
)
def test_a_load_test_beyond_what_is_allowed_is_refused(subject: Resource, said: str) -> None:
    [message] = found("load-tests-are-bounded", subject, config=PROD)
    assert said in message


_TARGETS: dict[str, Any] = {
    "load-tests-are-bounded": {
        "maxRequestsPerSecond": 1000, "allowedTargets": ["http://a:8080", "http://b:8080"], "exceptionRequired": False,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://a:8080 http://b:8080", []),
        ("http://a:8080 http://c:8080 http://b:8080", ["sends load to 'http://c:8080'. Allowed: http://a:8080, http"]),
        (None, ["states no target in the annotation payments.dev/target"]),
    ],
)
def test_load_goes_to_allowed_targets_only(target: str | None, said: list[str]) -> None:
    subject = changed(load_test(), "metadata>annotations>payments.dev/target", target)
    messages = found("load-tests-are-bounded", subject, config=_TARGETS)
    assert len(messages) == len(said)
    assert all(part in message for message, part in zip(messages, said, strict=True))


def test_what_is_not_known_yet_is_not_judged() -> None:
    unknown = changed(load_test(), "metadata>annotations", UNKNOWN_MARK)
    assert found("load-tests-are-bounded", unknown, config=PROD) == []
    assert found("silence-is-heard", rules(), changed(routing(), "spec>route>routes", UNKNOWN_MARK)) == []


def test_outside_prod_nobody_has_to_allow_it() -> None:
    assert found("load-tests-are-bounded", load_test(by=None, until=None)) == []
    assert len(found("load-tests-are-bounded", load_test(rate="5000", by=None))) == 1
