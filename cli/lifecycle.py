"""``payctl up|preview|down|status``: the real engine, against the sandbox or the cluster that the stack names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import sandbox_database
from cli.check import find_violations, print_findings
from cli.options import EXIT_VIOLATION, load_stack, record_stack, says_problems, stack_option, stack_path
from cli.output import console, print_json, print_problem
from cli.recording import ROOT, Recording
from cli.stack_file import read_stack_file
from cli.status import WorkloadStatus, as_table, read_workloads
from components.database.component import waiting_line
from policies.configuration import config_path
from sandbox import controlplane, database, session, tools
from sandbox.engine import Engine
from sandbox.errors import SandboxError
from sandbox.layout import Layout
from sandbox.progress import Progress
from sandbox.recovery import exists_by_kubectl, settle
from settings import Settings, load

POLICY_PACK = ROOT / "policies"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A stack with the engine that deploys it and the cluster that it goes to."""

    stack: str
    settings: Settings
    layout: Layout
    engine: Engine
    engine_config: Path
    plugins: dict[str, str]
    kubectl: Path
    report: Progress
    servers: Sequence[database.Server] = ()
    """PostgreSQL servers that the sandbox started for the stack."""

    @property
    def kubeconfig(self) -> str | None:
        """Path of the kubeconfig, as kubectl takes it; ``None`` for the user's own."""
        if in_sandbox(self.settings):
            return str(self.layout.kubeconfig)
        given = self.settings.cluster.kubeconfig
        return None if given is None else str(ROOT / given)


def in_sandbox(settings: Settings) -> bool:
    """Whether a stack goes to the embedded control plane: it names that context, and so its kubeconfig.

    Raises ``SandboxError`` when the context is the sandbox's and the kubeconfig is not: the program would then
    deploy with one file while payctl starts and shows the cluster of another.
    """
    if settings.cluster.kube_context != controlplane.CONTEXT:
        return False
    given = settings.cluster.kubeconfig
    if given is None or Path(given).name != "kubeconfig" or Path(given).parent == Path():
        raise SandboxError(
            f"cluster.kube_context is {controlplane.CONTEXT}, but cluster.kubeconfig is {given or 'absent'}; "
            "allowed: a file named kubeconfig in a folder of the sandbox's own",
            next_step="set cluster.kubeconfig to .sandbox/kubeconfig, or name another context",
        )
    return True


def layout_for(settings: Settings) -> Layout:
    """Where the engine keeps its state for a stack, and for a sandbox stack the whole sandbox."""
    return session.layout_of(ROOT, settings.cluster.kubeconfig if in_sandbox(settings) else None)


@contextmanager
def opened(stack: str, config_file: Path | None, *, start: bool) -> Iterator[Target]:
    """Validate the settings, then hold the sandbox and have an engine ready.

    ``start`` brings up the control plane that a sandbox stack needs. What a killed engine left is settled first.
    """
    _, settings = load_stack(stack, config_file)
    report = tools.progress()
    layout = layout_for(settings)
    with session.exclusive(layout, report):
        if start and in_sandbox(settings):
            opened_session = session.bring_up(ROOT, layout, report, _options(settings))
            engine, plugins, kubectl = opened_session.engine, opened_session.plugins, opened_session.kubectl
        else:
            engine, plugins = session.open_engine(ROOT, layout, report, isolated=in_sandbox(settings))
            kubectl = tools.ensure(("kubectl",), report)["kubectl"]
        source = stack_path(stack, config_file)
        servers: list[database.Server] = []
        if in_sandbox(settings) and (start or sandbox_database.holds_roles(engine.state_file(stack))):
            source, servers = sandbox_database.with_endpoints(engine, stack, source, settings, report)
        target = Target(
            stack=stack,
            settings=load(read_stack_file(source, stack).platform, source=source.name) if servers else settings,
            layout=layout,
            engine=engine,
            engine_config=engine.config_file(stack, source),
            plugins=plugins,
            kubectl=kubectl,
            report=report,
            servers=servers,
        )
        if in_sandbox(settings):
            controlplane.require_ready(layout)
            exists = exists_by_kubectl(kubectl, layout.kubeconfig)
            settle(engine, stack, target.engine_config, exists, report.say)
        yield target


def _options(settings: Settings) -> controlplane.Options:
    return controlplane.Options(zones=tuple(settings.cluster.zones))


def policy_arguments(stack: str) -> list[str]:
    """The pack with the limits of a stack."""
    return ["--policy-pack", str(POLICY_PACK), "--policy-pack-config", str(config_path(stack))]


def engine_command(target: Target, command: str, arguments: Sequence[str]) -> list[str]:
    """One command on the stack, as the engine takes it."""
    common = ["--stack", target.stack, "--config-file", str(target.engine_config)]
    if any(server.fresh for server in target.servers) and sandbox_database.holds_roles(
        target.engine.state_file(target.stack)
    ):
        common.append("--refresh")  # the server that the saved state knows is gone
    return [command, *common, *arguments]


def run_engine(target: Target, command: str, arguments: Sequence[str], recording: Recording | None = None) -> None:
    """Run one command on the stack with its output shown; ends payctl with 1 when the engine says no.

    A refusal by a policy stands somewhere in that output; ``recording`` says it once more at its end.
    """
    result = target.engine.run(engine_command(target, command, arguments), stream=True)
    if result.exit_code != 0:
        if recording is not None:
            print_findings(find_violations(recording.resources, target.stack))
        print_problem(
            f"payctl {command}: the engine ended with exit code {result.exit_code}; what it says stands above"
        )
        raise click.exceptions.Exit(EXIT_VIOLATION)


