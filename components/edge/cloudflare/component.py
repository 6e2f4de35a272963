"""The component that declares the planned zone."""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pulumi

from components.base.manifests import child_opts
from components.edge.cloudflare.ruleset import Ruleset
from components.edge.cloudflare.zone import (
    Piece,
    plan_logs,
    plan_record,
    plan_rulesets,
    plan_settings,
    plan_topology,
)
from settings.cloudflare import Cloudflare


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudflareEdgeArgs:
    """The host that the gateway serves, the zone's settings, and the stack's secrets by config key."""

    host: str
    cloudflare: Cloudflare
    secrets: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)


class CloudflareEdge(pulumi.ComponentResource):
    """One zone: a ruleset for each phase, its settings, its logs, and last the record that brings traffic."""

    def __init__(self, name: str, args: CloudflareEdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:edge:CloudflareEdge", name, {}, opts)
        sdk = _sdk()
        wanted = args.cloudflare
        zone = {"zone_id": wanted.zone_id}
        token = args.secrets[wanted.token_key] if wanted.token_key is not None else None
        provider = sdk.Provider(f"{name}-provider", api_token=token, opts=child_opts(self))
        children = _Children(name=name, sdk=sdk, parent=self, provider=provider)
        guards = [
            children.declare(role, _ruleset(ruleset), zone)
            for role, ruleset in plan_rulesets(args.host, wanted).items()
        ]
        for setting, value in plan_settings(wanted).items():
            piece = Piece(kind="ZoneSetting", arguments={"setting_id": setting, "value": value})
            guards.append(children.declare(f"setting-{setting.replace('_', '-')}", piece, zone))
        for role, piece in plan_topology(wanted).items():
            children.declare(role, piece, zone)
        for job, piece in plan_logs(wanted).items():
            destination = args.secrets[wanted.logpush[job].destination_key]
            children.declare(f"logs-{job}", piece, {"destination_conf": pulumi.Output.secret(destination)})
        # After everything that guards it: from then on there is traffic.
        children.declare("record", plan_record(args.host, wanted), zone, depends_on=guards)
        self.register_outputs({"host": args.host})


def _sdk() -> ModuleType:
    """The provider's SDK. It costs 1.5 s and 160 MiB, so only a stack with a zone imports it."""
    with warnings.catch_warnings():
        # It warns about its own old names while it is imported, not about what is used here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("pulumi_cloudflare")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Children:
    name: str
    sdk: ModuleType
    parent: pulumi.Resource
    provider: pulumi.ProviderResource

    def declare(
        self, role: str, piece: Piece, more: Mapping[str, Any], *, depends_on: Sequence[pulumi.Resource] = ()
    ) -> pulumi.Resource:
        options = child_opts(self.parent, depends_on=depends_on)
        options.provider = self.provider
        resource: pulumi.Resource = getattr(self.sdk, piece.kind)(
            f"{self.name}-{role}", opts=options, **piece.arguments, **more
        )
        return resource


def _ruleset(ruleset: Ruleset) -> Piece:
    return Piece(
        kind="Ruleset",
        arguments={
            "kind": "zone",
            "name": ruleset.name,
            "phase": ruleset.phase,
            "rules": [rule.as_arguments() for rule in ruleset.rules],
        },
    )


def cloudflare_secret_keys(wanted: Cloudflare | None) -> list[str]:
    """Config keys of the secrets that the zone needs, each once."""
    if wanted is None:
        return []
    keys = [wanted.token_key, *(job.destination_key for job in wanted.logpush.values())]
    return list(dict.fromkeys(key for key in keys if key is not None))
