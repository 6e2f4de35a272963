"""The whole sandbox behind three calls: bring it up, take it down, say what there is."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sandbox import controlplane, crds, database
from sandbox.controlplane import Options
from sandbox.engine import Engine
from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json
from sandbox.layout import Layout
from sandbox.plugins import PluginChoice, select
from sandbox.progress import Progress
from sandbox.tools import ALL, CONTROL_PLANE, ensure

STATE_FOLDER = ".sandbox"
# Longer than a first `make up` takes: a second one that waits should not give up before the first is done.
_LOCK_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A sandbox that is up: its tools, its engine and which plugins that engine uses."""

    layout: Layout
    kubectl: Path
    engine: Engine
    plugins: dict[str, str]
    """Plugin → ``official 4.34.2`` or ``stand-in``."""


def layout_of(project: Path, kubeconfig: str | None = None) -> Layout:
    """The state folder: where a sandbox stack's kubeconfig lies, else ``.sandbox`` in the checkout.

    One truth: a stack can never be deployed to another sandbox than the one that is started for it.
    """
    return Layout((project / kubeconfig).resolve().parent if kubeconfig else project / STATE_FOLDER)


@contextlib.contextmanager
def exclusive(layout: Layout, report: Progress, *, wait: bool = True) -> Iterator[None]:
    """Hold the sandbox; a second command waits and says for whom, or fails at once without ``wait``."""
    layout.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(layout.lock)
    holder = layout.root / "lock-holder.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = read_json(holder) or {}
        who = f"process {owner.get('pid', 'unknown')}, since {owner.get('since', 'unknown')}"
        if not wait:
            raise SandboxError(
                f"the sandbox is in use by another command ({who})", next_step="wait for it, or end it"
            ) from None
        report.say(f"another command uses the sandbox ({who}); waiting for it")
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT_SECONDS)
        except Timeout:
            raise SandboxError(
                f"the sandbox is still in use after {_LOCK_TIMEOUT_SECONDS} s ({who})", next_step=f"look at {who}"
            ) from None
    try:
        write_json(holder, {"pid": os.getpid(), "since": time.strftime("%H:%M:%S")})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def open_engine(project: Path, layout: Layout, report: Progress, *, isolated: bool) -> tuple[Engine, dict[str, str]]:
    """The engine with its plugins, without any control plane.

    ``isolated`` for the sandbox; otherwise the user's own backend, secrets and plugins, for clusters of their own:
    the engine itself finds or downloads the official ones, and a stand-in never touches a real cluster.
    """
    tools = ensure(("pulumi",), report, project_root=project)
    choice = (
        select(tools["pulumi"], layout.root / "pulumi-home", report)
        if isolated
        else PluginChoice(description={"plugins": "official, by the engine itself"})
    )
    engine = Engine(
        pulumi=tools["pulumi"],
        project=project,
        state=layout.root,
        path_entries=choice.path_entries,
        variables=choice.env,
        isolated=isolated,
    )
    return engine, dict(choice.description)


def bring_up(project: Path, layout: Layout, report: Progress, options: Options | None = None) -> Session:
    """Tools, control plane and engine; what is there already is kept. The caller holds ``exclusive``."""
    tools = ensure(ALL, report, project_root=project)
    controlplane.start(layout, tools, report, options)
    crds.install(layout, tools["kubectl"], report)
    engine, plugins = open_engine(project, layout, report, isolated=True)
    return Session(layout=layout, kubectl=tools["kubectl"], engine=engine, plugins=plugins)


def tear_down(layout: Layout, report: Progress, *, purge: bool = False) -> list[str]:
    """Stop the daemons; with ``purge`` also remove what they stored and the stacks' state. Twice is fine."""
    stopped = [*database.stop(layout), *controlplane.stop(layout)]
    report.say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    if purge:
        database.remove(layout)
        for name in ("control-plane", "backend", "stacks", "kubeconfig", "metrics.json"):
            path = layout.root / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return stopped


def control_plane_tools(report: Progress, project: Path) -> dict[str, Path]:
    """Only what a control plane needs, for tests that run no engine."""
    return ensure(CONTROL_PLANE, report, project_root=project)
