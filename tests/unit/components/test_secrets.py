"""Secrets: mounted as files, and never to be read in anything that a person or a log sees."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cli.check import find_violations
from cli.recording import Recorded, Recording, record_program
from cli.render import manifests, write
from cli.stack_file import StackFile
from tests.unit.stacks import manifest, platform_of, recording_of, short_urn, stack_file_for

CANARY = "canary-4711-do-not-print"
ENCODED = base64.b64encode(CANARY.encode()).decode()
SIGNATURE = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
CHANGES = {
    "services/payment-service/secrets": [
        {"env": "DB_PASSWORD", "config_key": "paymentDatabase"},
        {"env": "API_TOKEN", "existing_secret": "payment-service-token", "key": "token.txt"},
    ]
}


def of_kafka(workload: str) -> list[dict[str, Any]]:
    """What a client of the brokers mounts after its own secrets: its user's password and who signs for the brokers."""
    return [
        {"secret": {"name": f"kafka-{workload}", "items": [{"key": "password", "path": "KAFKA_PASSWORD"}]}},
        {"secret": {"name": "kafka-ca", "items": [{"key": "ca.crt", "path": "KAFKA_CA"}]}},
    ]


class _WithCanary(StackFile):
    """A stack file as the engine decrypts it: the program is handed the value itself."""

    def as_engine_config(self) -> dict[str, str]:
        given = StackFile.as_engine_config(self)
        return {key: CANARY if key in self.secret_keys else value for key, value in given.items()}


def record_with(value: type[StackFile]) -> Recording:
    plain = stack_file_for("dev", platform_of("dev", CHANGES), {"payments:paymentDatabase": {"secure": "v1:x:y"}})
    return record_program(value(stack=plain.stack, source=plain.source, config=plain.config))


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record_with(_WithCanary)


def holds_canary(text: str) -> bool:
    """In clear or as a Secret carries it."""
    return CANARY in text or ENCODED in text


def secret_of(recording: Recording) -> Recorded:
    [secret] = [resource for resource in recording.resources if resource.type.endswith(":Secret")]
    return secret


def without_wrapped(value: Any) -> Any:
    """The same value without what stands inside a secret's wrapper."""
    if isinstance(value, dict):
        if value.items() >= SIGNATURE.items():
            return "wrapped"
        return {key: without_wrapped(part) for key, part in value.items()}
    return [without_wrapped(part) for part in value] if isinstance(value, list | tuple) else value


def test_the_canary_reaches_the_secret_and_only_inside_the_wrapper(recording: Recording) -> None:
    holders = [r.name for r in recording.resources if ENCODED in repr(r)]
    assert holders == ["payment-service-secrets"]
    for resource in recording.resources:
        assert CANARY not in repr(resource)
        assert ENCODED not in repr(without_wrapped(dict(resource.inputs)))


def test_the_exports_hold_no_secret(recording: Recording) -> None:
    assert CANARY not in repr(recording.exports)
    assert ENCODED not in repr(recording.exports)
    assert not SIGNATURE.keys() & set(json.dumps(recording.exports).split('"'))


def test_no_rendered_file_holds_the_secret(recording: Recording, tmp_path: Path) -> None:
    write(recording.resources, tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if holds_canary(path.read_text(encoding="utf-8"))]
    secret = manifests(recording.resources)["1-payments-secret-payment-service-secrets.yaml"]
    assert secret["data"] == {"DB_PASSWORD": "[secret]"}
    assert secret["type"] == "Opaque"


def test_the_files_do_not_depend_on_the_secrets_value(recording: Recording) -> None:
    assert manifests(recording.resources) == manifests(record_with(StackFile).resources)


def test_no_finding_of_a_policy_shows_the_secret(recording: Recording) -> None:
    findings = find_violations(recording.resources, "dev")
    assert findings == []
    unlabelled = [r for r in recording.resources if r.type.split(":")[-1] not in ("NetworkPolicy", "Namespace")]
    findings = find_violations(unlabelled, "dev")
    assert findings
    assert CANARY not in repr(findings)


