"""Go programs from the pinned modules in ``sandbox/toolchain``: versions, the compiler, one bounded build."""

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError

TOOLCHAIN = Path(__file__).parent / "toolchain"
# Ten times the slowest measured build on two cores: a bound for a hung compiler, not an expectation.
BUILD_TIMEOUT_SECONDS = 3600
# The link step of the API server peaks near 2 GiB; compile jobs beyond this would swap on small machines.
GIB_PER_JOB = 2

_NO_GO = (
    "install Go {needed} or newer so that `go` is on PATH and run the same command again. "
    "`make test` needs no Go: it runs everything that needs no compiler"
)

_CHECK_PROXY = (
    "check free disk space and that the Go module proxy is reachable (`go env GOPROXY`), then run the same "
    "command again: what was compiled already is kept"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GoModule:
    """One folder of ``sandbox/toolchain``: programs that share a dependency graph and a version."""

    folder: str
    requires: str  # the module whose required version is the programs' version
    packages: dict[str, str]  # program name → Go package
    ldflags: str  # may use {version}, e.g. 1.36.3

    @property
    def path(self) -> Path:
        """The folder that holds go.mod."""
        return TOOLCHAIN / self.folder

    @property
    def version(self) -> str:
        """The version that go.mod pins, without the leading ``v``."""
        text = (self.path / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^\s*(?:require )?{re.escape(self.requires)} v(\S+)", text, re.MULTILINE)
        if found is None:
            message = f"{self.path / 'go.mod'} does not require {self.requires}"
            raise SandboxError(message, next_step=f"restore sandbox/toolchain/{self.folder} from version control")
        return found.group(1)

    def linker_flags(self) -> str:
        """``ldflags`` with the pinned version filled in."""
        return self.ldflags.format(version=self.version)


def find_go(module: GoModule) -> str:
    """The path of a `go` that can build this module, else a SandboxError that says what to install."""
    text = (module.path / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^go (\S+)", text, re.MULTILINE)
    needed = found.group(1) if found else "1.26"
    go = shutil.which("go")
    programs = ", ".join(module.packages)
    if go is None:
        message = f"building {programs} needs Go, and no `go` is on PATH"
        raise SandboxError(message, next_step=_NO_GO.format(needed=needed))
    # In the module's folder Go ≥ 1.21 switches to the version that go.mod asks for, or says that it cannot.
    answer = subprocess.run(
        [go, "env", "GOVERSION"], cwd=module.path, capture_output=True, text=True, timeout=120, check=False
    )
    have = answer.stdout.strip().removeprefix("go")
    if answer.returncode != 0 or _numbers(have) < _numbers(needed):
        said = answer.stderr.strip() or f"it is {have}"
        message = f"{go} is too old to build {programs}: {said}"
        raise SandboxError(message, next_step=_NO_GO.format(needed=needed))
    return go


def build(module: GoModule, programs: list[str], into: Path, log: Path) -> None:
    """Compile programs of one module into a folder; the log keeps what the compiler says."""
    go = find_go(module)
    packages = [module.packages[program] for program in programs]
    command = [go, "build", "-trimpath", "-p", str(parallel_jobs()), "-ldflags", module.linker_flags()]
    command += ["-mod=readonly", "-o", f"{into}{os.sep}", *packages]
    _run_bounded(command, cwd=module.path, log=log, what=f"building {', '.join(programs)}")


def source_folder(module: GoModule) -> Path:
    """Where the pinned module's own sources lie, downloaded when they are not there yet."""
    go = find_go(module)
    answer = subprocess.run(
        # With its version named, Go fetches this module alone and not the graph behind it; go.sum is checked.
        [go, "mod", "download", "-json", f"{module.requires}@v{module.version}"],
        cwd=module.path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip()
        message = f"cannot download the sources of {module.requires}: {said}"
        raise SandboxError(message, next_step=_CHECK_PROXY)
    described: dict[str, Any] = json.loads(answer.stdout)
    return Path(described["Dir"])


def parallel_jobs() -> int:
    """Compile jobs: one per core, fewer where memory would not carry them."""
    cpus = os.cpu_count() or 1
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    except (ValueError, OSError):
        return cpus
    return max(1, min(cpus, gib // GIB_PER_JOB))


def _run_bounded(command: list[str], *, cwd: Path, log: Path, what: str) -> None:
    """Run in its own session so that Ctrl-C and the time limit end the compiler with all its children."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, cwd=cwd, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            code = process.wait(timeout=BUILD_TIMEOUT_SECONDS)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"{what} did not end within {BUILD_TIMEOUT_SECONDS} s"
                raise SandboxError(message, next_step="run the command again: Go resumes", log=log) from None
            raise
    if code != 0:
        message = f"{what} failed (go build exited with {code})"
        raise SandboxError(message, next_step=_CHECK_PROXY, log=log)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
