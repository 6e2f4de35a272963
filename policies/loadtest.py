"""How far a load test may go, and against what."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.objects import KubernetesObject
from policies.rules import About, Config, object_policy
from policies.values import UNKNOWN, elements, number, read, show, text

TARGET, RATE, ALLOWED_BY, ALLOWED_UNTIL = (
    "payments.dev/target",
    "payments.dev/requests-per-second",
    "payments.dev/allowed-by",
    "payments.dev/allowed-until",
)


def load_tests_are_bounded() -> ResourceValidationPolicy:
    """A load test without a limit is a denial of service with good intentions."""
    about = About(
        name="load-tests-are-bounded",
        display_name="Load tests are bounded",
        description="A TestRun states rate and target, stays within limits, and in prod names who allowed it.",
        severity=Severity.HIGH,
        remediation="Take a smaller scenario, or have the pack's owners raise the limit or name the exception.",
        tags=("loadtest", "availability"),
        schema=PolicyConfigSchema(
            properties={
                "maxRequestsPerSecond": {"type": "integer", "default": 1000},
                "allowedTargets": {"type": "array", "items": {"type": "string"}},
                "exceptionRequired": {"type": "boolean", "default": True},
                "approvers": {"type": "array", "items": {"type": "string"}, "default": []},
            }
        ),
    )
    return object_policy(about, _check_test, frozenset({"TestRun"}))


def _check_test(subject: KubernetesObject, config: Config) -> Iterator[str]:
    annotations = read(subject.props, "metadata", "annotations")
    limit = number(read(config, "maxRequestsPerSecond")) or 1000
    rate = read(annotations, RATE)
    if rate is not UNKNOWN:
        stated = number(rate) if isinstance(rate, int | float) else _whole(rate)
        if stated is None:
            yield f"states no rate in the annotation {RATE}. Allowed: requests per second. Fix: add it."
        elif stated > limit:
            yield f"sends {stated:g} requests/s. Allowed: at most {limit:g} here. Fix: take a smaller scenario."
    targets, target = read(config, "allowedTargets"), read(annotations, TARGET)
    if targets is not None and target is not UNKNOWN:
        allowed = [str(each) for each in elements(targets)]
        # Several, with a space between them.
        several, choice = (text(target) or "").split(), ", ".join(allowed) or "nothing"
        if not several:
            yield f"states no target in the annotation {TARGET}. Allowed: {choice}. Fix: add it."
        for one in several:
            if one not in allowed:
                yield f"sends load to {show(one)}. Allowed: {choice}. Fix: take one of these."
    if read(config, "exceptionRequired") is not False:
        yield from _check_exception(annotations, [str(name) for name in elements(read(config, "approvers"))])


def _check_exception(annotations: object, approvers: list[str]) -> Iterator[str]:
    who, until = read(annotations, ALLOWED_BY), read(annotations, ALLOWED_UNTIL)
    if UNKNOWN in (who, until):
        return
    if who not in approvers:
        yield (
            f"sends load to production, allowed by {show(who)}. Allowed: {', '.join(approvers) or 'nobody'}. Fix: test"
            " another stack, or have the pack's owners name who may allow it."
        )
    day = _day(text(until))
    if day is None or day < datetime.now(tz=UTC).date():
        yield f"is allowed until {show(until)}. Allowed: today or later. Fix: have the exception renewed."


def _whole(value: object) -> float | None:
    return float(value) if isinstance(value, str) and value.isdigit() else None


def _day(value: str | None) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        return None


def policies() -> list[ResourceValidationPolicy]:
    """Return this module's policies."""
    return [load_tests_are_bounded()]
