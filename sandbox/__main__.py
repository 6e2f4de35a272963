"""``python -m sandbox``: the sandbox without the platform, for work on the sandbox itself.

``payctl`` brings the same sandbox up and deploys the platform into it.
"""

import argparse
import sys
from pathlib import Path

from sandbox import controlplane, session
from sandbox.controlplane import Options
from sandbox.errors import SandboxError
from sandbox.layout import Layout
from sandbox.metric_values import set_external, set_resource
from sandbox.progress import Progress
from sandbox.tools import CONTROL_PLANE, ensure, progress

PROJECT = Path(__file__).resolve().parent.parent
_EXIT_FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code. A failure is one message, never a traceback."""
    given = _parser().parse_args(arguments)
    layout = Layout(given.state.resolve())
    report = progress()
    try:
        return _run(given, layout, report)
    except SandboxError as error:
        if not error.shown:
            report.say(str(error))
        return _EXIT_FAILED
    except KeyboardInterrupt:
        report.say("interrupted; the same command continues where this one stopped")
        return _EXIT_FAILED


def _run(given: argparse.Namespace, layout: Layout, report: Progress) -> int:
    if given.command == "status":
        return _status(layout, report)
    if given.command == "metrics":
        _set_metric(given, layout)
        return 0
    with session.exclusive(layout, report, wait=not given.no_wait):
        if given.command == "down":
            session.tear_down(layout, report, purge=given.purge)
        else:
            tools = ensure(CONTROL_PLANE, report, project_root=PROJECT)
            controlplane.start(layout, tools, report, Options(nodes_per_zone=given.nodes_per_zone))
            report.say(f"KUBECONFIG={layout.kubeconfig}")
    return 0


def _status(layout: Layout, report: Progress) -> int:
    for name, alive in controlplane.running(layout).items():
        report.say(f"{name:<24} {'running' if alive else 'stopped'}")
    ready = controlplane.is_ready(layout)
    report.say(f"{'API server answers':<24} {'yes' if ready else 'no'}")
    return 0 if ready else _EXIT_FAILED


def _set_metric(given: argparse.Namespace, layout: Layout) -> None:
    if given.what == "external":
        set_external(layout.metrics, given.name, given.value, dict(given.label))
    else:
        set_resource(layout.metrics, given.workload, cpu_percent=given.cpu_percent, memory_percent=given.memory_percent)


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        message = f"{text!r} is not KEY=VALUE"
        raise argparse.ArgumentTypeError(message)
    return key, value


def _amount(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        message = f"{text!r} is neither a whole number nor `none`"
        raise argparse.ArgumentTypeError(message) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--state", type=Path, default=PROJECT / session.STATE_FOLDER, help="state folder")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what is not running")
    up.add_argument("--nodes-per-zone", type=int, default=Options().nodes_per_zone)
    down = commands.add_parser("down", help="stop what is running; twice is fine")
    down.add_argument("--purge", action="store_true", help="also remove what was stored")
    for command in (up, down):
        command.add_argument("--no-wait", action="store_true", help="fail when another command uses the sandbox")
    commands.add_parser("status", help="what runs")
    metrics = commands.add_parser("metrics", help="set what the metrics API answers")
    kinds = metrics.add_subparsers(dest="what", required=True)
    external = kinds.add_parser("external", help="an external metric")
    external.add_argument("name")
    external.add_argument("value", type=_amount, help="a whole number, or `none` for no data")
    external.add_argument("--label", type=_label, action="append", default=[], metavar="KEY=VALUE")
    resource = kinds.add_parser("resource", help="what each pod of a workload uses")
    resource.add_argument("workload")
    resource.add_argument("--cpu-percent", type=int, required=True, help="of the requests")
    resource.add_argument("--memory-percent", type=int, required=True, help="of the requests")
    return parser


if __name__ == "__main__":
    sys.exit(main())
