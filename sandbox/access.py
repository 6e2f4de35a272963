"""How to reach the embedded API server."""

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How to reach the embedded API server."""

    server: str
    certificate_authority: Path
    token: str

    def __repr__(self) -> str:
        return f"Access(server={self.server!r}, token=…)"


def read_access(kubeconfig: Path) -> Access:
    """Server, certificate and token of the sandbox's own kubeconfig."""
    document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster = document["clusters"][0]["cluster"]
    return Access(
        server=cluster["server"],
        certificate_authority=Path(cluster["certificate-authority"]),
        token=document["users"][0]["user"]["token"],
    )
