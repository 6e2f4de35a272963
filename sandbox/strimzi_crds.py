"""Strimzi's CRDs: written by its own generator from its own classes, which Maven serves as jars.

``python -m sandbox.strimzi_crds`` pins the jars anew, after the version in the pom has changed. Without Maven or a
Java that runs the generator, the sandbox takes Kafka's objects unchecked, and says so.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock

from sandbox.errors import SandboxError
from sandbox.files import write_text
from sandbox.gobuild import TOOLCHAIN
from sandbox.kafka_jars import compare, pinned_sums, resolve, write_sums
from sandbox.progress import Progress
from sandbox.tools import cache_root

PINS = TOOLCHAIN / "strimzi"
OLDEST_JAVA = 21
_GENERATOR = "io.strimzi.crdgenerator.CrdGenerator"
_MODEL = "io.strimzi.api.kafka.model"
# Kind → its class below the model, and the plural that the API server serves.
_KINDS = {
    "Kafka": ("kafka.Kafka", "kafkas"),
    "KafkaNodePool": ("nodepool.KafkaNodePool", "kafkanodepools"),
    "KafkaTopic": ("topic.KafkaTopic", "kafkatopics"),
    "KafkaUser": ("user.KafkaUser", "kafkausers"),
    "KafkaRebalance": ("rebalance.KafkaRebalance", "kafkarebalances"),
}
_GROUP = "kafka.strimzi.io"
_TIMEOUT_SECONDS = 120
_LOCK_TIMEOUT_SECONDS = 900
_NAME = "strimzi"


@dataclass(frozen=True, kw_only=True, slots=True)
class StrimziSet:
    """The CRDs that the program's Kafka needs."""

    name: str = _NAME

    @property
    def folder(self) -> str:
        """The kinds that are generated."""
        return ",".join(_KINDS)

    @property
    def version(self) -> str:
        """The pinned version of Strimzi; marked where the CRDs cannot be generated."""
        found = re.search(
            r"<artifactId>api</artifactId>\s*<version>([^<]+)</version>",
            (PINS / "pom.xml").read_text(encoding="utf-8"),
        )
        if found is None:
            step = "restore sandbox/toolchain/strimzi from version control"
            raise SandboxError(f"{PINS / 'pom.xml'} does not name Strimzi's api", next_step=step)
        return found.group(1) if can_generate() else f"{found.group(1)}-unchecked"

    @property
    def source(self) -> str:
        """Version and checksum of the pins."""
        pinned = (PINS / "pom.xml").read_bytes() + (PINS / "sha256sums.txt").read_bytes()
        return f"{self.name}-{self.version} sha256:{hashlib.sha256(pinned).hexdigest()[:16]}"

    def files(self, report: Progress) -> Path:
        """A folder with one file for each CRD."""
        folder = cache_root() / "tools" / f"{self.name}-{self.version}-{self.source.rpartition(':')[2]}"
        if folder.exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{self.name}.lock", timeout=_LOCK_TIMEOUT_SECONDS):
            if not folder.exists():
                with report.step(f"CRDs of Strimzi {self.version}", key="fetch:strimzi", once=True):
                    _write(folder)
                if not can_generate():
                    report.say(
                        f"Kafka's objects are taken unchecked: Strimzi's CRDs need Maven and Java {OLDEST_JAVA} or "
                        "newer (Debian and Ubuntu: apt-get install maven, and a JDK); install them and run it again"
                    )
        return folder


def can_generate() -> bool:
    """Whether this machine has what the generator needs."""
    return shutil.which("mvn") is not None and find_new_java() is not None


def find_new_java() -> Path | None:
    """A Java that runs the generator: of JAVA_HOME, on PATH, or installed beside an older one."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home) / "bin" / "java"] if home else []
    on_path = shutil.which("java")
    candidates += [Path(on_path)] if on_path else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True)
    return next((java for java in candidates if java.exists() and _version(java) >= OLDEST_JAVA), None)


@functools.cache
def _version(java: Path) -> int:
    answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    return int(found.group(1)) if found is not None else 0


def _write(folder: Path) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-strimzi-"))
    try:
        java = find_new_java()
        if java is None or not can_generate():
            for kind, (_, plural) in _KINDS.items():
                write_text(partial / "crds" / f"{kind}.yaml", yaml.safe_dump(_unchecked(kind, plural)))
        else:
            resolve(partial / "jars", PINS, "Strimzi")
            compare(partial / "jars", pinned_sums(PINS), "Strimzi")
            _generate(java, partial / "jars", partial / "crds")
        (partial / "crds").rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _generate(java: Path, jars: Path, into: Path) -> None:
    into.mkdir()
    wanted = [f"{_MODEL}.{name}={into / kind}.yaml" for kind, (name, _) in _KINDS.items()]
    options = ["--target-kube", "1.30+", "--crd-api-version", "v1", "--yaml"]
    answer = subprocess.run(
        [str(java), "-cp", f"{jars}/*", _GENERATOR, *options, *wanted],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0 or len(list(into.glob("*.yaml"))) < len(_KINDS):
        said = (answer.stderr or answer.stdout).strip().splitlines()[-1:] or ["it says nothing"]
        step = "compare the options in sandbox/strimzi_crds.py with the pinned version's generator"
        raise SandboxError(f"Strimzi's generator writes no CRDs: {said[0]}", next_step=step)


def _unchecked(kind: str, plural: str) -> dict[str, object]:
    """A kind that the API server keeps as it is."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [version],
        },
    }


def main() -> None:
    """Write the sums of what the pom names now."""
    with tempfile.TemporaryDirectory() as folder:
        resolve(Path(folder), PINS, "Strimzi")
        write_sums(Path(folder), PINS)


if __name__ == "__main__":
    main()
