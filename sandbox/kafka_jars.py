"""The Kafka broker's jars: resolved by Maven from a pinned pom, checked against pinned sums, kept in the user's cache.

``python -m sandbox.kafka_jars`` resolves them anew and writes the sums, after the version in the pom has changed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from sandbox.errors import SandboxError
from sandbox.files import write_text
from sandbox.gobuild import TOOLCHAIN
from sandbox.progress import Progress
from sandbox.tools import cache_root

PINS = TOOLCHAIN / "kafka"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_RESOLVE_TIMEOUT_SECONDS = 900
OLDEST_JAVA = 17


def ensure_jars(report: Progress) -> Path:
    """The folder with the broker's jars; resolved once. A second call needs neither Maven nor a network.

    Raises ``SandboxError`` when Maven is missing, a jar cannot be had, or one differs from its pinned sum.
    """
    pinned = (PINS / "pom.xml").read_bytes() + (PINS / "sha256sums.txt").read_bytes()
    folder = cache_root() / "tools" / f"kafka-{version()}-{hashlib.sha256(pinned).hexdigest()[:12]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "kafka.lock", timeout=_RESOLVE_TIMEOUT_SECONDS):
        if not folder.exists():
            with report.step(f"Fetch Kafka {version()}", key="fetch:kafka", once=True):
                _fetch(folder)
    return folder


def version() -> str:
    """The pinned version of Kafka, e.g. ``4.3.1``."""
    found = re.search(
        r"<artifactId>kafka_2\.13</artifactId>\s*<version>([^<]+)</version>",
        (PINS / "pom.xml").read_text(encoding="utf-8"),
    )
    if found is None:
        raise SandboxError(
            f"{PINS / 'pom.xml'} does not name kafka_2.13",
            next_step="restore sandbox/toolchain/kafka from version control",
        )
    return found.group(1)


def find_java() -> Path:
    """A Java that can run the broker: that of JAVA_HOME, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    step = f"install a Java runtime {OLDEST_JAVA} or newer (Debian and Ubuntu: apt-get install default-jre-headless)"
    if java is None or not Path(java).exists():
        raise SandboxError("running Kafka needs Java, and there is no `java` on PATH", next_step=step)
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    if found is None or int(found.group(1)) < OLDEST_JAVA:
        said = found.group(1) if found else "nothing that can be read"
        raise SandboxError(f"{java} is too old to run Kafka: its version is {said}", next_step=step)
    return Path(java)


def compare(folder: Path, wanted: Mapping[str, str], what: str = "Kafka") -> None:
    """Raise ``SandboxError`` unless the folder holds exactly the jars with these SHA-256 sums."""
    got = _sums(folder)
    differing = sorted(
        f"{jar} ({_difference(got.get(jar), wanted.get(jar))})"
        for jar in {*got, *wanted}
        if got.get(jar) != wanted.get(jar)
    )
    if differing:
        raise SandboxError(
            f"the jars of {what} are not the pinned ones: {', '.join(differing)}",
            next_step=f"compare the pom and sha256sums.txt in sandbox/toolchain/{what.lower()} with what the "
            "repository serves",
        )


def _fetch(folder: Path) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-kafka-"))
    try:
        resolve(partial)
        compare(partial, pinned_sums())
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def resolve(into: Path, pins: Path = PINS, what: str = "Kafka") -> None:
    """Have Maven copy the jars of a pinned pom into a folder; ``what`` names them in messages."""
    maven = shutil.which("mvn")
    if maven is None:
        raise SandboxError(
            f"fetching {what} needs Maven, and there is no `mvn` on PATH",
            next_step="install Maven 3 (Debian and Ubuntu: apt-get install maven)",
        )
    log = cache_root() / "logs" / f"fetch-{what.lower()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [maven, "--batch-mode", "--strict-checksums", "--file", str(pins / "pom.xml"), _PLUGIN]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            command, stdout=stream, stderr=stream, timeout=_RESOLVE_TIMEOUT_SECONDS, check=False
        ).returncode
    if code != 0:
        raise SandboxError(
            f"Maven cannot fetch the jars of {what}",
            next_step="check that the Maven repository of ~/.m2/settings.xml is reachable and run the command again",
            log=log,
        )


def pinned_sums(pins: Path = PINS) -> dict[str, str]:
    """Jar → SHA-256, as the folder of pins states them."""
    lines = (pins / "sha256sums.txt").read_text(encoding="utf-8").splitlines()
    return {jar: digest for digest, jar in (line.split("  ", 1) for line in lines)}


def _sums(folder: Path) -> dict[str, str]:
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(folder.glob("*.jar"))}


def _difference(got: str | None, wanted: str | None) -> str:
    if got is None:
        return "missing"
    return "not pinned" if wanted is None else f"sha256 {got[:12]}…, pinned is {wanted[:12]}…"


def main() -> None:
    """Write the sums of what the pom names now."""
    with tempfile.TemporaryDirectory() as folder:
        resolve(Path(folder))
        write_sums(Path(folder), PINS)


def write_sums(folder: Path, pins: Path) -> None:
    """Pin the jars of a folder as they are."""
    lines = [f"{digest}  {jar}" for jar, digest in _sums(folder).items()]
    write_text(pins / "sha256sums.txt", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
