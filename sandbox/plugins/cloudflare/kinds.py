"""How each resource type maps to the API: where it lives, how it is written, and what cannot change in place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.plugins.cloudflare.spelling import to_api

Inputs = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One resource type.

    With ``collection`` the API gives ids: POST creates, PUT replaces, DELETE removes. With ``single`` there is one
    thing at a path: ``method`` writes it, and DELETE removes it only where ``removable``.
    """

    properties: frozenset[str]
    required: frozenset[str]
    replaces: frozenset[str]
    collection: str = ""
    single: str = ""
    method: str = "PATCH"
    removable: bool = True

    def path(self, inputs: Inputs) -> str:
        """Path below the version, without an id."""
        owner = f"accounts/{inputs['accountId']}" if inputs.get("accountId") else f"zones/{inputs['zoneId']}"
        place = self.single or self.collection
        return f"{owner}/{place.format(**{name: inputs.get(name) for name in ('settingId',)})}"

    def body(self, inputs: Inputs) -> dict[str, Any]:
        """What is sent: everything but what stands in the path."""
        body: dict[str, Any] = to_api({key: value for key, value in inputs.items() if key not in _IN_PATH})
        return body


_IN_PATH: Final = frozenset({"zoneId", "accountId", "settingId"})


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _switch(path: str, *, removable: bool) -> Kind:
    names = _names("zoneId value")
    return Kind(properties=names, required=names, replaces=_names("zoneId"), single=path, removable=removable)


_RULESET: Final = "cloudflare:index/ruleset:Ruleset"
KINDS: Final[Mapping[str, Kind]] = {
    _RULESET: Kind(
        properties=_names("zoneId kind name phase description rules"),
        required=_names("zoneId kind name phase"),
        replaces=_names("zoneId kind phase"),
        collection="rulesets",
    ),
    "cloudflare:index/dnsRecord:DnsRecord": Kind(
        properties=_names("zoneId name type content ttl proxied comment"),
        required=_names("zoneId name type ttl"),
        replaces=_names("zoneId"),
        collection="dns_records",
    ),
    "cloudflare:index/logpushJob:LogpushJob": Kind(
        properties=_names("zoneId accountId name dataset destinationConf enabled"),
        required=_names("destinationConf"),
        replaces=_names("zoneId accountId dataset"),
        collection="logpush/jobs",
    ),
    "cloudflare:index/zoneSetting:ZoneSetting": Kind(
        properties=_names("zoneId settingId value"),
        required=_names("zoneId settingId value"),
        replaces=_names("zoneId settingId"),
        single="settings/{settingId}",
        removable=False,
    ),
    "cloudflare:index/tieredCache:TieredCache": _switch("cache/tiered_cache_smart_topology_enable", removable=True),
    "cloudflare:index/argoTieredCaching:ArgoTieredCaching": _switch("argo/tiered_caching", removable=False),
    "cloudflare:index/regionalTieredCache:RegionalTieredCache": _switch("cache/regional_tiered_cache", removable=False),
    "cloudflare:index/authenticatedOriginPullsSettings:AuthenticatedOriginPullsSettings": Kind(
        properties=_names("zoneId enabled"),
        required=_names("zoneId enabled"),
        replaces=_names("zoneId"),
        single="origin_tls_client_auth/settings",
        method="PUT",
        removable=False,
    ),
}
"""Only what the program declares; anything else is refused in words."""


def with_rule_ids(body: dict[str, Any], old_rules: list[dict[str, Any]]) -> dict[str, Any]:
    """The ruleset's body with the id of each rule whose ``ref`` it had before: a rule without one is a new rule."""
    known = {rule.get("ref"): rule.get("id") for rule in old_rules if rule.get("ref") and rule.get("id")}
    rules = [{**rule, "id": known[rule["ref"]]} if rule.get("ref") in known else rule for rule in body.get("rules", [])]
    return {**body, "rules": rules}


def is_ruleset(type_token: str) -> bool:
    """Whether the type has rules with ids of their own."""
    return type_token == _RULESET


def seen(asked: Any, live: Any) -> Any:
    """The live value where it was asked for: defaults that the API adds are no change, what differs or is gone is."""
    if isinstance(asked, dict) and isinstance(live, dict):
        return {key: seen(value, live[key]) for key, value in asked.items() if key in live}
    if isinstance(asked, list) and isinstance(live, list):
        return [seen(asked[index], item) if index < len(asked) else item for index, item in enumerate(live)]
    return live
