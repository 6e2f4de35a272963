"""``payctl graph``: the platform as a picture, from what the program declares."""

from pathlib import Path

import click

from cli.graph import to_svg
from cli.options import record_stack, says_problems, stack_option
from cli.output import console


@click.command()
@stack_option
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="SVG file to write.")
@says_problems
def graph(stack: str, config_file: Path | None, out: Path) -> None:
    """Draw the platform as an SVG picture."""
    out.write_text(to_svg(record_stack(stack, config_file).resources), encoding="utf-8")
    console.print(f"{out}", soft_wrap=True, markup=False)
