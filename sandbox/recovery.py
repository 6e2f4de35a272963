"""After a killed engine: settle what its saved state does not know, so that the next run converges."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine import Engine
from sandbox.errors import SandboxError

_KUBECTL_TIMEOUT_SECONDS = 20
_KUBERNETES = "kubernetes:"


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingCreate:
    """A create that began and whose end was never saved: the object may exist or not."""

    urn: str
    api_version: str
    kind: str
    name: str
    namespace: str | None

    @property
    def id(self) -> str:
        """The provider's id of the object, should it exist."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def pending_creates(state_file: Path) -> tuple[list[PendingCreate], int]:
    """Kubernetes creates among the pending operations of a saved state, and how many operations there are."""
    deployment = json.loads(state_file.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
    operations = deployment.get("pending_operations") or []
    found = []
    for operation in operations:
        resource = operation["resource"]
        meta = resource.get("inputs", {}).get("metadata", {})
        if operation["type"] == "creating" and resource["type"].startswith(_KUBERNETES) and meta.get("name"):
            version, kind = resource["type"].removeprefix(_KUBERNETES).split(":")
            found.append(
                PendingCreate(
                    urn=resource["urn"],
                    api_version=version.removeprefix("core/"),
                    kind=kind,
                    name=meta["name"],
                    namespace=meta.get("namespace"),
                )
            )
    return found, len(operations)


def settle(
    engine: Engine, stack: str, config_file: Path, exists: Callable[[PendingCreate], bool], say: Callable[[str], None]
) -> None:
    """Adopt what a killed engine created, forget what it did not, and read the rest anew.

    Raises ``SandboxError`` when the refresh that does so fails.
    """
    for done in engine.recover(stack):
        say(done)
    state_file = engine.state_file(stack)
    if state_file is None:
        return
    creates, operations = pending_creates(state_file)
    if not operations:
        return
    created = [create for create in creates if exists(create)]
    say(f"an earlier run was interrupted: {operations} operations unfinished, {len(created)} objects to adopt")
    arguments = ["refresh", "--yes", "--skip-preview", "--stack", stack, "--config-file", str(config_file)]
    for create in created:
        arguments += ["--import-pending-creates", create.urn, "--import-pending-creates", create.id]
    answer = engine.run([*arguments, "--clear-pending-creates"])
    if answer.exit_code != 0:
        raise SandboxError(
            f"cannot settle the interrupted run: {answer.output.strip()[-2000:]}",
            next_step="run the command again; if it stays so, payctl down --purge and up start from nothing",
        )


def exists_by_kubectl(kubectl: Path, kubeconfig: Path) -> Callable[[PendingCreate], bool]:
    """Ask the API server whether an object is there, whatever its kind."""

    def exists(create: PendingCreate) -> bool:
        meta = {"name": create.name} | ({"namespace": create.namespace} if create.namespace else {})
        manifest = {"apiVersion": create.api_version, "kind": create.kind, "metadata": meta}
        answer = subprocess.run(
            [str(kubectl), "--kubeconfig", str(kubeconfig), "get", "--filename", "-", "--output", "name"],
            input=json.dumps(manifest),
            capture_output=True,
            text=True,
            timeout=_KUBECTL_TIMEOUT_SECONDS,
            check=False,
        )
        return answer.returncode == 0

    return exists
