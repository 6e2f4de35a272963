import json
from pathlib import Path
from typing import Any

from sandbox.recovery import PendingCreate, pending_creates


def _state(path: Path, operations: list[dict[str, Any]] | None) -> Path:
    latest = {"resources": [], "pending_operations": operations} if operations is not None else {"resources": []}
    path.write_text(json.dumps({"version": 3, "checkpoint": {"stack": "dev", "latest": latest}}), encoding="utf-8")
    return path


def _operation(kind: str, type_: str, name: str | None, namespace: str | None = "payments") -> dict[str, Any]:
    metadata = {key: value for key, value in (("name", name), ("namespace", namespace)) if value is not None}
    resource = {"urn": f"urn:{type_}::{name}", "type": type_, "inputs": {"metadata": metadata}}
    return {"type": kind, "resource": resource}


def test_a_state_without_pending_operations_needs_nothing(tmp_path: Path) -> None:
    assert pending_creates(_state(tmp_path / "dev.json", None)) == ([], 0)


def test_unfinished_creates_are_found_with_the_id_that_adopts_them(tmp_path: Path) -> None:
    operations = [
        _operation("creating", "kubernetes:apps/v1:Deployment", "payment-service"),
        _operation("creating", "kubernetes:core/v1:Namespace", "payments", None),
        _operation("deleting", "kubernetes:core/v1:Service", "payment-service-svc"),
        _operation("creating", "pulumi:providers:kubernetes", None, None),
    ]
    found, count = pending_creates(_state(tmp_path / "dev.json", operations))
    assert count == 4
    assert found == [
        PendingCreate(
            urn="urn:kubernetes:apps/v1:Deployment::payment-service",
            api_version="apps/v1",
            kind="Deployment",
            name="payment-service",
            namespace="payments",
        ),
        PendingCreate(
            urn="urn:kubernetes:core/v1:Namespace::payments",
            api_version="v1",
            kind="Namespace",
            name="payments",
            namespace=None,
        ),
    ]
    assert [create.id for create in found] == ["payments/payment-service", "payments"]
