"""The tools of the sandbox, at pinned versions: found on PATH or built once into a per-user cache."""

import hashlib
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sandbox.errors import SandboxError
from sandbox.gobuild import BUILD_TIMEOUT_SECONDS, GoModule, SourceEdit, build, find_go, source_folder
from sandbox.progress import Progress
from sandbox.pulumi_binary import suitable_pulumi

_STRIPPED = "-s -w"
_KUBERNETES_VERSION = "k8s.io/component-base/version"
# The versions stand in each folder's go.mod and nowhere else.
MODULES: tuple[GoModule, ...] = (
    GoModule(
        folder="pulumi",
        requires="github.com/pulumi/pulumi/pkg/v3",
        packages={"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
        ldflags=_STRIPPED + " -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{version}",
    ),
    GoModule(
        folder="etcd",
        requires="go.etcd.io/etcd/server/v3",
        packages={"etcd": "go.etcd.io/etcd/server/v3"},
        ldflags=_STRIPPED,
    ),
    GoModule(
        folder="kubernetes",
        requires="k8s.io/kubernetes",
        packages={
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        },
        # Without the version kubectl cannot parse what the API server answers.
        ldflags=f"{_STRIPPED} -X {_KUBERNETES_VERSION}.gitVersion=v{{version}}"
        f" -X {_KUBERNETES_VERSION}.gitMajor=1 -X {_KUBERNETES_VERSION}.gitMinor=36",
    ),
    GoModule(
        folder="kwok",
        requires="sigs.k8s.io/kwok",
        packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        ldflags=_STRIPPED,
    ),
    GoModule(
        folder="keda",
        requires="github.com/kedacore/keda/v2",
        packages={
            "keda-operator": "github.com/kedacore/keda/v2/cmd/operator",
            "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
        },
        ldflags=f"{_STRIPPED} -X github.com/kedacore/keda/v2/version.Version={{version}}",
        # The adapter's own metrics listen on every interface and no flag says otherwise.
        edits=(
            SourceEdit(
                package="github.com/kedacore/keda/v2/cmd/adapter",
                old='fmt.Sprintf(":%v", metricsAPIServerPort)',
                new='fmt.Sprintf("127.0.0.1:%v", metricsAPIServerPort)',
            ),
        ),
    ),
    GoModule(
        folder="egctl",
        requires="github.com/envoyproxy/gateway",
        packages={"egctl": "github.com/envoyproxy/gateway/cmd/egctl"},
        ldflags=_STRIPPED,
    ),
    # Named as if it were part of Envoy Gateway: only so does Go let it call that project's internal packages.
    GoModule(
        folder="ratelimitconfig",
        requires="github.com/envoyproxy/gateway",
        packages={"ratelimitconfig": "github.com/envoyproxy/gateway/ratelimitconfig"},
        ldflags=_STRIPPED,
    ),
    GoModule(
        folder="ratelimit",
        requires="github.com/envoyproxy/ratelimit",
        packages={"ratelimit": "github.com/envoyproxy/ratelimit/src/service_cmd"},
        ldflags=_STRIPPED,
    ),
    GoModule(
        folder="alertmanager",
        requires="github.com/prometheus/alertmanager",
        packages={"alertrouting": "payments.sandbox/toolchain/alertmanager"},
        ldflags=_STRIPPED + " -X main.alertmanagerVersion={version}",
    ),
)
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")
ALL = ("pulumi", *CONTROL_PLANE)
KEDA = ("keda-operator", "keda-adapter")
# Translates the edge's manifests to Envoy's configuration; only the edge's own tests and benchmark build it.
EDGE = ("egctl",)
# The service that counts for all proxies together, and what Envoy Gateway's controller would tell it.
RATE_LIMIT = ("ratelimit", "ratelimitconfig")
# What the Prometheus operator and Alertmanager make of an AlertmanagerConfig; only its own test builds it.
ALERT_ROUTING = ("alertrouting",)
_KNOWN = (*ALL, *KEDA, *EDGE, *RATE_LIMIT, *ALERT_ROUTING)
KWOK_STAGES = "stages.yaml"
# Nodes and pods turn Ready at once and leases are renewed; the files are the KWOK module's own.
_KWOK_STAGE_FOLDERS = ("node/fast", "node/heartbeat-with-lease", "pod/fast")


def cache_root() -> Path:
    """The per-user cache: binaries, build logs and measured times."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "payments-platform"


def progress() -> Progress:
    """The reporter of a command line: standard error, with this machine's measured times."""
    return Progress(timings=cache_root() / "timings.json")


def ensure(names: Iterable[str], report: Progress, *, project_root: Path | None = None) -> dict[str, Path]:
    """Paths of the named tools, built where they are missing. A second call builds nothing.

    Raises ``SandboxError`` for an unknown name, a missing or old Go, a failed build.
    """
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in _KNOWN]
    if unknown:
        message = f"unknown tool {', '.join(unknown)}; known are {', '.join(_KNOWN)}"
        raise SandboxError(message, next_step="correct the name")
    found: dict[str, Path] = {}
    if "kubectl" in wanted:
        found["kubectl"] = _kubectl()
    if "pulumi" in wanted and (installed := suitable_pulumi(project_root, cache_root())) is not None:
        found["pulumi"] = installed
    for module in MODULES:
        programs = [name for name in module.packages if name in wanted and name not in found]
        found.update(_ensure_module(module, programs, report))
    return {name: found[name] for name in wanted}


