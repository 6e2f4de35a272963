"""What the pack says about pod security: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import CONTAINER, POD, Case, assert_violates
from tests.policy.samples import REMOVED

CASES = (
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=POD + ">securityContext>runAsNonRoot",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': may run as root. Allowed: "
            "runAsNonRoot true. Fix: set it in the security context."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=POD + ">securityContext>runAsUser",
        value=1000,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': runAsUser is 1000. Allowed: 10000 "
            "or higher. Fix: set a high id."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=POD + ">securityContext>runAsGroup",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': runAsGroup is not set. Allowed: "
            "10000 or higher. Fix: set a high id."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=POD + ">securityContext>seccompProfile>type",
        value="Unconfined",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': its seccomp profile is "
            "'Unconfined'. Allowed: RuntimeDefault or Localhost. Fix: set RuntimeDefault."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>readOnlyRootFilesystem",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': readOnlyRootFilesystem is not set:"
            " the image's files can be changed at run time. Allowed: true. Fix: set it."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>allowPrivilegeEscalation",
        value=True,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': allowPrivilegeEscalation is true: "
            "a process may gain privileges. Allowed: false. Fix: set it."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>privileged",
        value=True,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': is privileged. Allowed: false. Fix: remove it."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>procMount",
        value="Unmasked",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': unmasks /proc. Allowed: procMount "
            "Default. Fix: remove it."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>capabilities>drop",
        value=["NET_RAW"],
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': keeps default capabilities. "
            "Allowed: capabilities.drop ['ALL']. Fix: drop all of them."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>capabilities>add",
        value=["SYS_ADMIN"],
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': adds the capability 'SYS_ADMIN'. "
            "Allowed: NET_BIND_SERVICE. Fix: remove it."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="CronJob",
        name="partition-maintenance",
        path="spec>jobTemplate>spec>template>spec>securityContext>runAsUser",
        value=0,
        culprit="batch/v1:CronJob::partition-maintenance",
        message=(
            "CronJob payments/partition-maintenance: container 'maintain': runAsUser is 0. Allowed: "
            "10000 or higher. Fix: set a high id."
        ),
    ),
    Case(
        policy="restricted-security-context",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">securityContext>runAsNonRoot",
        value=False,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': may run as root. Allowed: "
            "runAsNonRoot true. Fix: set it in the security context."
        ),
    ),
    Case(
        policy="host-isolation",
        kind="Deployment",
        name="payment-service",
        path=POD + ">hostNetwork",
        value=True,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: hostNetwork is true: the pods share it with their "
            "node. Allowed: false. Fix: remove it."
        ),
    ),
    Case(
        policy="host-isolation",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">ports>0>hostPort",
        value=8080,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' takes port 8080 of the node. "
            "Allowed: no hostPort. Fix: publish the port with a Service."
        ),
    ),
    Case(
        policy="host-isolation",
        kind="Deployment",
        name="payment-service",
        path=POD + ">securityContext>windowsOptions",
        value={"hostProcess": True},
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: runs as a host process. Allowed: false. Fix: remove hostProcess."
        ),
    ),
    Case(
        policy="host-isolation",
        kind="Deployment",
        name="payment-service",
        path=POD + ">volumes>0",
        value={"name": "node", "hostPath": {"path": "/"}},
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: volume 'node' is of type hostPath. Allowed: "
            "configMap, csi, downwardAPI, emptyDir, ephemeral, persistentVolumeClaim, projected, "
            "secret. Fix: use one of these."
        ),
    ),
    Case(
        policy="host-isolation",
        kind="Deployment",
        name="payment-service",
        path=POD + ">volumes>0>emptyDir>sizeLimit",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: volume 'tmp' may fill its node. Allowed: an "
            "emptyDir with sizeLimit. Fix: set emptyDir.sizeLimit."
        ),
    ),
    Case(
        policy="service-accounts",
        kind="Deployment",
        name="payment-service",
        path=POD + ">automountServiceAccountToken",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: automountServiceAccountToken is not set on its "
            "pods. Allowed: false. Fix: set it in the pod spec."
        ),
    ),
    Case(
        policy="service-accounts",
        kind="Deployment",
        name="payment-service",
        path=POD + ">serviceAccountName",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: its pods run under the ServiceAccount 'default'. "
            "Allowed: an account of their own. Fix: set serviceAccountName."
        ),
    ),
    Case(
        policy="no-default-namespace",
        kind="ConfigMap",
        name="payment-service",
        path="metadata>namespace",
        value="default",
        culprit="core/v1:ConfigMap::payment-service",
        message=(
            "ConfigMap default/payment-service: metadata.namespace is 'default'. Allowed: a namespace"
            " other than 'default'. Fix: name the namespace (or list a cluster-wide custom kind under"
            " clusterKinds in the pack's config)."
        ),
    ),
    Case(
        policy="no-default-namespace",
        kind="ConfigMap",
        name="payment-service",
        path="metadata>namespace",
        value=REMOVED,
        culprit="core/v1:ConfigMap::payment-service",
        message=(
            "ConfigMap payment-service: metadata.namespace is not set. Allowed: a namespace other "
            "than 'default'. Fix: name the namespace (or list a cluster-wide custom kind under "
            "clusterKinds in the pack's config)."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
