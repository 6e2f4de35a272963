"""The zone in front of the platform: proxied, limited, filtered, encrypted, and with one owner for each rule."""

from collections.abc import Iterator, Mapping

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.cloudflare_objects import CloudflareObject, Zone, Zones, parse_cloudflare
from policies.rules import About, Config, Violation, indexed_policy, subject_policy
from policies.values import UNKNOWN, elements, number, read, show, text

_ADDRESS_RECORDS = frozenset({"A", "AAAA", "CNAME"})
_RATE_LIMITS = "http_ratelimit"
_MANAGED_RULES = "http_request_firewall_managed"
_HALF_A_YEAR_SECONDS = 15_768_000


def proxied_records() -> ResourceValidationPolicy:
    """A plain record publishes the origin's address: rate limits and WAF can then be walked around."""
    about = About(
        name="edge-records-proxied",
        display_name="Edge records are proxied",
        description="DNS records that lead to an address are proxied; names listed under `unproxied` may be plain.",
        severity=Severity.CRITICAL,
        remediation="Set proxied to true, or list the name where it must be plain (mail, for example).",
        tags=("edge", "network"),
        pci="1.4.5",
        pci_text="Internal IP addresses are disclosed to authorized parties only",
        schema=PolicyConfigSchema(
            properties={"unproxied": {"type": "array", "items": {"type": "string"}, "default": []}}
        ),
    )
    return subject_policy(about, _check_proxied, frozenset({"DnsRecord"}), parse_cloudflare)


def _check_proxied(subject: CloudflareObject, config: Config) -> Iterator[str]:
    kind, proxied, name = (read(subject.props, key) for key in ("type", "proxied", "name"))
    if kind not in _ADDRESS_RECORDS or proxied in (True, UNKNOWN) or name in elements(read(config, "unproxied")):
        return
    yield (
        f"{show(kind)} record {show(name)} has proxied {show(proxied)}, which publishes the address of the origin."
        " Allowed: true. Fix: set proxied to true."
    )


def rules_have_refs() -> ResourceValidationPolicy:
    """Without a ref, one changed rule gives every later rule a new id, and its logs and statistics end."""
    about = About(
        name="edge-rules-have-refs",
        display_name="Edge rules have refs",
        description="Every rule of a ruleset has a ref of its own, by which it keeps its identity.",
        severity=Severity.MEDIUM,
        remediation="Give each rule a ref that says what it is for.",
        tags=("edge",),
    )
    return subject_policy(about, _check_refs, frozenset({"Ruleset"}), parse_cloudflare)


def _check_refs(subject: CloudflareObject, _config: Config) -> Iterator[str]:
    seen: dict[str, int] = {}
    for position, rule in enumerate(elements(read(subject.props, "rules")), start=1):
        ref = rule if rule is UNKNOWN else read(rule, "ref")
        if ref is UNKNOWN:
            continue
        name = text(ref)
        if not name:
            yield f"rule {position} has no ref. Allowed: a ref of its own. Fix: add one."
        elif name in seen:
            yield (
                f"rules {seen[name]} and {position} have the same ref {show(name)}. Allowed: a ref of its own. Fix:"
                " rename one."
            )
        else:
            seen[name] = position


def one_ruleset_per_phase() -> StackValidationPolicy:
    """Cloudflare has one entry point for a phase: the second one fails, or overwrites the first."""
    about = About(
        name="edge-one-ruleset-per-phase",
        display_name="One ruleset per phase",
        description="A zone has at most one entry-point ruleset for each phase.",
        severity=Severity.HIGH,
        remediation="Move the rules into one ruleset.",
        tags=("edge",),
    )
    return indexed_policy(about, _check_phases, Zones.of)


def _check_phases(index: Zones, _config: Config) -> Iterator[Violation]:
    for zone in index.zones:
        first: dict[object, CloudflareObject] = {}
        for ruleset in zone.by_kind.get("Ruleset", []):
            if ruleset.phase is UNKNOWN or read(ruleset.props, "kind") not in ("zone", UNKNOWN):
                continue
            other = first.setdefault(ruleset.phase, ruleset)
            if other is not ruleset:
                yield Violation(
                    ruleset,
                    f"phase {show(ruleset.phase)} has an entry point already, {other.name}. Allowed: one for each"
                    " phase. Fix: merge the two.",
                )


def rate_limited() -> StackValidationPolicy:
    """The gateway's own limits count after the connection is paid for."""
    about = About(
        name="edge-rate-limit-present",
        display_name="The edge has a rate limit",
        description="Each zone that the program declares blocks clients that send too many requests.",
        severity=Severity.HIGH,
        remediation="Declare a ruleset for http_ratelimit with a rule that blocks.",
        tags=("edge", "availability"),
        pci="6.4.2",
        pci_text="An automated technical solution detects and prevents web-based attacks",
    )
    return indexed_policy(about, _check_rate_limit, Zones.of)