def version_of(name: str) -> str:
    """The pinned version of a built tool, e.g. ``1.36.3``."""
    return _module_of(name).version


def kwok_stages(kwok: Path) -> Path:
    """The Stage file beside a built kwok."""
    return kwok.parent / KWOK_STAGES


def tool_folder(name: str) -> Path:
    """Where a built tool lies: version, go.mod, go.sum, sources of ours, flags and edits make the folder's name."""
    module = _module_of(name)
    pinned = hashlib.sha256()
    for file in ("go.mod", "go.sum", *sorted(path.name for path in module.path.glob("*.go"))):
        pinned.update((module.path / file).read_bytes())
    pinned.update(f"-trimpath {module.linker_flags()} {_KWOK_STAGE_FOLDERS}".encode())
    pinned.update("".join(f"{edit}" for edit in module.edits).encode())
    return cache_root() / "tools" / f"{name}-{module.version}-{pinned.hexdigest()[:12]}"


def _module_of(name: str) -> GoModule:
    return next(module for module in MODULES if name in module.packages)


def _ensure_module(module: GoModule, programs: list[str], report: Progress) -> dict[str, Path]:
    paths = {program: tool_folder(program) / program for program in programs}
    if all(path.exists() for path in paths.values()):
        return paths
    find_go(module)  # before anything is announced or locked
    with _build_lock(module.folder, report):
        missing = [program for program, path in paths.items() if not path.exists()]
        if missing:
            name = f"Build {', '.join(missing)} {module.version}"
            with report.step(name, key=f"build:{module.folder}", once=True):
                _build_into_cache(module, missing)
    return paths


@contextmanager
def _build_lock(folder: str, report: Progress) -> Iterator[None]:
    path = cache_root() / "tools" / f"{folder}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report.say(f"another process is building {folder}; waiting for it")
            lock.acquire(timeout=BUILD_TIMEOUT_SECONDS)
    except Timeout:
        message = f"another process has been building {folder} for {BUILD_TIMEOUT_SECONDS} s ({path} is locked)"
        raise SandboxError(message, next_step="end that process and run the command again") from None
    try:
        yield
    finally:
        lock.release()


def _build_into_cache(module: GoModule, programs: list[str]) -> None:
    """Build beside the cache's folders and rename: a folder with its final name is always complete."""
    tools = cache_root() / "tools"
    for leftover in tools.glob(f".partial-{module.folder}-*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a build that was killed; we hold the lock
    partial = Path(tempfile.mkdtemp(dir=tools, prefix=f".partial-{module.folder}-"))
    try:
        build(module, programs, partial, cache_root() / "logs" / f"build-{module.folder}.log")
        for program in programs:
            binary = _built_binary(module, program, partial)
            folder = partial / f"{program}.folder"
            folder.mkdir()
            binary.rename(folder / program)
            if program == "kwok":
                _copy_kwok_stages(module, folder / KWOK_STAGES)
            target = tool_folder(program)
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _built_binary(module: GoModule, program: str, folder: Path) -> Path:
    """Go names a binary after its package's last element, or the one before a version suffix."""
    before_last, last = module.packages[program].rsplit("/", 2)[-2:]
    candidates = [folder / name for name in (program, last, before_last)]
    return next(path for path in candidates if path.is_file())


def _copy_kwok_stages(module: GoModule, into: Path) -> None:
    stages = source_folder(module) / "kustomize" / "stage"
    files = [
        file
        for folder in _KWOK_STAGE_FOLDERS
        for file in sorted((stages / folder).glob("*.yaml"))
        if file.name != "kustomization.yaml"
    ]
    documents = [file.read_text(encoding="utf-8").strip().removeprefix("---\n") for file in files]
    into.write_text("\n---\n".join(documents) + "\n", encoding="utf-8")


def _kubectl() -> Path:
    path = Path(sysconfig.get_path("scripts")) / "kubectl"
    if not path.exists():
        message = f"kubectl is missing from this Python environment ({path})"
        raise SandboxError(message, next_step="install the pinned requirements: `make venv`")
    return path
