"""Members of a consumer group as processes of their own, which a signal ends as Kubernetes ends a pod."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cli.recording import ROOT
from sandbox.kafka_secure import authority_file
from tests.sandbox.kafka.stage import WAIT_SECONDS, Stage

_HANDLER_SECONDS = 0.02
_COMMIT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One running member."""

    process: "subprocess.Popen[bytes]"
    journal: Path
    log: Path

    @property
    def handled(self) -> list[tuple[int, int]]:
        """Partition and offset of each message, in the order in which it handled them."""
        if not self.journal.exists():
            return []
        lines = self.journal.read_text(encoding="utf-8").split("\n")[:-1]
        return [(int(partition), int(offset)) for partition, offset in (line.split(" ") for line in lines)]

    def end(self, *, kills: bool) -> int:
        """Send SIGTERM or SIGKILL and wait; the exit code."""
        if kills:
            self.process.kill()
        else:
            self.process.terminate()
        return self.process.wait(WAIT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Pods:
    """Starts members of the wallet consumers' group."""

    stage: Stage
    folder: Path
    started: list[Pod] = field(default_factory=list)

    def start(self, name: str, run: str) -> Pod:
        """A new process; it joins the group soon."""
        user, stem = "wallet-processors", f"{name}-{run}"
        password = self.folder / "password"
        password.write_text(self.stage.access(user).password, encoding="utf-8")
        journal = self.folder / f"{stem}.journal"
        told = {
            "contract": self.stage.contract.model_dump(mode="json"),
            "group": self.stage.group(user).id,
            "username": user,
            "password_file": str(password),
            "authority_file": str(authority_file(self.stage.cluster.folder)),
            "journal": str(journal),
            "handler_seconds": _HANDLER_SECONDS,
            "commit_seconds": _COMMIT_SECONDS,
        }
        path, log = self.folder / f"{stem}.json", self.folder / f"{stem}.log"
        path.write_text(json.dumps(told), encoding="utf-8")
        command = [sys.executable, "-m", "tests.sandbox.kafka.member", str(path)]
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", "PATH": "/usr/bin:/bin"}
        with log.open("wb") as stream:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
        pod = Pod(process=process, journal=journal, log=log)
        self.started.append(pod)
        return pod

    def stop(self) -> None:
        """End those that still run."""
        for pod in self.started:
            if psutil.pid_exists(pod.process.pid) and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait(WAIT_SECONDS)
