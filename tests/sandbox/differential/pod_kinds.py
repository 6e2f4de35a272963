"""Pods in every state that the controller tells apart, and how a trace puts some of them among its pods."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

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
    if kind is PodKind.PARTLY_MISSING:
        return _without_first_container(pod)
    old_start = epoch - OLD_SECONDS
    fields: Mapping[PodKind, Mapping[str, Any]] = {
        PodKind.OLD: {},
        PodKind.PENDING: {
            "phase": "Pending",
            "ready": False,
            "ready_since": epoch - 20,
            "started": None,
            "usage": None,
        },
        PodKind.INITIALISING_UNREADY: {"ready": False, "started": epoch - 40, "ready_since": epoch - 40},
        # The sample ends 5 s after the pod became ready; a whole window would have to lie in between.
        PodKind.INITIALISING_STALE: {"started": epoch - 60, "ready_since": epoch - 10, "sampled": epoch - 5},
        PodKind.INITIALISING_FRESH: {"started": epoch - 100, "ready_since": epoch - 2 * WINDOW_SECONDS},
        PodKind.GROWING_OLD: {
            "started": epoch - INIT_PERIOD_SECONDS + 12,
            "ready_since": epoch - 5,
            "sampled": epoch,
        },
        PodKind.OLD_UNREADY_NEVER_READY: {"ready": False, "ready_since": old_start + 10},
        PodKind.OLD_UNREADY_ONCE_READY: {"ready": False, "ready_since": epoch - 100},
        PodKind.NO_READY_CONDITION: {"ready": None},
        PodKind.NO_START_TIME: {"started": None},
        PodKind.FAILED: {"phase": "Failed", "ready": False, "ready_since": epoch - 100},
        PodKind.SUCCEEDED: {"phase": "Succeeded"},
        PodKind.TERMINATING: {"terminating": True},
        PodKind.MISSING: {"usage": None, "custom": {}},
    }
    return replace(pod, **fields[kind])


def _without_first_container(pod: PodInput) -> PodInput:
    usage = pod.usage or {}
    first = next(iter(usage), "")
    return replace(pod, usage={name: {} if name == first else amounts for name, amounts in usage.items()})


def some(number: int, kind: PodKind) -> PodChange:
    """The first ``number`` pods are of a kind."""

    def change(pods: list[PodInput], situation: Situation) -> list[PodInput]:
        return [changed(pod, kind, situation.epoch) for pod in pods[:number]] + pods[number:]

    return change


def as_many(number: int, change: PodChange) -> PodChange:
    """So many pods, whatever the scale says, and then some other change."""

    def changed_number(pods: list[PodInput], situation: Situation) -> list[PodInput]:
        stem = pods[0].name.rpartition("-")[0]
        return change([replace(pods[0], name=f"{stem}-{place}") for place in range(number)], situation)

    return changed_number


def first_reports(metric: str, milli_units: int) -> PodChange:
    """The first pod has another value of a pods metric."""

    def change(pods: list[PodInput], situation: Situation) -> list[PodInput]:
        del situation
        return [replace(pods[0], custom={**pods[0].custom, metric: milli_units}), *pods[1:]]

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
    """One pod more in the metrics APIs than there is, with five times the values of a pods metric."""
    del situation
    custom = {metric: 5 * value for metric, value in pods[0].custom.items()}
    return [*pods, replace(pods[0], name=f"{pods[0].name}-gone", custom=custom, listed=False)]
