"""``payctl render``: the manifests of a stack as files."""

from pathlib import Path

import click

from cli.options import record_stack, says_problems, stack_option
from cli.output import console
from cli.render import write


@click.command("render")
@stack_option
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@says_problems
def render_command(stack: str, config_file: Path | None, out: Path) -> None:
    """Write one YAML file per Kubernetes object; no engine, no cluster, the same bytes every time."""
    files = write(record_stack(stack, config_file).resources, out)
    console.print(f"{len(files)} objects of stack {stack} in {out}", soft_wrap=True)
