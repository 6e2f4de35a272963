"""Is an object ready? Pure answers from its own state, by kind; what to await and for how long."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.plugins.kubernetes.discovery import group_of
from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.kubernetes.paths import get, parse

DEFAULT_TIMEOUT_SECONDS = 600.0
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"
REFUSED_PODS = "pods cannot be created"

Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """``failed`` is final: waiting longer will not help. ``message`` says what is still missing, or why."""

    ready: bool
    message: str = ""
    failed: bool = False


READY = Readiness(ready=True)
Check = Callable[[Object], Readiness]


def _waiting(message: str) -> Readiness:
    return Readiness(ready=False, message=message)


def _failed(message: str) -> Readiness:
    return Readiness(ready=False, message=message, failed=True)


def check_for(live: Object, annotations: Mapping[str, Any]) -> Check | None:
    """How to tell that this object is ready; None when there is nothing to await.

    Raises ``ProviderError`` for a ``pulumi.com/waitFor`` that cannot be understood.
    """
    if str(annotations.get(SKIP_AWAIT)).lower() == "true":
        return None
    wanted = annotations.get(WAIT_FOR)
    if wanted:
        return _all_of([_wait_for(text) for text in _expressions(str(wanted))])
    return _BY_KIND.get((group_of(str(live.get("apiVersion"))), str(live.get("kind"))))


def timeout_seconds(requested: float, annotations: Mapping[str, Any]) -> float:
    """The engine's ``customTimeouts`` first, then the annotation, then ten minutes."""
    if requested > 0:
        return requested
    try:
        return float(annotations.get(TIMEOUT) or DEFAULT_TIMEOUT_SECONDS)
    except ValueError as error:
        message = f"annotation {TIMEOUT} is {annotations.get(TIMEOUT)!r}; expected a number of seconds"
        raise ProviderError(message) from error


def condition(live: Object, name: str) -> Mapping[str, Any] | None:
    """The named entry of ``status.conditions``."""
    for entry in get(live, ("status", "conditions")) or []:
        if isinstance(entry, Mapping) and entry.get("type") == name:
            return entry
    return None


def _says(entry: Mapping[str, Any]) -> str:
    return ": ".join(str(entry[key]) for key in ("reason", "message") if entry.get(key))


def _unobserved(live: Object) -> Readiness | None:
    """A controller has not looked at this generation yet."""
    generation = get(live, ("metadata", "generation"), 0)
    if get(live, ("status", "observedGeneration"), 0) < generation:
        return _waiting(f"the controller has not looked at generation {generation} of the object yet")
    return None


def deployment(live: Object) -> Readiness:
    """All replicas are of the newest version and available, and the older ones are gone."""
    if get(live, ("spec", "paused")):
        return READY
    if (unobserved := _unobserved(live)) is not None:
        return unobserved
    progressing, failure = condition(live, "Progressing"), condition(live, "ReplicaFailure")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed(_says(progressing))
    if failure is not None and failure.get("status") == "True":
        return _waiting(f"{REFUSED_PODS}: {_says(failure)}")
    missing = _missing_replicas(live)
    return _waiting(missing) if missing else READY


def _missing_replicas(live: Object) -> str | None:
    wanted = get(live, ("spec", "replicas"), 1)
    status = live.get("status") or {}
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} replicas have the new version"
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} replicas of an older version are still to end"
    if available < updated:
        return f"{available} of {updated} replicas are available"
    return None


def stateful_set(live: Object) -> Readiness:
    """All replicas are ready and, beyond the partition, of the newest version."""
    if (unobserved := _unobserved(live)) is not None:
        return unobserved
    wanted = get(live, ("spec", "replicas"), 1)
    status = live.get("status") or {}
    ready = status.get("readyReplicas", 0)
    if ready < wanted:
        return _waiting(f"{ready} of {wanted} replicas are ready")
    if get(live, ("spec", "updateStrategy", "type")) == "OnDelete":
        return READY
    partition = get(live, ("spec", "updateStrategy", "rollingUpdate", "partition"), 0)
    updated = status.get("updatedReplicas", 0)
    if status.get("updateRevision") != status.get("currentRevision") and updated < wanted - partition:
        return _waiting(f"{updated} of {wanted - partition} replicas have the new version")
    return READY


def daemon_set(live: Object) -> Readiness:
    """Every node that should run a pod runs one of the newest version."""
    if (unobserved := _unobserved(live)) is not None:
        return unobserved
    status = live.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    if get(live, ("spec", "updateStrategy", "type")) != "OnDelete":
        updated = status.get("updatedNumberScheduled", 0)
        if updated < wanted:
            return _waiting(f"{updated} of {wanted} pods have the new version")
    if available < wanted:
        return _waiting(f"{available} of {wanted} pods are available")
    return READY


