"""``payctl check``: settings and every policy, without an engine."""

from pathlib import Path

import click

from cli.check import find_violations, print_findings
from cli.options import EXIT_VIOLATION, record_stack, says_problems, stack_option
from cli.output import console, print_json
from policies.evaluate import Finding


@click.command("check")
@stack_option
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@says_problems
def check_command(stack: str, config_file: Path | None, as_json: bool) -> None:
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
