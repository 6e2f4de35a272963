"""What a stack may ask of Cloudflare. Its rules against the plan are in ``settings.cloudflare_rules``."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.cloudflare_tiers import Counted, Plan
from settings.problems import RuleError

Identifier = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{32}$", description="32 hexadecimal digits, as the zone's overview page shows them"),
]
SecretKey = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]*$", max_length=100)]
Path = Annotated[
    str,
    Field(
        pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$",
        max_length=256,
        description="whole segments that do not begin with a dot, no slash at the end",
    ),
]
PathTree = Annotated[
    str,
    Field(
        pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/\*$",
        max_length=256,
        description="a path in whole segments and everything below it, for example /docs/*",
    ),
]
# What RFC 6265 allows in a cookie's name, without what would need escaping in an expression.
CookieName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]
LowerHeader = Annotated[
    str, Field(pattern=r"^[a-z0-9-]+$", max_length=100, description="a header's name in lower case")
]
_YEAR_SECONDS = 31_536_000
# What browsers ask for before a domain may enter their built-in lists (hstspreload.org).
_PRELOAD_SECONDS = 31_536_000


class Record(Strict):
    """Where the edge's host name points to; always proxied, so that the origin's address is not public."""

    type: Literal["A", "AAAA", "CNAME"]
    content: Annotated[str, Field(min_length=3, max_length=253)]
    """Address or name of the load balancer before the gateway."""


class CachedPath(Strict):
    """Public content that may be stored at the edge: the same for everybody."""

    path: PathTree
    edge_ttl_seconds: Annotated[int, Field(ge=1, le=_YEAR_SECONDS)] | None = None
    """How long the edge keeps an answer. Absent: what the origin's Cache-Control says, and nothing without one."""


class ClientLimit(Strict):
    """So many requests of one client; beyond it the edge answers 429 for a while without asking the origin.

    Counted per data centre and some seconds late: a coarse outer guard, not the exact limit.
    """

    path: PathTree
    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    period_seconds: int = 60
    blocked_seconds: int = 60
    """How long a client that exceeded the limit is answered 429."""
    by: Counted = Counted.ADDRESS
    header: LowerHeader | None = None
    """Header that names the API client."""

    @model_validator(mode="after")
    def _header_with_its_kind(self) -> Self:
        if (self.by is Counted.HEADER) != (self.header is not None):
            raise RuleError(why="header and by: header go together", fix="give both or none")
        return self


class Waf(StrEnum):
    """Which of Cloudflare's rule sets look at requests."""

    MANAGED = "managed"
    """The Cloudflare Managed Ruleset and the OWASP Core Ruleset."""
    FREE = "free"
    """The Cloudflare Free Managed Ruleset: all that the Free plan has."""


class OriginPulls(StrEnum):
    """With which client certificate Cloudflare calls the origin."""

    SHARED = "shared"
    """The one that all Cloudflare customers share: it keeps out who is not behind Cloudflare at all."""
    ZONE = "zone"
    """The zone's own, uploaded beforehand: it keeps out other customers of Cloudflare, too."""


class TieredCaching(StrEnum):
    """Whether data centres ask each other before they ask the origin."""

    OFF = "off"
    SMART = "smart"
    REGIONAL = "regional"
    """Smart, and a hub in each region besides."""


class Hsts(Strict):
    """Strict-Transport-Security: browsers refuse plain HTTP for this long. It cannot be taken back earlier."""

    max_age_seconds: Annotated[int, Field(ge=0, le=2 * _YEAR_SECONDS)] = _YEAR_SECONDS
    include_subdomains: bool = False
    """Also for every other name in the zone."""
    preload: bool = False
    """Ask browsers to know it before a first visit."""

    @model_validator(mode="after")
    def _preload_is_for_ever(self) -> Self:
        if self.preload and not (self.include_subdomains and self.max_age_seconds >= _PRELOAD_SECONDS):
            raise RuleError(
                why=f"preload needs include_subdomains: true and max_age_seconds of at least {_PRELOAD_SECONDS}: "
                "browsers do not list the zone otherwise",
                fix="set both, or preload: false",
            )
        return self


class LogDataset(StrEnum):
    """Which logs are pushed."""

    REQUESTS = "http_requests"
    FIREWALL = "firewall_events"
    AUDIT = "audit_logs_v2"
    """Who changed the account: a job of the account, not of the zone."""


class Logpush(Strict):
    """A stream of logs to a bucket or a collector."""

    dataset: LogDataset
    destination_key: SecretKey
    """Key of the Pulumi secret that holds the destination's address, which carries credentials."""


class Cloudflare(Strict):
    """The zone in front of the gateway. One stack owns a zone: each phase has one entry point."""

    plan: Plan
    advanced_rate_limiting: bool = False
    """Whether the Enterprise contract has the Advanced Rate Limiting add-on."""
    zone_id: Identifier
    account_id: Identifier | None = None
    """Only for ``audit_logs_v2``."""
    token_key: SecretKey | None = None
    """Key of the Pulumi secret that holds the API token; the environment's CLOUDFLARE_API_TOKEN when absent."""
    record: Record
    api_path: Path = "/api"
    """Below it errors are JSON; elsewhere they are pages for people."""
    never_cached: list[Path] = ["/api/v1/payments", "/api/v1/wallets"]
    """Paths that no entry of ``cached`` may cover."""
    cached: dict[DnsLabel, CachedPath] = {}
    session_cookies: Annotated[list[CookieName], Field(min_length=1)] = ["session"]
    """A request with one of these is never answered from the cache."""
    credential_headers: Annotated[list[LowerHeader], Field(min_length=1)] = ["authorization", "x-api-key"]
    """A request with one of these is never answered from the cache."""
    rate_limits: Annotated[dict[DnsLabel, ClientLimit], Field(min_length=1)]
    waf: Waf = Waf.MANAGED
    custom_errors: bool = True
    """JSON for the API and a plain page for the site instead of Cloudflare's own error pages."""
    origin_pulls: OriginPulls = OriginPulls.SHARED
    hsts: Hsts = Hsts()
    tiered_cache: TieredCaching = TieredCaching.SMART
    logpush: dict[DnsLabel, Logpush] = {}

    @model_validator(mode="after")
    def _credentials_are_credentials(self) -> Self:
        if "authorization" not in self.credential_headers:
            raise RuleError(
                why="credential_headers without authorization would let answers to one customer be stored for all",
                fix="add authorization",
            )
        return self
