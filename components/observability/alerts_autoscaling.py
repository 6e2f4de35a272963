"""Alerts on the autoscalers: inputs that no longer move, scalers that cannot act, and maxima that are reached.

``components/autoscaling/rules.py`` has the alert on each input that is missing; it lies beside the recordings.
"""

from collections.abc import Iterable, Iterator

from components.autoscaling.hpa import hpa_name
from components.autoscaling.policy import ScalingPolicy, Trigger
from components.autoscaling.rules import NAME as INPUTS
from components.observability.model import Alert, Area, Severity, Surroundings
from settings.observability import ExporterKind


def autoscaling_alerts(around: Surroundings, policies: Iterable[ScalingPolicy]) -> Iterator[Alert]:
    """Alerts for every scaler, and for every input that several of them may share."""
    chosen = sorted(policies, key=lambda policy: policy.workload)
    inputs = {(t.metric, t.labels): t for policy in chosen for t in policy.triggers if t.target_per_pod is not None}
    yield from (_stale(inputs[key]) for key in sorted(inputs))
    yield _not_evaluated()
    for policy in chosen:
        yield _cannot_act(around, policy.workload)
        if policy.workload in around.services:
            yield _at_maximum(around, policy.workload)
    if around.has(ExporterKind.KEDA):
        yield _keda_fails(around)


def _stale(trigger: Trigger) -> Alert:
    """An amount under load never stands still to the last digit; capped ratios and holds do, and are left out.

    An exporter that answers with what it knew long ago looks like this; one that does not answer is ``absent``.
    """
    chosen = ",".join(f'{key}="{value}"' for key, value in trigger.labels)
    subject = ", ".join(value for _, value in trigger.labels)
    series = f"{trigger.metric}{{{chosen}}}"
    return Alert(
        name="AutoscalerInputStale",
        expression=f"changes({series}[15m]) == 0 and {series} > 0",
        lasts="5m",
        severity=Severity.WARNING,
        area=Area.AUTOSCALING,
        subject=subject,
        summary=f"{trigger.metric} of {subject} has not moved for 15 minutes",
        action="see whether its exporter still reads anything; the scaler takes the old value for the present one",
        runbook="autoscaling.md#a-metric-does-not-move",
        labels={"metric": trigger.metric},
    )


def _not_evaluated() -> Alert:
    group = f'rule_group=~".*{INPUTS}.*"'
    return Alert(
        name="AutoscalerInputsNotEvaluated",
        expression=(
            f"time() - max(prometheus_rule_group_last_evaluation_timestamp_seconds{{{group}}}) > 60"
            f" or sum(increase(prometheus_rule_evaluation_failures_total{{{group}}}[5m])) > 0"
        ),
        lasts="2m",
        severity=Severity.CRITICAL,
        area=Area.AUTOSCALING,
        subject=INPUTS,
        summary="Prometheus does not evaluate the rules that the autoscalers read",
        action="look at Prometheus' own log and memory; raise minimum replicas if the load grows meanwhile",
        runbook="autoscaling.md#the-rules-are-not-evaluated",
    )


def _cannot_act(around: Surroundings, workload: str) -> Alert:
    scaler = f'namespace="{around.namespace}",horizontalpodautoscaler="{hpa_name(workload)}"'
    return Alert(
        name="AutoscalerInactive",
        expression=(
            f'max(kube_horizontalpodautoscaler_status_condition{{{scaler},condition="ScalingActive",status="false"}})'
            " == 1"
        ),
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.AUTOSCALING,
        subject=workload,
        summary=f"the autoscaler of {workload} cannot compute a size",
        action=f"kubectl describe hpa {hpa_name(workload)} says which metric it cannot read",
        runbook="autoscaling.md#an-autoscaler-does-not-act",
    )


def _at_maximum(around: Surroundings, service: str) -> Alert:
    """At the maximum, and the requests still grow; a quiet evening at the maximum is nobody's problem."""
    scaler = f'{{namespace="{around.namespace}",horizontalpodautoscaler="{hpa_name(service)}"}}'
    return Alert(
        name="AtMaximumAndGrowing",
        expression=(
            f"max(kube_horizontalpodautoscaler_status_current_replicas{scaler})"
            f" >= max(kube_horizontalpodautoscaler_spec_max_replicas{scaler})"
            f' and sum(deriv(service:http_requests:rate5m{{service="{service}"}}[10m])) > 0'
        ),
        lasts="10m",
        severity=Severity.CRITICAL,
        area=Area.AUTOSCALING,
        subject=service,
        summary=f"{service} runs at its maximum of {{{{ $value }}}} pods and the requests still grow",
        action="./payctl plan says what a larger maximum takes of pods, connections and quota",
        runbook="at-maximum.md#apis",
    )


def _keda_fails(around: Surroundings) -> Alert:
    return Alert(
        name="KedaScalerErrors",
        expression=(
            "sum by (scaledObject, triggerName)"
            f' (rate(keda_scaler_detail_errors_total{{namespace="{around.namespace}"}}[5m])) > 0'
        ),
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.AUTOSCALING,
        subject="keda",
        summary="KEDA cannot read {{ $labels.triggerName }} of {{ $labels.scaledObject }}: its fallback comes next",
        action="kubectl describe scaledobject tells the error; try Kafka's credentials and Prometheus' address first",
        runbook="autoscaling.md#an-autoscaler-does-not-act",
    )