def _check_rate_limit(index: Zones, _config: Config) -> Iterator[Violation]:
    yield from _missing(
        index, _RATE_LIMITS, "block", "has no rate limit. Allowed: a rule that blocks in the phase http_ratelimit."
    )


def filtered() -> StackValidationPolicy:
    """Managed rules know attacks on the day they appear."""
    about = About(
        name="edge-waf-present",
        display_name="The edge has a web application firewall",
        description="Each zone that the program declares runs managed rules over its requests.",
        severity=Severity.HIGH,
        remediation="Declare a ruleset for http_request_firewall_managed that executes a managed ruleset.",
        tags=("edge",),
        pci="6.4.2",
        pci_text="An automated technical solution detects and prevents web-based attacks",
    )
    return indexed_policy(about, _check_waf, Zones.of)


def _check_waf(index: Zones, _config: Config) -> Iterator[Violation]:
    yield from _missing(
        index,
        _MANAGED_RULES,
        "execute",
        "runs no managed rules. Allowed: a rule that executes a managed ruleset in the phase"
        " http_request_firewall_managed.",
    )


def _missing(index: Zones, phase: str, action: str, problem: str) -> Iterator[Violation]:
    for zone in index.zones if index.complete else []:
        rules = zone.rules(phase)
        if rules is not None and not any(read(rule, "action") in (action, UNKNOWN) for rule in rules):
            yield Violation(zone.owner, f"zone {show(zone.zone_id)} {problem} Fix: add it.")


def encrypted() -> StackValidationPolicy:
    """Cloudflare's defaults accept old TLS, repeat early data and do not check the origin's certificate."""
    about = About(
        name="edge-tls-settings",
        display_name="TLS settings of the edge",
        description=(
            "Each zone sets strict TLS, version 1.2 or newer, HTTPS only, HSTS, no early data, and origin pulls."
        ),
        severity=Severity.CRITICAL,
        remediation="Declare the zone setting with the allowed value.",
        tags=("edge", "network"),
        pci="4.2.1",
        pci_text="Strong cryptography safeguards PAN during transmission over open networks",
    )
    return indexed_policy(about, _check_tls, Zones.of)


_REQUIRED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "ssl": (("strict",), "anybody could answer in the origin's place"),
    "min_tls_version": (("1.2", "1.3"), "older versions are broken"),
    "0rtt": (("off",), "early data can be repeated by whoever recorded it, a payment included"),
    "always_use_https": (("on",), "a first request would travel in the clear"),
    "tls_client_auth": (("on",), "the origin cannot tell Cloudflare from anybody else"),
}


def _check_tls(index: Zones, _config: Config) -> Iterator[Violation]:
    for zone in index.zones if index.complete else []:
        declared = {read(one.props, "settingId"): one for one in zone.settings()}
        if UNKNOWN in declared:
            continue
        for setting, (allowed, why) in _REQUIRED.items():
            value = read(declared[setting].props, "value") if setting in declared else None
            if value not in (*allowed, UNKNOWN):
                found = f"{setting} {show(value)}"
                yield _wrong(zone, declared.get(setting), found, f"{setting} {' or '.join(allowed)}", why)
        yield from _check_hsts(zone, declared.get("security_header"))


def _check_hsts(zone: Zone, setting: CloudflareObject | None) -> Iterator[Violation]:
    hsts = read(setting.props, "value", "strict_transport_security") if setting is not None else None
    enabled, age = read(hsts, "enabled"), read(hsts, "max_age")
    if UNKNOWN in (hsts, enabled, age):
        return
    if enabled is not True or (number(age) or 0) < _HALF_A_YEAR_SECONDS:
        found = f"security_header with enabled {show(enabled)} and max_age {show(age)}"
        allowed = f"security_header with enabled true and max_age of at least {_HALF_A_YEAR_SECONDS}"
        yield _wrong(zone, setting, found, allowed, "browsers would try plain HTTP again")


def _wrong(zone: Zone, at: CloudflareObject | None, found: str, allowed: str, why: str) -> Violation:
    return Violation(
        at or zone.owner,
        f"zone {show(zone.zone_id)} has {found}: {why}. Allowed: {allowed}. Fix: declare the zone setting with it.",
    )


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [
        proxied_records(),
        rate_limited(),
        filtered(),
        encrypted(),
        rules_have_refs(),
        one_ruleset_per_phase(),
    ]
