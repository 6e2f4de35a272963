"""Where the sandbox keeps what it needs: one folder, which can be thrown away."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under the state folder, ``.sandbox`` in a checkout."""

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """Admin access to the embedded API server; private."""
        return self.root / "kubeconfig"

    @property
    def token_file(self) -> Path:
        """The API server's static token file; private."""
        return self.root / "control-plane" / "tokens.csv"

    @property
    def service_account_key(self) -> Path:
        """Key that signs service account tokens; private."""
        return self.root / "control-plane" / "service-account.key"

    @property
    def api_certificates(self) -> Path:
        """Folder of the API server's own certificate."""
        return self.root / "control-plane" / "certificates"

    @property
    def etcd_data(self) -> Path:
        """Everything that the API server stores."""
        return self.root / "control-plane" / "etcd"

    @property
    def ports(self) -> Path:
        """Ports chosen for this sandbox; kept, so that a restarted daemon is found where it was."""
        return self.root / "control-plane" / "ports.json"

    @property
    def metrics(self) -> Path:
        """Values that the metrics API serves."""
        return self.root / "metrics.json"

    @property
    def metrics_certificate(self) -> Path:
        """Key and certificate of the metrics API; private."""
        return self.root / "control-plane" / "metrics-api.pem"

    @property
    def database_record(self) -> Path:
        """Where the PostgreSQL servers' data is and the passwords of their roles; private."""
        return self.root / "control-plane" / "postgres.json"

    @property
    def lock(self) -> Path:
        """Held while the sandbox is changed."""
        return self.root / "lock"

    def process(self, daemon: str) -> Path:
        """Record of a running daemon."""
        return self.root / "control-plane" / "processes" / f"{daemon}.json"

    def log(self, daemon: str) -> Path:
        """What a daemon says."""
        return self.root / "logs" / f"{daemon}.log"
