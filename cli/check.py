"""Settings and every policy over what the program declares, in this process: no engine, no cluster."""

from collections.abc import Sequence

from cli.output import print_problem
from cli.recording import Recorded
from policies.configuration import config_path, load_config
from policies.evaluate import Finding, Resource, evaluate


def find_violations(resources: Sequence[Recorded], stack: str) -> list[Finding]:
    """Findings of the pack with the limits of a stack, sorted by URN.

    Raises ``policies.configuration.PolicyConfigError`` when the limits' file cannot be used.
    """
    return evaluate([_as_resource(recorded) for recorded in resources], load_config(config_path(stack)))


def _as_resource(recorded: Recorded) -> Resource:
    return Resource(
        type=recorded.type,
        name=recorded.name,
        urn=recorded.urn,
        props=recorded.inputs,
        parent=recorded.parent,
        ignore_changes=recorded.ignore_changes,
        protect=recorded.protect,
        retain_on_delete=recorded.retain_on_delete,
        dependencies=recorded.dependencies,
    )


def print_findings(findings: Sequence[Finding]) -> None:
    """Each finding on its own line of standard error: what, where, why, fix."""
    for finding in findings:
        where = finding.urn.split("::")[-1] if finding.urn else "stack"
        fix = "" if "Fix:" in finding.message else f" Fix: {' '.join(finding.remediation.split())}"
        print_problem(f"{finding.enforcement} {finding.policy} ({finding.severity}) {where}: {finding.message}{fix}")
