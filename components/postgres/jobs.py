"""The shape of the Jobs: one that runs once for each content, one that runs on a schedule."""

from collections.abc import Sequence
from typing import Any

from components.base.jobs import awaited
from components.base.manifests import Manifest, content_hash
from components.postgres.model import DatabaseContext
from components.postgres.pods import COMPONENT_JOB, plan_metadata, plan_pod_base


def plan_job_pod(account: str, container: dict[str, Any], volumes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The ``spec`` of a pod that runs to its end."""
    return {
        **plan_pod_base(account, grace_period_seconds=30),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": list(volumes),
    }


def plan_once(
    context: DatabaseContext, name: str, workload: str, pod: dict[str, Any], *, deadline_seconds: int, salt: object = ""
) -> Manifest:
    """A Job whose name carries the hash of its content and of ``salt``: another content is another Job."""
    active_seconds = 4 * (deadline_seconds + 60)
    spec = {
        "backoffLimit": 3,
        "activeDeadlineSeconds": active_seconds,
        "template": _template(context, workload, pod),
    }
    metadata = plan_metadata(context, f"{name}-{content_hash([spec, salt])}", of=workload, component=COMPONENT_JOB)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **awaited(active_seconds)}},
        "spec": spec,
    }


def plan_scheduled(
    context: DatabaseContext, name: str, workload: str, pod: dict[str, Any], *, schedule: str, deadline_seconds: int
) -> Manifest:
    """A CronJob that never runs beside itself."""
    return _cron_job(context, name, workload, pod, schedule=schedule, deadline_seconds=deadline_seconds)


def plan_by_hand(
    context: DatabaseContext, name: str, workload: str, pod: dict[str, Any], *, deadline_seconds: int
) -> Manifest:
    """A CronJob that is suspended, and whose day never comes: ``kubectl create job --from=cronjob/NAME`` runs it."""
    found = _cron_job(context, name, workload, pod, schedule="0 0 31 2 *", deadline_seconds=deadline_seconds)
    found["spec"]["suspend"] = True
    return found


def _cron_job(
    context: DatabaseContext, name: str, workload: str, pod: dict[str, Any], *, schedule: str, deadline_seconds: int
) -> Manifest:
    job = {
        "backoffLimit": 1,
        "activeDeadlineSeconds": deadline_seconds,
        "template": _template(context, workload, pod),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": plan_metadata(context, name, of=workload, component=COMPONENT_JOB),
        "spec": {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": job},
        },
    }


def _template(context: DatabaseContext, workload: str, pod: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"labels": context.labels(workload).of_pods(COMPONENT_JOB, workload)}, "spec": pod}
