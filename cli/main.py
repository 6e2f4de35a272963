"""The commands of payctl. A command's module is loaded when the command runs: the rooms behind them are heavy."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """Where a command is defined, and its line in the overview."""

    module: str
    attribute: str
    summary: str


COMMANDS: Mapping[str, Entry] = {
    "act": Entry("cli.act", "act_command", "Answer findings with changes of the stack's settings."),
    "check": Entry(
        "cli.check_command", "check_command", "Check settings and all policies over what the program declares."
    ),
    "config": Entry("cli.config", "config", "Describe what a stack file may hold."),
    "cost": Entry(
        "cli.cost",
        "cost_command",
        "Price what the program declares: at the fewest pods, on the twin's day, at the most pods.",
    ),
    "db": Entry("cli.db", "db", "Look at the databases of a stack."),
    "detect": Entry(
        "cli.detect", "detect_command", "Judge measurements by the rules of planning/bottlenecks/rules.yaml."
    ),
    "down": Entry("cli.lifecycle", "down", "Destroy a stack and stop what up started; twice is fine."),
    "graph": Entry("cli.graph_command", "graph", "Draw the platform as an SVG picture."),
    "kafka": Entry("cli.kafka_command", "kafka", "Plan changes of topics, and keep their ledger."),
    "loadtest": Entry(
        "cli.loadtest", "loadtest_command", "Send a scenario's load with k6, or read what k6 has measured elsewhere."
    ),
    "plan": Entry(
        "cli.plan",
        "plan_command",
        "Plan the capacity of a stack for a load: pods, consumers, partitions, brokers, connections, disk, cache, "
        "cost.",
    ),
    "preview": Entry(
        "cli.lifecycle", "preview", "Show what up would change, with all policies applied; the cluster is not changed."
    ),
    "render": Entry(
        "cli.render_command",
        "render_command",
        "Write one YAML file per Kubernetes object; no engine, no cluster, the same bytes every time.",
    ),
    "shards": Entry("cli.shards", "shards", "Look at the shards of a stack and plan another one."),
    "simulate": Entry("cli.simulate", "simulate_command", "Predict replicas, lag and latency of a stack under a load."),
    "status": Entry(
        "cli.lifecycle", "status", "Show services, replicas, autoscaler targets, and which plugins are in use."
    ),
    "up": Entry(
        "cli.lifecycle",
        "up",
        "Deploy a stack; everything that is missing for it (tools, sandbox) is built or started first.",
    ),
}
"""Name → its definition; the summaries equal the commands' own, which a test compares."""


class _OnDemand(click.Group):
    """Knows its commands by name; ``--help`` and a mistyped name load none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # the signature is click's
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # likewise
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)  # noqa: S101 # the table names commands only
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and near and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'; did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])


@click.group(cls=_OnDemand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Declare, check, deploy and look at the payments platform."""
