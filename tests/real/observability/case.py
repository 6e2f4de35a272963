"""A case of an alert: series as promtool writes them, and what several areas' cases read."""

from dataclasses import dataclass

NAMESPACE = "payments"
DAY = "1d"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Input series by name and labels → values, one a minute; whether the alert of this subject fires at ``at``."""

    alert: str
    subject: str
    fires: bool
    series: dict[str, str]
    at: str = "30m"
    labels: str = ""
    """More matchers that choose the alert."""


def pair(
    alert: str,
    subject: str,
    *,
    fires: dict[str, str],
    silent: dict[str, str],
    at: str = "30m",
    labels: str = "",
) -> list[Case]:
    """Both cases of one alert."""
    return [
        Case(alert=alert, subject=subject, fires=True, series=fires, at=at, labels=labels),
        Case(alert=alert, subject=subject, fires=False, series=silent, at=at, labels=labels),
    ]


def constant(value: float, minutes: int = 60) -> str:
    return f"{value:g}x{minutes}"


def rising(step: float, *, start: float = 0, minutes: int = 60) -> str:
    return f"{start:g}+{step:g}x{minutes}"


def falling(step: float, *, start: float, minutes: int = 60) -> str:
    return f"{start:g}-{step:g}x{minutes}"


def group(lag: str, *, consumers: int = 3, offsets: str = "0+6000x60", maximum: int = 24) -> dict[str, str]:
    group = 'consumergroup="payment-service-group",topic="payment-events",partition="0"'
    hpa = f'namespace="{NAMESPACE}",horizontalpodautoscaler="payment-processors-hpa"'
    deployment = f'namespace="{NAMESPACE}",deployment="payment-processors"'
    return {
        f"kafka_consumergroup_lag{{{group}}}": lag,
        f"kafka_consumergroup_current_offset{{{group}}}": offsets,
        f"kube_deployment_status_replicas_ready{{{deployment}}}": constant(consumers),
        f"kube_horizontalpodautoscaler_status_current_replicas{{{hpa}}}": constant(consumers),
        f"kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}": constant(maximum),
    }


def api_at(pods: int, requests: str) -> dict[str, str]:
    hpa = f'namespace="{NAMESPACE}",horizontalpodautoscaler="payment-service-hpa"'
    return {
        f"kube_horizontalpodautoscaler_status_current_replicas{{{hpa}}}": constant(pods),
        f"kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}": constant(20),
        'http_requests_total{service="payment-service",route="/api/v1/payments",code="200"}': requests,
    }


# Each minute adds more than the one before: a rate that grows.
ACCELERATING = " ".join(str(600 * minute * minute) for minute in range(60))

GROUP, PAYMENT, READER = "payment-service-group", "payment-service", "payment-processors"