yes_option = click.option("--yes", is_flag=True, help="Agree to change a cluster that is not the sandbox.")


def require_consent(command: str, stack: str, settings: Settings, *, yes: bool) -> None:
    """The sandbox may be changed at once; any other cluster only when the person says so."""
    if not in_sandbox(settings) and not yes:
        raise SandboxError(
            f"payctl {command}: stack {stack} goes to the cluster of context {settings.cluster.kube_context}",
            next_step=f"look at `payctl preview --stack {stack} --diff`, then repeat the command with --yes",
        )


@click.command()
@stack_option
@yes_option
@says_problems
def up(stack: str, config_file: Path | None, yes: bool) -> None:
    """Deploy a stack; everything that is missing for it (tools, sandbox) is built or started first."""
    recording = record_stack(stack, config_file)  # refuses invalid settings before anything is started
    require_consent("up", stack, load_stack(stack, config_file)[1], yes=yes)
    with opened(stack, config_file, start=True) as target:
        run_engine(target, "up", ["--yes", *policy_arguments(stack)], recording)
        if target.settings.data is not None:
            sandbox_database.migrate(target.layout, target.servers, target.settings.data.database, target.report)
        _print_status(target)
    console.print("\nNext: ./payctl status · ./payctl check · ./payctl preview --diff · make down", markup=False)


@click.command()
@stack_option
@click.option("--diff", is_flag=True, help="Show every changed property.")
@click.option("--refresh", is_flag=True, help="Read the cluster's state first.")
@says_problems
def preview(stack: str, config_file: Path | None, diff: bool, refresh: bool) -> None:
    """Show what up would change, with all policies applied; the cluster is not changed."""
    recording = record_stack(stack, config_file)
    with opened(stack, config_file, start=True) as target:
        flags = [flag for flag, given in (("--diff", diff), ("--refresh", refresh)) if given]
        run_engine(target, "preview", [*flags, *policy_arguments(stack)], recording)


@click.command()
@stack_option
@click.option("--purge", is_flag=True, help="Also remove everything that the sandbox stored.")
@yes_option
@says_problems
def down(stack: str, config_file: Path | None, purge: bool, yes: bool) -> None:
    """Destroy a stack and stop what up started; twice is fine."""
    _, settings = load_stack(stack, config_file)
    require_consent("down", stack, settings, yes=yes)
    layout, report = layout_for(settings), tools.progress()
    if not in_sandbox(settings):
        _destroy(stack, config_file)
        return
    destroyed = False
    try:
        if purge:
            report.say("the sandbox is removed with everything in it")
        elif controlplane.is_ready(layout):
            _destroy(stack, config_file)
            destroyed = True
        elif layout.etcd_data.exists():
            report.say(f"the API server is not running: stack {stack} is not destroyed, it is kept for the next up")
    finally:
        # Also after a failed destroy: down always stops what up started.
        with session.exclusive(layout, report):
            session.tear_down(layout, report, purge=purge)
            if destroyed:
                database.remove(layout)  # nothing of the stack is left in it


def _destroy(stack: str, config_file: Path | None) -> None:
    with opened(stack, config_file, start=False) as target:
        run_engine(target, "destroy", ["--yes"])


@click.command()
@stack_option
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@says_problems
def status(stack: str, config_file: Path | None, as_json: bool) -> None:
    """Show services, replicas, autoscaler targets, and which plugins are in use."""
    _, settings = load_stack(stack, config_file)
    report, layout = tools.progress(), layout_for(settings)
    if in_sandbox(settings):
        controlplane.require_ready(layout)
    engine, plugins = session.open_engine(ROOT, layout, report, isolated=in_sandbox(settings))
    target = Target(
        stack=stack,
        settings=settings,
        layout=layout,
        engine=engine,
        engine_config=stack_path(stack, config_file),
        plugins=plugins,
        kubectl=tools.ensure(("kubectl",), report)["kubectl"],
        report=report,
    )
    if as_json:
        print_json(_status_document(target, _workloads(target)))
    else:
        _print_status(target)


def _workloads(target: Target) -> list[WorkloadStatus]:
    cluster = target.settings.cluster
    return read_workloads(target.kubectl, target.kubeconfig, cluster.kube_context, cluster.namespaces.services)


def _print_status(target: Target) -> None:
    rows = _workloads(target)
    console.print()
    console.print(as_table(rows))
    if not rows:
        console.print(f"no workloads in namespace {target.settings.cluster.namespaces.services}")
    for name, text in _about(target).items():
        console.print(f"{name}: {text}", markup=False, soft_wrap=True)


def _about(target: Target) -> dict[str, str]:
    about = {"stack": target.stack, "engine": str(target.engine.pulumi)}
    about |= {f"plugin {name}": text for name, text in target.plugins.items()}
    if in_sandbox(target.settings):
        daemons = controlplane.running(target.layout)
        about["control plane"] = ", ".join(f"{name} {'up' if up_ else 'DOWN'}" for name, up_ in daemons.items())
    about |= {f"database {shard}": text for shard, text in _databases(target).items()}
    return about


def _databases(target: Target) -> dict[str, str]:
    """Shard → its server, or what it waits for."""
    if target.settings.data is None:
        return {}
    if in_sandbox(target.settings):
        return sandbox_database.describe(target.layout, target.settings)
    waiting = waiting_line(target.settings.data)
    return {} if waiting is None else {"roles": waiting}


def _status_document(target: Target, rows: Sequence[WorkloadStatus]) -> dict[str, Any]:
    return {"about": _about(target), "workloads": [row.as_json() for row in rows]}
