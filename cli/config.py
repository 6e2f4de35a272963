"""``payctl config``: what a stack file may hold."""

import click

from cli.output import print_json
from cli.schema import json_schema, template


@click.group()
def config() -> None:
    """Describe what a stack file may hold."""


@config.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of payments:platform."""
    print_json(json_schema())


@config.command("template")
def template_command() -> None:
    """Print a commented stack file to start from."""
    click.echo(template(), nl=False)
