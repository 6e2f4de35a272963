"""kubectl against one API server."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    binary: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, standard_input: str | None = None) -> str:
        command = [str(self.binary), "--kubeconfig", str(self.kubeconfig), *arguments]
        answer = subprocess.run(
            command, input=standard_input, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "--output", "json"))

    def apply(self, objects: Sequence[object]) -> None:
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self("apply", "--server-side", "--force-conflicts", "-f", "-", standard_input=document)
