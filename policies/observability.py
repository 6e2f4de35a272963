"""Alerts that lead to an action, and somebody who hears when all of them fall silent."""

import re
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.objects import KubernetesObject
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, fields, read, show, text

_NAMES = {"type": "array", "items": {"type": "string"}}
_SEVERITIES = ["critical", "warning", "none"]
_RUNBOOK = re.compile(r"(?:^|/)docs/runbooks/[\w-]+\.md(?:#[\w-]+)?$")
_CREDENTIALS = ("apiURL", "routingKey", "serviceKey", "urlSecret", "apiSecret", "authPassword")


def alerts_can_be_acted_on() -> ResourceValidationPolicy:
    """Somebody who is woken without being told what to do goes back to sleep, rightly."""
    about = About(
        name="alerts-can-be-acted-on",
        display_name="Alerts can be acted on",
        description="Each alert has a known severity, a summary, an action and a link to a runbook.",
        severity=Severity.MEDIUM,
        remediation="Add the annotations summary, action and runbook (docs/runbooks/PAGE.md#HEADING).",
        tags=("observability",),
        schema=PolicyConfigSchema(properties={"severities": {**_NAMES, "default": _SEVERITIES}}),
    )
    return object_policy(about, _check_alerts, frozenset({"PrometheusRule"}))


def _check_alerts(subject: KubernetesObject, config: Config) -> Iterator[str]:
    severities = [str(one) for one in elements(read(config, "severities"))] or _SEVERITIES
    for group in elements(read(subject.props, "spec", "groups")):
        for rule in elements(read(group, "rules")):
            name = text(read(rule, "alert"))
            if name is not None:
                yield from _check_alert(name, rule, severities)


def _check_alert(name: str, rule: object, severities: list[str]) -> Iterator[str]:
    severity = read(rule, "labels", "severity")
    if severity is not UNKNOWN and severity not in severities:
        yield (
            f"the alert {show(name)} has severity {show(severity)}. Allowed: {', '.join(severities)}, which decide whom"
            " it reaches. Fix: set labels.severity."
        )
    for key in ("summary", "action"):
        found = read(rule, "annotations", key)
        if found is not UNKNOWN and not found:
            yield f"the alert {show(name)} has no {key}. Allowed: a sentence. Fix: add annotations.{key}."
    runbook = read(rule, "annotations", "runbook")
    if runbook is not UNKNOWN and not (isinstance(runbook, str) and _RUNBOOK.search(runbook)):
        yield (
            f"the alert {show(name)} has the runbook {show(runbook)}. Allowed: docs/runbooks/PAGE.md#HEADING. Fix:"
            " write the page and name it in annotations.runbook."
        )


def silence_is_heard() -> StackValidationPolicy:
    """A monitoring that is down sends nothing, and nothing looks exactly like peace."""
    about = About(
        name="silence-is-heard",
        display_name="Silence is heard",
        description="Alerts have a dead man: one that always fires and is routed to a receiver of its own.",
        severity=Severity.HIGH,
        remediation="Add an alert on vector(1), and a route that matches it and repeats within minutes.",
        tags=("observability",),
    )
    return stack_policy(about, _check_dead_man)


def _check_dead_man(index: StackIndex, _config: Config) -> Iterator[Violation]:
    names: set[str] = set()
    for rules in index.by_kind.get("PrometheusRule", []):
        for group in elements(read(rules.props, "spec", "groups")):
            for rule in elements(read(group, "rules")):
                if read(rule, "expr") == "vector(1)" and isinstance(name := read(rule, "alert"), str):
                    names.add(name)
    for config in index.by_kind.get("AlertmanagerConfig", []):
        if not any(_is_routed(config, name) for name in names):
            yield Violation(
                config,
                f"routes none of the alerts that always fire ({', '.join(sorted(names)) or 'there is none'}) to a"
                " receiver of its own. Allowed: one route whose only matcher is such an alert. Fix: add the alert and"
                " the route.",
            )


def _is_routed(config: KubernetesObject, name: str) -> bool:
    default = read(config.props, "spec", "route", "receiver")
    routes = read(config.props, "spec", "route", "routes")
    if routes is UNKNOWN:
        return True
    for route in elements(routes):
        matchers = list(elements(read(route, "matchers")))
        if len(matchers) == 1 and read(matchers[0], "name") == "alertname" and read(matchers[0], "value") == name:
            return read(route, "receiver") != default
    return False


def receivers_read_secrets() -> ResourceValidationPolicy:
    """A webhook's URL is a credential: whoever reads it can post, or silence by flooding."""
    about = About(
        name="receivers-read-secrets",
        display_name="Receivers read Secrets",
        description="An AlertmanagerConfig names Secrets for its credentials and holds none of them itself.",
        severity=Severity.HIGH,
        remediation="Put the URL or the key into a Secret, and name it with its key.",
        tags=("observability", "secrets"),
        pci="8.6.2",
        pci_text="Passwords for application accounts are not hard coded in scripts, configuration or source code",
    )
    return object_policy(about, _check_receivers, frozenset({"AlertmanagerConfig"}))


def _check_receivers(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    for receiver in elements(read(subject.props, "spec", "receivers")):
        name = show(read(receiver, "name"))
        for kind in sorted(key for key in fields(receiver) if key.endswith("Configs")):
            for one in elements(read(receiver, kind)):
                if isinstance(read(one, "url"), str):
                    yield f"receiver {name} holds a URL in {kind}. Allowed: urlSecret. Fix: name a Secret."
                for key in _CREDENTIALS:
                    if isinstance(read(one, key), str):
                        yield f"receiver {name} holds {key} in {kind}. Allowed: a Secret's name and key. Fix: name it."


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return this module's policies."""
    return [alerts_can_be_acted_on(), silence_is_heard(), receivers_read_secrets()]
