"""The component that declares load tests: the script, and a TestRun for each scenario that the settings run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.base.labels import Labels
from components.base.manifests import Manifest, child_opts, content_hash, declare, metadata
from components.loadtest.plan import SCRIPT, k6_plan, plan_text, targets
from settings.base import Environment
from settings.loadtest import LoadTest
from settings.observability import Objective

TARGET, RATE, ALLOWED_BY, ALLOWED_UNTIL = (
    "payments.dev/target",
    "payments.dev/requests-per-second",
    "payments.dev/allowed-by",
    "payments.dev/allowed-until",
)
"""Annotations that the policy pack reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadTestsArgs:
    """The tests' settings, and the objectives that they are judged by."""

    loadtest: LoadTest
    environment: Environment
    objectives: Mapping[str, Objective]


def plan_load_tests(args: LoadTestsArgs) -> dict[str, Manifest]:
    """Role → manifest: a ConfigMap and a TestRun for each scenario under ``run``."""
    manifests: dict[str, Manifest] = {}
    for scenario in args.loadtest.run:
        files = {
            "payments.ts": SCRIPT.read_text(encoding="utf-8"),
            "plan.json": plan_text(k6_plan(args.loadtest, scenario, dict(args.objectives))),
        }
        # A TestRun runs once, when it is created: another content is another test, with another name.
        name = f"{scenario}-{content_hash([files, args.loadtest.model_dump(mode='json')])}"
        manifests[f"{scenario}-files"] = _files(args, name, files)
        manifests[f"{scenario}-test"] = _test_run(args, scenario, name)
    return manifests


class LoadTests(pulumi.ComponentResource):
    """Load tests that start when they are deployed."""

    def __init__(self, name: str, args: LoadTestsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:loadtest:LoadTests", name, {}, opts)
        needed: list[pulumi.Resource] = []
        for role, manifest in plan_load_tests(args).items():
            resource = declare(f"{name}-{role}", manifest, child_opts(self, depends_on=needed))
            if manifest["kind"] == "ConfigMap":
                needed.append(resource)
        self.register_outputs({})


def _labels(args: LoadTestsArgs) -> dict[str, str]:
    return Labels(name="loadtest", environment=args.environment, owner="platform").of("loadtest")


def _files(args: LoadTestsArgs, name: str, files: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, labels=_labels(args), namespace=args.loadtest.namespace),
        "data": files,
        "immutable": True,
    }


def _test_run(args: LoadTestsArgs, scenario: str, name: str) -> Manifest:
    loadtest, load = args.loadtest, args.loadtest.scenarios[scenario]
    annotations = {TARGET: " ".join(targets(loadtest)), RATE: str(load.requests_per_second)}
    if loadtest.prod_exception is not None:
        annotations |= {
            ALLOWED_BY: loadtest.prod_exception.approved_by,
            ALLOWED_UNTIL: loadtest.prod_exception.until.isoformat(),
        }
    output = ["--out", "experimental-prometheus-rw"] if loadtest.remote_write is not None else []
    pod = {
        # A text in the operator's type; nothing here talks to the Kubernetes API.
        "automountServiceAccountToken": "false",
        "image": loadtest.image,
        "resources": {side: _amounts(loadtest, side) for side in ("requests", "limits")},
        # The operator's initializer writes its archive and its log there, and the root is read-only.
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 # a volume of the pod's own
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containerSecurityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        },
    }  # fmt: skip
    return {
        "apiVersion": "k6.io/v1alpha1",
        "kind": "TestRun",
        "metadata": metadata(name, labels=_labels(args), namespace=loadtest.namespace, annotations=annotations),
        "spec": {
            # k6 splits the rate between the pods by itself: it is written once, in full.
            "parallelism": load.parallelism,
            "separate": load.parallelism > 1,
            "script": {"configMap": {"name": name, "file": "payments.ts"}},
            # One text: the operator passes it to k6 as it stands.
            "arguments": " ".join([*output, "--tag", f"testid={name}"]),
            # It reads the script before the runners start, and a quota refuses a pod without amounts.
            "initializer": pod,
            # Its image is the operator's own; a namespace of the restricted standard refuses it without the rest.
            "starter": {key: value for key, value in pod.items() if key != "image"},
            "runner": {**pod, "env": _environment(loadtest, name)},
        },
    }


def _amounts(loadtest: LoadTest, side: str) -> dict[str, str]:
    amounts = getattr(loadtest.resources, side)
    return {"cpu": amounts.cpu, "memory": amounts.memory, "ephemeral-storage": amounts.ephemeral_storage}


def _environment(loadtest: LoadTest, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": "TEST_ID", "value": name}]
    write = loadtest.remote_write
    if write is None:
        return found
    found += [
        {"name": "K6_PROMETHEUS_RW_SERVER_URL", "value": write.url},
        # Quantiles of all pods together can be told from histograms only.
        {"name": "K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM", "value": "true"},
    ]
    if write.existing_secret is not None:
        found += [
            {
                "name": f"K6_PROMETHEUS_RW_{key.upper()}",
                "valueFrom": {"secretKeyRef": {"name": write.existing_secret, "key": key}},
            }
            for key in ("username", "password")
        ]
    return found
