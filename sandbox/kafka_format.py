"""A broker's empty data folder: Kafka's own tool writes it, once."""

import subprocess
from pathlib import Path

from sandbox.errors import SandboxError

_TIMEOUT_SECONDS = 120
_SMALL_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m")


def format_storage(settings: Path, *, java: Path, jars: Path, cluster_id: str, data: Path) -> None:
    """Prepare the folder that the settings name as ``log.dirs``; one that is prepared already is left alone."""
    if (data / "meta.properties").exists():
        return
    options = ["format", "--cluster-id", cluster_id, "--config", str(settings)]
    answer = subprocess.run(
        [str(java), *_SMALL_JVM, "-cp", f"{jars}/*", "kafka.tools.StorageTool", *options],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(
            f"Kafka refuses its settings: {(answer.stderr or answer.stdout).strip()}", next_step=f"look at {settings}"
        )
