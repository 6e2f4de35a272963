"""The commands of payctl."""

from pathlib import Path

import click

from cli import lifecycle
from cli.act import act_command
from cli.check import find_violations, print_findings
from cli.config import config
from cli.cost import cost_command
from cli.db import db
from cli.detect import detect_command
from cli.graph_command import graph
from cli.kafka_command import kafka
from cli.loadtest import loadtest_command
from cli.options import EXIT_VIOLATION, record_stack, says_problems, stack_option
from cli.output import console, print_json
from cli.plan import plan_command
from cli.render import write
from cli.shards import shards
from cli.simulate import simulate_command
from policies.evaluate import Finding


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Declare, check, deploy and look at the payments platform."""


@cli.command()
@stack_option
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@says_problems
def render(stack: str, config_file: Path | None, out: Path) -> None:
    """Write one YAML file per Kubernetes object; no engine, no cluster, the same bytes every time."""
    files = write(record_stack(stack, config_file).resources, out)
    console.print(f"{len(files)} objects of stack {stack} in {out}", soft_wrap=True)


@cli.command()
@stack_option
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@says_problems
def check(stack: str, config_file: Path | None, as_json: bool) -> None:
    """Check settings and all policies over what the program declares.

    Exit code 0: clean. 1: a mandatory policy is violated. 2: the settings are invalid.
    """
    recording = record_stack(stack, config_file)
    findings = find_violations(recording.resources, stack)
    mandatory = [finding for finding in findings if finding.enforcement == "mandatory"]
    if as_json:
        print_json([_as_row(finding) for finding in findings])
    else:
        print_findings(findings)
        console.print(f"stack {stack}: {len(recording.resources)} resources, {len(mandatory)} mandatory violations")
    if mandatory:
        raise click.exceptions.Exit(EXIT_VIOLATION)


def _as_row(finding: Finding) -> dict[str, str]:
    return {
        "policy": finding.policy,
        "severity": finding.severity,
        "enforcement": finding.enforcement,
        "urn": finding.urn,
        "message": finding.message,
        "fix": finding.remediation,
    }


cli.add_command(config)
cli.add_command(graph)
cli.add_command(simulate_command)
cli.add_command(kafka)
cli.add_command(db)
cli.add_command(shards)
cli.add_command(detect_command)
cli.add_command(act_command)
cli.add_command(plan_command)
cli.add_command(cost_command)
cli.add_command(loadtest_command)
for command in (lifecycle.up, lifecycle.preview, lifecycle.down, lifecycle.status):
    cli.add_command(command)
