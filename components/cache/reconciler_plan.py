"""The reconciler as manifests: its code in a ConfigMap, a Job at every change, a CronJob in between."""

from pathlib import Path
from typing import Any

from components.base.jobs import awaited
from components.base.labels import selector
from components.base.manifests import Manifest, content_hash, metadata
from components.cache.cluster_plan import member_hosts
from components.cache.pods import (
    CacheContext,
    authority_volume,
    internal_password_volume,
    plan_container,
    plan_pod_security,
)  # fmt: skip
from components.cache.server_files import INTERNAL_PASSWORD, PASSWORDS_PATH, PORT, TLS_PATH, ZONE_PARAMETER
from settings.cache import CACHE_USER, Cache
from settings.cache_rules import CLUSTER_NAME

RECONCILER_NAME = f"{CLUSTER_NAME}-reconciler"
COMPONENT = "cache-reconciler"
CODE_PATH = "/opt/cache"
_FOLDER = Path(__file__).parent / "reconciler"


def plan_reconciler(cache: Cache, context: CacheContext) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration."""
    code = reconciler_code()
    config_map = f"{RECONCILER_NAME}-{content_hash(code)}"
    pod = _pod(cache, context, config_map)
    labels = context.labels(CLUSTER_NAME, cache)
    template = {"metadata": {"labels": labels.of_pods(COMPONENT, RECONCILER_NAME)}, "spec": pod}
    active_seconds = 4 * (cache.reconciler.deadline_seconds + 60)
    job = {
        # The next run goes on where this one ended; the CronJob is the retry.
        "backoffLimit": 3,
        # Above the run's own deadline, which ends with a log that says what is missing.
        "activeDeadlineSeconds": active_seconds,
        "template": template,
    }

    def named(name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
        return metadata(name, labels=labels.of(COMPONENT), namespace=context.namespace, annotations=annotations)

    return {
        "reconciler-account": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": named(RECONCILER_NAME),
            "automountServiceAccountToken": False,
        },
        "reconciler-code": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": named(config_map),
            "data": code,
            "immutable": True,
        },
        # A Job's template cannot be changed: another content is another Job.
        "reconciler-job": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": named(f"{RECONCILER_NAME}-{content_hash(job)}", awaited(active_seconds)),
            "spec": job,
        },
        "reconciler-cronjob": {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": named(RECONCILER_NAME),
            "spec": {
                "schedule": cache.reconciler.schedule,
                "timeZone": "Etc/UTC",
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 60,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {"spec": {**job, "backoffLimit": 0}},
            },
        },
    }


def reconciler_code() -> dict[str, str]:
    """File name → content of the package that the pod runs."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.py"))}


def _pod(cache: Cache, context: CacheContext, config_map: str) -> dict[str, Any]:
    environment = {
        "CACHE_CA_FILE": f"{TLS_PATH}/ca.crt",
        "CACHE_DEADLINE_SECONDS": str(cache.reconciler.deadline_seconds),
        "CACHE_LEAVING": str(cache.cluster.leaving),
        "CACHE_NODES": ",".join(f"{host}:{PORT}" for host in member_hosts(cache, context)),
        "CACHE_PASSWORD_FILE": INTERNAL_PASSWORD,
        "CACHE_PRIMARIES": str(cache.cluster.primaries),
        "CACHE_USER": CACHE_USER,
        "CACHE_ZONE_PARAMETER": ZONE_PARAMETER[cache.server],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": CODE_PATH,
    }
    container = plan_container(
        "reconciler",
        cache.reconciler.image,
        cache.reconciler.resources,
        command=["python3", "-m", "reconciler"],
        env=[{"name": name, "value": value} for name, value in environment.items()],
        volumeMounts=[
            {"name": "code", "mountPath": f"{CODE_PATH}/reconciler", "readOnly": True},
            {"name": "tls", "mountPath": TLS_PATH, "readOnly": True},
            {"name": "passwords", "mountPath": PASSWORDS_PATH, "readOnly": True},
        ],
    )
    return {
        "restartPolicy": "Never",
        "serviceAccountName": RECONCILER_NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": plan_pod_security(),
        "containers": [container],
        "volumes": [
            {"name": "code", "configMap": {"name": config_map, "defaultMode": 0o444}},
            authority_volume(cache.tls),
            internal_password_volume(cache),
        ],
    }


def reconciler_selector() -> dict[str, str]:
    """Labels of the reconciler's pods."""
    return selector(RECONCILER_NAME)
