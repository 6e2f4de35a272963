"""Pods in every state that the controller tells apart, and how a trace puts some of them among its pods."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from tests.sandbox.differential.inputs import INIT_PERIOD_SECONDS, OLD_SECONDS, WINDOW_SECONDS, PodInput
from tests.sandbox.differential.scenario import PodChange, Situation


class PodKind(StrEnum):
    """States of a pod; times are relative to the beginning of the trace."""

    OLD = "old and ready"
    PENDING = "pending"
    INITIALISING_UNREADY = "young, not ready"
    INITIALISING_STALE = "young, ready, its sample older than one window since"
    INITIALISING_FRESH = "young, ready, sampled since"
    GROWING_OLD = "ready, its sample stale, and past the initialisation period soon"
    OLD_UNREADY_NEVER_READY = "old, never ready"
    OLD_UNREADY_ONCE_READY = "old, not ready any more"
    NO_READY_CONDITION = "without a Ready condition"
    NO_START_TIME = "without a start time"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    TERMINATING = "terminating"
    MISSING = "without a sample"
    PARTLY_MISSING = "without a sample of one container"


def changed(pod: PodInput, kind: PodKind, epoch: int) -> PodInput:
    """The pod in another state."""
    match kind:
        case PodKind.OLD:
            return pod
        case PodKind.PENDING:
            return replace(pod, phase="Pending", ready=False, ready_since=epoch - 20, started=None, usage=None)
        case PodKind.INITIALISING_UNREADY:
            return replace(pod, ready=False, started=epoch - 40, ready_since=epoch - 40)
        case PodKind.INITIALISING_STALE:
            # The sample ends 5 s after the pod became ready; a whole window would have to lie in between.
            return replace(pod, started=epoch - 60, ready_since=epoch - 10, sampled=epoch - 5)
        case PodKind.INITIALISING_FRESH:
            return replace(pod, started=epoch - 100, ready_since=epoch - 2 * WINDOW_SECONDS)
        case PodKind.GROWING_OLD:
            return replace(pod, started=epoch - INIT_PERIOD_SECONDS + 12, ready_since=epoch - 5, sampled=epoch)
        case PodKind.OLD_UNREADY_NEVER_READY:
            return replace(pod, ready=False, ready_since=epoch - OLD_SECONDS + 10)
        case PodKind.OLD_UNREADY_ONCE_READY:
            return replace(pod, ready=False, ready_since=epoch - 100)
        case PodKind.NO_READY_CONDITION:
            return replace(pod, ready=None)
        case PodKind.NO_START_TIME:
            return replace(pod, started=None)
        case PodKind.FAILED:
            return replace(pod, phase="Failed", ready=False, ready_since=epoch - 100)
        case PodKind.SUCCEEDED:
            return replace(pod, phase="Succeeded")
        case PodKind.TERMINATING:
            return replace(pod, terminating=True)
        case PodKind.MISSING:
            return replace(pod, usage=None, custom={})
        case PodKind.PARTLY_MISSING:
            usage: Mapping[str, Mapping[str, int]] = pod.usage or {}
            first = next(iter(usage), "")
            return replace(pod, usage={name: {} if name == first else amounts for name, amounts in usage.items()})


def some(number: int, kind: PodKind) -> PodChange:
    """The first ``number`` pods are of a kind."""

    def change(pods: list[PodInput], situation: Situation) -> list[PodInput]:
        return [changed(pod, kind, situation.epoch) for pod in pods[:number]] + pods[number:]

    return change


def no_pods(pods: list[PodInput], situation: Situation) -> list[PodInput]:
    """There are no pods, though the scale says so."""
    del pods, situation
    return []


def ghosts(pods: list[PodInput], situation: Situation) -> list[PodInput]:
    """The pods are gone, and the metrics APIs still report them."""
    del situation
    return [replace(pod, listed=False) for pod in pods]


def one_ghost(pods: list[PodInput], situation: Situation) -> list[PodInput]:
    """One pod more in the metrics APIs than there is."""
    del situation
    return [*pods, replace(pods[0], name=f"{pods[0].name}-gone", listed=False)]
