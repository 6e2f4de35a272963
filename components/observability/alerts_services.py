"""Alerts on the services themselves: latency, errors, memory, breakers, and pods that are not there."""

from collections.abc import Iterator

from components.observability.model import Alert, Area, Severity, Surroundings


def service_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts for every API."""
    limits = around.observability.thresholds
    place = f'namespace="{around.namespace}"'
    for service in sorted(around.services):
        chosen = f'{{service="{service}"}}'
        p99 = f"1000 * service:http_request_duration_seconds:p99_5m{chosen}"
        yield Alert(
            name="ApiLatencyHigh",
            expression=f"{p99} > {limits.latency_p99_milliseconds}",
            lasts="5m",
            severity=Severity.CRITICAL,
            area=Area.SERVICES,
            subject=service,
            summary=f'{service}: p99 is {{{{ $value | printf "%.0f" }}}} ms',
            action="./payctl detect says what binds; where it is the API itself, ./payctl act raises its minimum by 2",
            runbook="latency.md#api-latency",
        )
        yield Alert(
            name="CircuitBreakerOpen",
            expression=f"100 * service:circuit_breaker_open:ratio_rate5m{chosen} > {limits.breaker_open_percent}",
            lasts="2m",
            severity=Severity.CRITICAL,
            area=Area.SERVICES,
            subject=service,
            summary=f'{service}: breakers refuse {{{{ $value | printf "%.0f" }}}} % of the calls to a dependency',
            action="look at the dependency; do not add pods, they would send it more load",
            runbook="circuit-breaker.md#breaker-open",
        )
        yield _errors(around, service, "Event", "service:event_errors:ratio_rate5m", "events")
        yield _errors(around, service, "Database", "service:database_errors:ratio_rate5m", "database queries")
        yield Alert(
            name="ServiceDown",
            expression=f'kube_deployment_status_replicas_available{{{place},deployment="{service}"}} == 0',
            lasts="1m",
            severity=Severity.CRITICAL,
            area=Area.SERVICES,
            subject=service,
            summary=f"{service}: no pod is available",
            action="look at the pods' events; undo the last deployment when it began with it",
            runbook="service-down.md#no-pod-available",
        )


def _errors(around: Surroundings, service: str, kind: str, record: str, noun: str) -> Alert:
    return Alert(
        name=f"{kind}ErrorsHigh",
        expression=f'100 * {record}{{service="{service}"}} > {around.observability.thresholds.error_percent}',
        lasts="10m",
        severity=Severity.WARNING,
        area=Area.SERVICES,
        subject=service,
        summary=f'{service}: {{{{ $value | printf "%.1f" }}}} % of its {noun} fail',
        action="read the errors by operation on the service's dashboard; then its logs of that minute",
        runbook=f"errors.md#{kind.lower()}-errors",
    )


def workload_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts for every Deployment, consumers included."""
    percent = around.observability.thresholds.memory_percent
    for workload in around.workloads:
        yield Alert(
            name="MemoryHigh",
            expression=f'100 * max(pod:memory_use_of_limit:ratio{{container="{workload}"}}) > {percent}',
            lasts="10m",
            severity=Severity.WARNING,
            area=Area.SERVICES,
            subject=workload,
            summary=f'{workload}: a pod uses {{{{ $value | printf "%.0f" }}}} % of its memory limit',
            action="rising without end is a leak: roll it back; else ./payctl act raises limit and request together",
            runbook="memory.md#memory-high",
        )
        yield Alert(
            name="PodsRestarting",
            expression=(
                f'sum(increase(kube_pod_container_status_restarts_total{{namespace="{around.namespace}",'
                f'container="{workload}"}}[15m])) > 3'
            ),
            lasts="0m",
            severity=Severity.WARNING,
            area=Area.SERVICES,
            subject=workload,
            summary=f'{workload}: {{{{ $value | printf "%.0f" }}}} restarts within 15 minutes',
            action="kubectl describe pod tells the reason; OOMKilled is memory, an exit code is the program",
            runbook="service-down.md#pods-restart",
        )
