"""Settings and every policy over what the program declares, in this process: no engine, no cluster."""

from collections.abc import Sequence

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
