"""The pack without an engine: the same policies, proxies and config merge, over resources held in memory.

`payctl check` and the tests use it. What it cannot show: values that only a provider fills in.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from pulumi_policy import (
    EnforcementLevel,
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
)
from pulumi_policy.deserialize import deserialize_properties
from pulumi_policy.proxy import unknown_checking_proxy

from policies.configuration import PolicySettings, merge
from policies.pack import all_policies
from policies.rules import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource as the engine would register it.

    `props` has wire names (camelCase) and may hold the engine's markers for secrets and unknown values.
    `parent` and `dependencies` are URNs. `retain_on_delete` is carried for readers of the list: the SDK shows
    it to no policy.
    """

    type: str
    name: str
    urn: str
    props: Mapping[str, object]
    parent: str = ""
    ignore_changes: tuple[str, ...] = ()
    protect: bool = False
    retain_on_delete: bool | None = None
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One violation. `urn` is empty where the stack as a whole is at fault."""

    urn: str
    policy: str
    message: str
    severity: str
    enforcement: str
    remediation: str


def evaluate(resources: Sequence[Resource], config: Mapping[str, object]) -> list[Finding]:
    """Run every policy and return the findings, sorted by URN, then policy.

    `config` is the content of a policy config file. Raises PolicyConfigError if it does not fit the pack.
    """
    policies = all_policies()
    settings = merge(policies, config)
    seen = _as_policy_resources(resources)
    findings: list[Finding] = []
    for policy in policies:
        chosen = settings[policy.name]
        if chosen.level is EnforcementLevel.DISABLED:
            continue
        if isinstance(policy, ResourceValidationPolicy):
            for resource in seen:
                _run_over_resource(policy, chosen, resource, _recorder(policy, chosen, resource.urn, findings))
        else:
            arguments = StackValidationArgs(seen, dict(chosen.properties))
            _finish(policy.validate(arguments, _recorder(policy, chosen, "", findings)))
    return sorted(findings)


def _run_over_resource(
    policy: ResourceValidationPolicy,
    settings: PolicySettings,
    resource: PolicyResource,
    record: Callable[[str, str | None], None],
) -> None:
    arguments = ResourceValidationArgs(
        resource.resource_type,
        resource.props,
        resource.urn,
        resource.name,
        resource.opts,
        None,
        dict(settings.properties),
    )
    _finish(policy.validate(arguments, record))


def _finish(result: Awaitable[object] | None) -> None:
    async def wait(pending: Awaitable[object]) -> None:
        await pending

    if result is not None:
        asyncio.run(wait(result))


def _recorder(
    policy: Policy, settings: PolicySettings, default_urn: str, findings: list[Finding]
) -> Callable[[str, str | None], None]:
    # A violation that a remediation left over is mandatory: so says the engine.
    remediates = settings.level is EnforcementLevel.REMEDIATE
    level = EnforcementLevel.MANDATORY if remediates else settings.level

    def record(message: str, urn: str | None = None) -> None:
        findings.append(
            Finding(
                urn=urn or default_urn,
                policy=policy.name,
                message=message,
                severity="" if policy.severity is None else policy.severity.value,
                enforcement=level.value,
                remediation=policy.remediation_steps or "",
            )
        )

    return record


def _as_policy_resources(resources: Sequence[Resource]) -> list[PolicyResource]:
    by_urn = {resource.urn: _as_policy_resource(resource) for resource in resources}
    for resource in resources:
        seen = by_urn[resource.urn]
        seen.parent = by_urn.get(resource.parent)
        seen.dependencies = [by_urn[urn] for urn in resource.dependencies if urn in by_urn]
    return list(by_urn.values())


def _as_policy_resource(resource: Resource) -> PolicyResource:
    properties = {str(key): _as_received(value) for key, value in resource.props.items()}
    options = PolicyResourceOptions(
        resource.protect,
        list(resource.ignore_changes),
        None,
        [],
        PolicyCustomTimeouts(0, 0, 0),
        [],
        resource.parent or None,
    )
    props = unknown_checking_proxy(deserialize_properties(properties))
    return PolicyResource(resource.type, props, resource.urn, resource.name, options, None, None, [], {})


def _as_received(value: object) -> object:
    """Return the value as it arrives over the wire: numbers are floats, collections dicts or lists."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _as_received(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_received(part) for part in value]
    return value