def job(live: Object) -> Readiness:
    """The Job has completed, or is suspended on purpose."""
    failed = condition(live, "Failed")
    if failed is not None and failed.get("status") == "True":
        return _failed(f"the Job failed: {_says(failed)}")
    complete = condition(live, "Complete")
    if get(live, ("spec", "suspend")) or (complete is not None and complete.get("status") == "True"):
        return READY
    status = live.get("status") or {}
    counts = ", ".join(f"{status.get(name, 0)} {name}" for name in ("active", "succeeded", "failed"))
    return _waiting(f"the Job has not completed: {counts}")


def service(live: Object) -> Readiness:
    """A load balancer has its address; the other types have nothing to wait for."""
    if get(live, ("spec", "type")) == "LoadBalancer" and not get(live, ("status", "loadBalancer", "ingress")):
        return _waiting("no load balancer has been assigned yet")
    return READY


def volume_claim(live: Object) -> Readiness:
    """The claim is bound. Claims that bind at first use are left out by the caller."""
    phase = get(live, ("status", "phase"), "Pending")
    if phase == "Lost":
        return _failed("the claim's volume is lost")
    return READY if phase == "Bound" else _waiting(f"the claim is {phase}, not Bound")


def pod(live: Object) -> Readiness:
    """The pod is ready, or has done its work."""
    phase = get(live, ("status", "phase"), "Pending")
    if phase == "Failed":
        return _failed(f"the pod failed: {get(live, ('status', 'message'), 'no message')}")
    ready = condition(live, "Ready")
    if phase == "Succeeded" or (ready is not None and ready.get("status") == "True"):
        return READY
    return _waiting(f"the pod is {phase} and not ready")


def namespace(live: Object) -> Readiness:
    """The namespace accepts objects."""
    return READY if get(live, ("status", "phase")) == "Active" else _waiting("the namespace is not active")


def definition(live: Object) -> Readiness:
    """The API server serves the kinds of a CustomResourceDefinition."""
    refused = condition(live, "NamesAccepted")
    if refused is not None and refused.get("status") == "False":
        return _failed(f"the names were not accepted: {_says(refused)}")
    established = condition(live, "Established")
    if established is not None and established.get("status") == "True":
        return READY
    return _waiting("the API server does not serve the kind yet")


_BY_KIND: dict[tuple[str, str], Check] = {
    ("apps", "Deployment"): deployment,
    ("apps", "StatefulSet"): stateful_set,
    ("apps", "DaemonSet"): daemon_set,
    ("batch", "Job"): job,
    ("", "Service"): service,
    ("", "PersistentVolumeClaim"): volume_claim,
    ("", "Pod"): pod,
    ("", "Namespace"): namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definition,
}

_CONDITION = re.compile(r"condition=([^=]+)(?:=(.+))?\Z")
_JSONPATH = re.compile(r"jsonpath=\{?\.?(.+?)\}?(?:=([^{}]*))?\Z")


def _expressions(text: str) -> list[str]:
    """One expression, or a JSON list of expressions that must all hold."""
    if not text.lstrip().startswith("["):
        return [text.strip()]
    try:
        items = json.loads(text)
    except ValueError as error:
        message = f'annotation {WAIT_FOR} is {text!r}; a list must be JSON, e.g. ["condition=Ready"]'
        raise ProviderError(message) from error
    return [str(item).strip() for item in items]


def _wait_for(text: str) -> Check:
    if match := _CONDITION.match(text):
        name, wanted = match.group(1), match.group(2) or "True"

        def by_condition(live: Object) -> Readiness:
            entry = condition(live, name)
            stale = get(live, ("metadata", "generation"), 0) > (entry or {}).get("observedGeneration", float("inf"))
            if entry is not None and str(entry.get("status")).lower() == wanted.lower() and not stale:
                return READY
            return _waiting(f"condition {name} is not {wanted}" + (f" ({_says(entry)})" if entry else ""))

        return by_condition
    if match := _JSONPATH.match(text):
        expression, value = match.group(1), match.group(2)
        try:
            path = parse(expression.replace("'", '"'))
        except ValueError as error:
            message = (
                f"annotation {WAIT_FOR}: {text!r} is not a path that the stand-in understands, e.g. {{.status.phase}}"
            )
            raise ProviderError(message) from error

        def by_path(live: Object) -> Readiness:
            found = get(live, path)
            if found is not None and (value is None or _text(found) == value):
                return READY
            return _waiting(f"{expression} is {_text(found)}, awaited is {value or 'any value'}")

        return by_path
    message = f'annotation {WAIT_FOR} is {text!r}; expected "condition=Ready" or "jsonpath={{.status.phase}}=Running"'
    raise ProviderError(message)


def _text(value: object) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value)


def _all_of(checks: list[Check]) -> Check:
    def together(live: Object) -> Readiness:
        for check in checks:
            answer = check(live)
            if not answer.ready:
                return answer
        return READY

    return together
