"""What scalers may read: metrics that somebody provides, breakers only as a hold, tolerances only on lag."""

from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.objects import KubernetesObject
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.scaler_metrics import Recordings, ScalerMetric, alerts, metric_names, metrics_of, recordings
from policies.scalers import SCALER_KINDS
from policies.values import UNKNOWN, elements, fields, read, show

_NAMES = {"type": "array", "items": {"type": "string"}}
_DEFAULT_LAG_METRICS = ["kafka_consumer_lag", "kafka_consumer_rate_floor"]


def metrics_have_a_source() -> StackValidationPolicy:
    """A scaler on a metric that nobody emits never scales, and says so only in a status that nobody reads."""
    about = About(
        name="scaler-metrics-have-a-source",
        display_name="Scaler metrics have a source",
        description="Each metric that a scaler reads is recorded by this stack or emitted by a known exporter.",
        severity=Severity.HIGH,
        remediation="Record the metric in a PrometheusRule, or have the pack's owners list it with its exporter.",
        tags=("scaling", "observability"),
        schema=PolicyConfigSchema(
            properties={"exported": {"type": "object", "additionalProperties": _NAMES, "default": {}}}
        ),
    )
    return stack_policy(about, _check_sources)


def _check_sources(index: StackIndex, config: Config) -> Iterator[Violation]:
    recorded = recordings(index)
    names_recorded = set(recorded.expressions)
    exported = {str(name) for names in fields(read(config, "exported")).values() for name in elements(names)}
    for scaler in index.scalers:
        for metric in metrics_of(scaler.subject):
            missing = metric_names(metric.query or "") - names_recorded - exported
            for name in sorted(missing) if recorded.complete else []:
                yield Violation(
                    scaler.subject,
                    f"reads {show(name)}, which no rule of this stack records and no known exporter emits. Allowed: a"
                    " recorded or exported metric. Fix: correct the name, or record it in a PrometheusRule.",
                )
    for record, rules in recorded.expressions.items() if recorded.complete else []:
        for subject, expression in rules:
            for name in sorted(metric_names(expression) - names_recorded - exported):
                yield Violation(
                    subject,
                    f"records {show(record)} from {show(name)}, which no known exporter emits. Allowed: the metrics"
                    " that this pack lists. Fix: correct the name, or have the pack's owners list it.",
                )
    for subject, alert, expression in alerts(index) if recorded.complete else []:
        for name in sorted(metric_names(expression) - names_recorded - exported):
            yield Violation(
                subject,
                f"alerts {show(alert)} on {show(name)}, which no rule records and no known exporter emits: it can"
                " never fire. Allowed: a recorded or exported metric. Fix: correct the name, or have the pack's owners"
                " list it.",
            )


def breaker_only_holds() -> StackValidationPolicy:
    """More pods send more load to the dependency that is failing already."""
    about = About(
        name="breaker-only-holds",
        display_name="A circuit breaker only holds",
        description="A scaler reads a circuit breaker as 0 or 1 of the present pods: it holds them and adds none.",
        severity=Severity.HIGH,
        remediation="Record the breaker with `> bool`, and read it as a Value with target 1.",
        tags=("scaling",),
        schema=PolicyConfigSchema(properties={"word": {"type": "string", "default": "breaker"}}),
    )
    return stack_policy(about, _check_breakers)


def _check_breakers(index: StackIndex, config: Config) -> Iterator[Violation]:
    word, recorded = str(read(config, "word") or "breaker"), recordings(index)
    for scaler in index.scalers:
        for metric in metrics_of(scaler.subject):
            names = {metric.name, *metric_names(metric.query or "")}
            if any(word in name for name in names) and not _is_hold(metric, recorded):
                yield Violation(
                    scaler.subject,
                    f"scales up on the circuit breaker {show(metric.name)}. Allowed: a hold, a Value with target 1"
                    " recorded by a comparison with `> bool`. Fix: make it a hold, and alert on it.",
                )


def _is_hold(metric: ScalerMetric, recorded: Recordings) -> bool:
    """Tell whether it can only hold; what the preview does not know is given the benefit of the doubt."""
    if metric.is_ratio is False or (metric.target is not None and metric.target < 1):
        return False
    names = metric_names(metric.query or "")
    rules = [expression for name in names for _, expression in recorded.expressions.get(name, [])]
    if not rules:
        return not recorded.complete
    return all("> bool" in expression for expression in rules)


def tolerance_on_lag_only() -> ResourceValidationPolicy:
    """A tolerance holds for every metric of a scaler: half of it on cpu means no scale-down above half the target."""
    about = About(
        name="tolerance-on-lag-only",
        display_name="Tolerances only where every metric is a lag",
        description="A scaler with a tolerance of its own reads nothing but lag-like metrics, which fall to zero.",
        severity=Severity.MEDIUM,
        remediation="Leave the tolerance out, or give the lag a scaler of its own.",
        tags=("scaling",),
        schema=PolicyConfigSchema(properties={"lagMetrics": {**_NAMES, "default": _DEFAULT_LAG_METRICS}}),
    )
    return object_policy(about, _check_tolerance, SCALER_KINDS)


def _check_tolerance(subject: KubernetesObject, config: Config) -> Iterator[str]:
    behavior = read(subject.props, "spec", "behavior")
    if subject.kind == "ScaledObject":
        behavior = read(subject.props, "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior")
    if all(read(behavior, direction, "tolerance") in (None, UNKNOWN) for direction in ("scaleUp", "scaleDown")):
        return
    allowed = {str(name) for name in elements(read(config, "lagMetrics"))}
    for metric in metrics_of(subject):
        names = metric_names(metric.query or "") or {metric.name}
        if metric.kind not in ("kafka", "kubernetes-workload") and not names <= allowed:
            yield (
                f"has a tolerance of its own and scales on {show(metric.name)}, which is no lag. Allowed: lag-like"
                f" metrics only ({', '.join(sorted(allowed))}). Fix: remove the tolerance, or scale them apart."
            )


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [metrics_have_a_source(), breaker_only_holds(), tolerance_on_lag_only()]
