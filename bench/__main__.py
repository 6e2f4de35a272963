"""``python -m bench``: the engine with our program, provider and policies beside kubectl and beside its own floor.

For 3, 24 and 96 services: preview, first up, no-op up and destroy; the same rendered objects by ``kubectl apply
--server-side``; and the same inputs with a provider that answers at once. All in one run, on one control plane.
"""

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.stacks import ROOT, write_stack
from cli.lifecycle import policy_arguments
from cli.recording import Recording, record_program
from cli.render import write
from cli.stack_file import read_stack_file
from policies.configuration import config_path, load_config
from sandbox import session, tools
from sandbox.engine import Engine
from sandbox.layout import Layout
from sandbox.session import Session

SIZES = (3, 24, 96)
_KUBECTL_TIMEOUT_SECONDS = 600
_STACK = "dev"
# The limits of dev name its own three services; the benchmark's have other names and are far from any limit.
_BENCH_LIMITS = {"scaling-limits": {"limits": {}, "defaults": {"minReplicas": 1, "maxReplicas": 10}}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds of one step, ours beside both rivals. ``objects`` are Kubernetes objects."""

    services: int
    objects: int
    step: str
    ours_seconds: float
    kubectl_seconds: float
    floor_seconds: float

    @property
    def over_floor(self) -> float:
        """1.3 means: program, provider and policies add 30 % to what the engine costs alone."""
        return self.ours_seconds / self.floor_seconds

    @property
    def over_kubectl(self) -> float:
        """How many times as long as kubectl takes for the same objects."""
        return self.ours_seconds / self.kubectl_seconds

    @property
    def milliseconds_per_object(self) -> float:
        """What one object costs us."""
        return self.ours_seconds * 1000 / self.objects


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json", help="JSON file to write")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of services")
    options = parser.parse_args()
    report = tools.progress()
    measured: list[Measured] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemons are stopped then too
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as folder:
        layout = Layout(Path(folder).resolve())
        try:
            opened = session.bring_up(ROOT, layout, report)
            for size in options.sizes:
                measured += measure(opened, size, Path(folder), report.say)
                _print(measured)
                _write(measured, options.out)  # after each size: an interrupted run keeps what it measured
        finally:
            session.tear_down(layout, report)


def measure(opened: Session, size: int, folder: Path, say: Callable[[str], None]) -> list[Measured]:
    """All steps for one number of services; leaves nothing on the control plane."""
    config_file = _stack(size, folder, opened.layout)
    recording = record_program(read_stack_file(config_file, _STACK))
    objects = sum(1 for resource in recording.resources if resource.type.startswith("kubernetes:"))
    say(f"{size} services, {objects} objects: kubectl")
    kubectl = _measure_kubectl(opened, recording, folder / f"rendered-{size}")
    say(f"{size} services, {objects} objects: the engine's floor")
    floor = _measure_engine(_floor_engine(opened), "bench", _floor_config(recording, folder), [])
    say(f"{size} services, {objects} objects: ours")
    ours = _measure_engine(opened.engine, _STACK, config_file, _policies(folder))
    return [
        Measured(
            services=size,
            objects=objects,
            step=step,
            ours_seconds=ours[step],
            kubectl_seconds=kubectl[step],
            floor_seconds=floor[step],
        )
        for step in ours
    ]


def _stack(size: int, folder: Path, layout: Layout) -> Path:
    path = write_stack(size, folder)
    text = path.read_text(encoding="utf-8").replace(".sandbox/kubeconfig", str(layout.kubeconfig))
    path.write_text(text, encoding="utf-8")
    return path


def _policies(folder: Path) -> list[str]:
    config = folder / "policies.json"
    limits = {**load_config(config_path(_STACK)), **_BENCH_LIMITS}
    config.write_text(json.dumps(limits), encoding="utf-8")
    arguments = policy_arguments(_STACK)
    return [*arguments[:-1], str(config)]


def _floor_engine(opened: Session) -> Engine:
    return Engine(
        pulumi=opened.engine.pulumi,
        project=ROOT / "bench" / "floor",
        state=opened.layout.root / "floor",
        path_entries=[ROOT / "bench" / "bin", *opened.engine.path_entries],
        variables={**opened.engine.variables, "PAYMENTS_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
    )


def _floor_config(recording: Recording, folder: Path) -> Path:
    """As many resources as ours, each with the inputs of one of ours: the engine stores state of the same size."""
    inputs_file = folder / "floor-inputs.json"
    inputs_file.write_text(json.dumps([resource.inputs for resource in recording.resources]), encoding="utf-8")
    path = folder / "floor.yaml"
    path.write_text(json.dumps({"config": {"floor:inputs_file": str(inputs_file)}}), encoding="utf-8")
    return path


def _measure_engine(engine: Engine, stack: str, config_file: Path, policies: list[str]) -> dict[str, float]:
    common = ["--stack", stack, "--config-file", str(engine.config_file(stack, config_file))]

    def run(command: str, *arguments: str) -> Callable[[], None]:
        def go() -> None:
            result = engine.run([command, *common, *arguments])
            if result.exit_code != 0:
                message = f"pulumi {command} failed:\n{result.output[-3000:]}"
                raise RuntimeError(message)

        return go

    return {
        "preview": _seconds(run("preview", *policies)),
        "first up": _seconds(run("up", "--yes", "--skip-preview", *policies)),
        "no-op up": _seconds(run("up", "--yes", "--skip-preview", *policies)),
        "destroy": _seconds(run("destroy", "--yes", "--skip-preview")),
    }


def _measure_kubectl(opened: Session, recording: Recording, folder: Path) -> dict[str, float]:
    """The same objects, and the same promise: up ends when every Deployment is available, destroy when all is gone."""
    files = write(recording.resources, folder)
    namespace_file, base = files[0], [str(opened.kubectl), "--kubeconfig", str(opened.layout.kubeconfig)]

    def run(*arguments: str) -> None:
        subprocess.run([*base, *arguments], check=True, capture_output=True, timeout=_KUBECTL_TIMEOUT_SECONDS)

    def apply(*flags: str) -> None:
        run("apply", "--server-side", *flags, "--filename", str(folder))

    def first_up() -> None:
        apply()
        run("--namespace", "payments", "wait", "--for=condition=Available", "deployments", "--all", "--timeout=300s")

    # A server-side dry run needs the namespace; the engine's preview does not, so it is not part of the time.
    run("apply", "--server-side", "--filename", str(namespace_file))
    seconds = {"preview": _seconds(lambda: apply("--dry-run=server")), "first up": _seconds(first_up)}
    seconds["no-op up"] = _seconds(apply)
    seconds["destroy"] = _seconds(lambda: run("delete", "--wait", "--filename", str(folder)))
    shutil.rmtree(folder)
    return seconds


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _row(measured: Measured) -> dict[str, Any]:
    return {
        **asdict(measured),
        "over_floor": measured.over_floor,
        "over_kubectl": measured.over_kubectl,
        "milliseconds_per_object": measured.milliseconds_per_object,
    }


def _print(measured: list[Measured]) -> None:
    table = Table("services", "objects", "step", "ours s", "kubectl s", "floor s", "× kubectl", "× floor", "ms/object")
    for row in measured:
        numbers = (row.ours_seconds, row.kubectl_seconds, row.floor_seconds, row.over_kubectl, row.over_floor)
        texts = [f"{number:.2f}" for number in numbers]
        table.add_row(str(row.services), str(row.objects), row.step, *texts, f"{row.milliseconds_per_object:.0f}")
    Console(width=120).print(table)


def _write(measured: list[Measured], path: Path) -> None:
    machine: Mapping[str, Any] = {"python": platform.python_version(), "system": platform.system()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": [_row(row) for row in measured]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