def test_no_error_shows_the_secret() -> None:
    platform = platform_of("dev", {**CHANGES, "services/payment-service/api/port": 0, "zzz": 1})
    plain = stack_file_for("dev", platform, {"payments:paymentDatabase": {"secure": "v1:x:y"}})
    with pytest.raises(Exception, match="2 problems in the settings") as caught:
        record_program(_WithCanary(stack="dev", source=plain.source, config=plain.config))
    assert CANARY not in str(caught.value)


def test_both_pods_mount_the_files_and_get_their_paths_only(recording: Recording) -> None:
    found = manifests(recording.resources)
    for workload in ("payment-service", "payment-processors"):
        pod = found[f"1-payments-deployment-{workload}.yaml"]["spec"]["template"]["spec"]
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
        # All in one read-only volume, readable by the pod's group alone.
        assert volume["projected"] == {
            "defaultMode": 0o440,
            "sources": [
                {
                    "secret": {
                        "name": "payment-service-secrets",
                        "items": [{"key": "DB_PASSWORD", "path": "DB_PASSWORD"}],
                    }
                },
                {"secret": {"name": "payment-service-token", "items": [{"key": "token.txt", "path": "API_TOKEN"}]}},
                *of_kafka(workload),
            ],
        }
        [container] = pod["containers"]
        mount = {"name": "secrets", "mountPath": "/var/run/secrets/payments", "readOnly": True}
        assert mount in container["volumeMounts"]
        files = {entry["name"]: entry["value"] for entry in container["env"] if entry["name"].endswith("_FILE")}
        assert files == {
            "DB_PASSWORD_FILE": "/var/run/secrets/payments/DB_PASSWORD",
            "API_TOKEN_FILE": "/var/run/secrets/payments/API_TOKEN",
            "KAFKA_PASSWORD_FILE": "/var/run/secrets/payments/KAFKA_PASSWORD",
            "KAFKA_CA_FILE": "/var/run/secrets/payments/KAFKA_CA",
        }
        others = {entry["name"] for entry in container["env"]} - files.keys()
        of_consumer = {"KAFKA_CONSUMER_GROUP", "KAFKA_TOPIC"} if workload == "payment-processors" else set()
        assert others == {"KAFKA_BROKERS", "KAFKA_RACK", "KAFKA_USERNAME", *of_consumer}
        assert not any("secretKeyRef" in entry.get("valueFrom", {}) for entry in container["env"])
        assert not any("secretRef" in source for source in container.get("envFrom", []))


def test_pods_wait_for_the_secret(recording: Recording) -> None:
    for name in ("payment-service-api-deployment", "payment-service-consumer-deployment"):
        [deployment] = [r for r in recording.resources if r.name == name]
        kinds = {short_urn(urn).split(":")[2] for urn in deployment.dependencies}
        assert "Secret" in kinds
        assert secret_of(recording).urn in deployment.dependencies


def test_other_services_have_no_part_in_the_secret(recording: Recording) -> None:
    others = [r for r in recording.resources if r.custom and not short_urn(r.parent).endswith("payment-service")]
    assert not [r.name for r in others if "payment-service-secrets" in repr(r.inputs)]


@pytest.mark.parametrize("workload", ["payment-service", "payment-processors"])
def test_an_existing_secret_is_mounted_and_declared_by_nobody(workload: str) -> None:
    assert not [r for r in recording_of("prod").resources if r.type.endswith(":Secret")]
    pod = manifest("prod", "Deployment", workload)["spec"]["template"]["spec"]
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
    item = {"key": "password", "path": "DB_PASSWORD"}
    assert volume["projected"]["sources"] == [
        {"secret": {"name": "payment-service-database", "items": [item]}},
        *of_kafka(workload),
    ]
    [container] = pod["containers"]
    variables = {entry["name"]: entry for entry in container["env"]}
    assert variables["DB_PASSWORD_FILE"] == {
        "name": "DB_PASSWORD_FILE",
        "value": "/var/run/secrets/payments/DB_PASSWORD",
    }
    assert "DB_PASSWORD" not in variables


def test_a_pod_without_secrets_mounts_none() -> None:
    pod = manifest("dev", "Deployment", "payment-service", {"kafka": None})["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "contract"]


def test_a_secret_that_the_stack_does_not_hold_is_asked_for() -> None:
    with pytest.raises(Exception, match="paymentDatabase"):
        record_program(stack_file_for("dev", platform_of("dev", CHANGES)))
