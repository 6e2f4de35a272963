"""``payctl shards``: where users live, and what another shard would change."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cli.options import EXIT_INVALID_SETTINGS, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from planning.shard_steps import BEFORE, Step, steps
from planning.shards import Addition, plan_addition
from settings.data import BUCKETS
from settings.data_roles import RoleName

_NAME = re.compile(r"^s[0-9]{2}$")


@click.group()
def shards() -> None:
    """Look at the shards of a stack and plan another one."""


@shards.command("plan")
@stack_option
@click.option("--add", "name", required=True, metavar="NAME", help="Name of the new shard, for example s01.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@says_problems
def plan(stack: str, config_file: Path | None, name: str, as_json: bool) -> None:
    """Print which buckets move to a new shard, the share of users with them, and the steps.

    Nothing is changed. Exit code 2: the name cannot be used.
    """
    _, settings = load_stack(stack, config_file)
    if settings.data is None:
        _refuse(f"stack {stack} has no shards; declare them under data.shards")
        return
    known = settings.data.shards
    if not _NAME.match(name):
        _refuse(f"--add {name}: allowed: s00, s01, … and a name that was never used; fix: {_next_name(known)}")
    if name in known and known[name].buckets:
        _refuse(f"--add {name}: it holds buckets already; fix: {_next_name(known)}")
    addition = plan_addition({key: shard.ranges for key, shard in known.items()}, name)
    if as_json:
        print_json(_as_json(addition))
    else:
        _print(addition, stack, settings.data.database, own_clusters=settings.postgres is not None)


def _next_name(known: Any) -> str:
    return f"s{max(int(key[1:]) for key in known) + 1:02d}"


def _refuse(text: str) -> None:
    print_problem(f"payctl shards plan: {text}")
    raise click.exceptions.Exit(EXIT_INVALID_SETTINGS)


def _as_json(addition: Addition) -> dict[str, Any]:
    return {
        "add": addition.name,
        "buckets_moving": addition.buckets,
        "share_of_users": addition.share,
        "share_of_users_by_modulo": addition.share_by_modulo,
        "moves": [
            {"from": move.source, "to": addition.name, "first": move.first, "last": move.last}
            for move in addition.moves
        ],
        "before": BEFORE,
        "steps": [asdict(step) for step in steps(addition.moves, addition.name)],
        "shards": {shard: [f"{first}-{last}" for first, last in ranges] for shard, ranges in addition.after.items()},
    }


def _print(addition: Addition, stack: str, database: str, *, own_clusters: bool) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("from", "to", "buckets", "count"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "count" else "left")
    for move in addition.moves:
        table.add_row(move.source, addition.name, f"{move.first}-{move.last}", str(move.buckets))
    console.print(table)
    console.print(
        f"\n{addition.buckets} of {BUCKETS} buckets move, and {addition.share:.1%} of the users with them; "
        f"hash % shards would move {addition.share_by_modulo:.1%}.",
        soft_wrap=True,
    )
    console.print(_steps(addition, stack, database, own_clusters=own_clusters), markup=False, soft_wrap=True)


def _prepare(name: str, stack: str, *, own_clusters: bool) -> str:
    file = f"Pulumi.{stack}.yaml"
    if not own_clusters:
        return f"add `{name}: {{buckets: []}}` with its endpoint to data.shards of {file} and deploy;"
    return f"""a shard is a cluster: add {name} to postgres.shards and `{name}: {{buckets: []}}` to data.shards of
              {file}, its peers to cluster.peers and to the services' egress_to; make its Secrets
              (docs/postgres.md); deploy; then name data.shards.{name}.endpoint and deploy again;"""


def _steps(addition: Addition, stack: str, database: str, *, own_clusters: bool) -> str:
    settings = "\n".join(
        f"     {shard}: {{buckets: [{', '.join(f'{first}-{last}' for first, last in ranges)}]}}"
        for shard, ranges in addition.after.items()
    )
    shards = list(dict.fromkeys((*(move.source for move in addition.moves), addition.name)))
    connections = "\n".join(
        f"     export {shard}='host=… dbname={database} user={RoleName.MIGRATION} options=-crole={RoleName.OWNER}'"
        for shard in shards
    )
    before = "\n".join(f"     {line}" for line in BEFORE)
    prepare, *others = steps(addition.moves, addition.name)
    return f"""
Steps (docs/shards.md says more of each); the lines are for bash, after
{before}
{connections}

0 prepare     {_prepare(addition.name, stack, own_clusters=own_clusters)}
              go on when `payctl db status --stack {stack}` shows the same version on every shard; then
              {prepare.text}
{_lines(prepare)}
{"".join(_printed(number, step) for number, step in enumerate(others, start=1))}
The map: after `cut over` set
{settings}
     in data.shards, deploy, have services read the contract anew; who has not is refused by the old shard (SH001)"""


def _printed(number: int, step: Step) -> str:
    return f"{number} {step.name:<11} {step.text}\n{_lines(step)}\n"


def _lines(step: Step) -> str:
    return "\n".join(f"     {command}" for command in step.commands)
