"""How requests enter: one neutral model, which two renderers turn into objects of their controllers."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.cloudflare import Cloudflare
from settings.cluster import Cidr
from settings.problems import RuleError
from settings.scaling import Replicas
from settings.services import ResourceAmounts, Resources

Seconds = Annotated[int, Field(ge=1, le=3600)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=255)]
HostName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$",
        max_length=253,
        description="a full host name without a wildcard, for example api.example.com",
    ),
]
PathPrefix = Annotated[
    str,
    Field(
        pattern=r"^(/[A-Za-z0-9._~-]+)+$",
        max_length=256,
        description="a path prefix in whole segments without a slash at the end, for example /api/v1/payments",
    ),
]


class EdgeRenderer(StrEnum):
    """Whose objects the edge is declared with."""

    GATEWAY = "gateway"
    """Gateway API with Envoy Gateway."""
    NGINX = "nginx"
    """ingress-nginx, the plan's literal form; its project ended in March 2026."""


class RatePeriod(StrEnum):
    """The window of a rate limit."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Length of the window."""
        return {RatePeriod.SECOND: 1, RatePeriod.MINUTE: 60, RatePeriod.HOUR: 3600, RatePeriod.DAY: 86400}[self]


class LimitBy(StrEnum):
    """What a rate limit counts apart."""

    CLIENT_ADDRESS = "client-address"
    HEADER = "header"


class LimitScope(StrEnum):
    """Where a rate limit is counted."""

    LOCAL = "local"
    """By each proxy on its own: n proxies together admit n times as much."""
    GLOBAL = "global"
    """By all proxies together, in Redis."""


class RateLimit(Strict):
    """So many requests in a window, for each client of a route."""

    by: LimitBy
    header: HeaderName | None = None
    """Header that names the API client; requests without it are not counted by this limit."""
    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    per: RatePeriod
    scope: LimitScope = LimitScope.LOCAL

    @model_validator(mode="after")
    def _header_with_its_kind(self) -> Self:
        if (self.by is LimitBy.HEADER) != (self.header is not None):
            raise RuleError(
                why=f"header and by go together; by is {self.by} and header is {self.header or 'not set'}",
                fix="give header with by: header, and only then",
            )
        return self


class Policy(StrEnum):
    """How a request's pod is chosen."""

    ROUND_ROBIN = "round-robin"
    LEAST_REQUEST = "least-request"
    HASH = "hash"


class HashOn(StrEnum):
    """What a hash is taken of."""

    CLIENT_ADDRESS = "client-address"
    HEADER = "header"
    URI = "uri"


class Balancing(Strict):
    """One choice: a hash replaces round robin, the two never work together."""

    policy: Policy = Policy.ROUND_ROBIN
    hash_on: HashOn | None = None
    header: HeaderName | None = None
    """Header whose value is hashed, for example Idempotency-Key."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.policy is Policy.HASH) != (self.hash_on is not None):
            raise RuleError(
                why=f"policy {self.policy} with hash_on {self.hash_on or 'not set'} contradict each other: "
                "a hash decides alone, and round robin beside it has no effect",
                fix="remove hash_on, or set policy: hash",
            )
        if (self.hash_on is HashOn.HEADER) != (self.header is not None):
            raise RuleError(why="header and hash_on: header go together", fix="give both or none")
        return self


class Timeouts(Strict):
    """How long the edge waits, in seconds."""

    request_seconds: Seconds = 30
    """The whole request with all its tries."""
    try_seconds: Seconds = 10
    """One try, from the request's end to the response's end (nginx: between two reads of the response)."""
    connect_seconds: Seconds = 2
    idle_seconds: Seconds = 60
    """An upstream connection without a request is closed after this."""

    @model_validator(mode="after")
    def _nested(self) -> Self:
        if not self.connect_seconds <= self.try_seconds <= self.request_seconds:
            raise RuleError(
                why=f"connect_seconds {self.connect_seconds}, try_seconds {self.try_seconds} and request_seconds "
                f"{self.request_seconds} must not decrease: the outer time would end the inner one first",
                fix="order them: connect ≤ try ≤ request",
            )
        return self


class RetryOn(StrEnum):
    """What makes the edge try again."""

    CONNECT_FAILURE = "connect-failure"
    REFUSED_STREAM = "refused-stream"
    RESET_BEFORE_REQUEST = "reset-before-request"
    GATEWAY_ERROR = "gateway-error"
    RESET = "reset"


UPSTREAM_MAY_HAVE_SEEN_IT = frozenset({RetryOn.GATEWAY_ERROR, RetryOn.RESET})


class Retries(Strict):
    """Further tries. By default only when the upstream cannot have seen the request."""

    attempts: Annotated[int, Field(ge=0, le=5)] = 2
    """Tries after the first one."""
    on: list[RetryOn] = [RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM, RetryOn.RESET_BEFORE_REQUEST]
    backoff_base_ms: Annotated[int, Field(ge=1, le=10_000)] = 100
    backoff_max_ms: Annotated[int, Field(ge=1, le=60_000)] = 1000

    @model_validator(mode="after")
    def _backoff(self) -> Self:
        if self.backoff_max_ms < self.backoff_base_ms:
            raise RuleError(why="backoff_max_ms is below backoff_base_ms", fix="raise backoff_max_ms")
        if self.attempts and not self.on:
            raise RuleError(why="retries without a reason in on never happen", fix="set attempts: 0, or fill on")
        return self


class ActiveHealthCheck(Strict):
    """The proxies ask each pod; every proxy asks on its own."""

    path: PathPrefix = "/health/ready"
    interval_seconds: Seconds = 5
    timeout_seconds: Seconds = 1
    unhealthy_after: Annotated[int, Field(ge=1, le=100)] = 3
    healthy_after: Annotated[int, Field(ge=1, le=100)] = 1


class PassiveHealthCheck(Strict):
    """A pod whose answers fail leaves the rotation for a while."""

    consecutive_failures: Annotated[int, Field(ge=1, le=100)] = 5
    """Answers of 5xx or failed connections in a row."""
    interval_seconds: Seconds = 3
    ejection_seconds: Seconds = 30
    max_ejected_percent: Annotated[int, Field(ge=1, le=100)] = 50


class Route(Strict):
    """A path prefix and the service that answers it."""

    path: PathPrefix
    service: DnsLabel
    read_only: bool = False
    """The resource answers GET and HEAD only. The gateway refuses other methods; ingress-nginx leaves that to the
    service."""
    allow_from: list[Cidr] = []
    """Client addresses that may call it; everybody when empty."""
    balancing: Balancing = Balancing()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()

    @model_validator(mode="after")
    def _writes_are_sent_once(self) -> Self:
        unsafe = sorted(UPSTREAM_MAY_HAVE_SEEN_IT & set(self.retries.on))
        if self.retries.attempts and unsafe and not self.read_only:
            raise RuleError(
                why=f"retries.on {', '.join(unsafe)} repeats requests that the upstream may have carried out: "
                "a POST would be paid twice",
                fix="remove them, or set read_only: true where the resource only answers GET and HEAD",
            )
        if self.balancing.hash_on is HashOn.URI and not self.read_only:
            raise RuleError(
                why="balancing.hash_on uri sends every POST of a collection to one pod, however many there are",
                fix="use round-robin, or set read_only: true where only GETs with an id in the path arrive",
            )
        return self


class AddressSource(StrEnum):
    """Where the client's address is read."""

    CONNECTION = "connection"
    """The other end of the connection: nothing stands in front of the edge, or it keeps addresses."""
    FORWARDED_FOR = "x-forwarded-for"
    """The right-most address in X-Forwarded-For that is not of ``accept_from``; only from such a peer."""
    HEADER = "header"
    """A header that the proxy in front sets."""


class ClientAddress(Strict):
    """Whose address is counted and logged."""

    source: AddressSource = AddressSource.CONNECTION
    header: HeaderName | None = None
    """For example CF-Connecting-IP."""

    @model_validator(mode="after")
    def _header_with_its_kind(self) -> Self:
        if (self.source is AddressSource.HEADER) != (self.header is not None):
            raise RuleError(why="header and source: header go together", fix="give both or none")
        return self


class Tls(Strict):
    """The edge's certificate, from cert-manager, and what connections must be like."""

    issuer: DnsLabel
    issuer_kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_ca: DnsLabel | None = None
    """Secret with ca.crt in the edge's namespace: only clients with a certificate of it are admitted, which is how
    Cloudflare's authenticated origin pulls close the origin to everybody else."""


class GlobalLimits(Strict):
    """What counts the limits of scope ``global``."""

    redis: Annotated[str, Field(pattern=r"^[a-z0-9.-]+:[0-9]{1,5}$")]
    """Host and port, without credentials."""
    fail_closed: bool = False
    """Whether requests are refused while Redis cannot be asked. Open keeps paying customers, closed keeps limits."""


class Proxies(Strict):
    """The edge's own pods (gateway only; ingress-nginx brings its own)."""

    min_replicas: Replicas = 2
    max_replicas: Replicas = 10
    cpu_target_percent: Annotated[int, Field(ge=1, le=100)] = 60
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="500m", memory="512Mi"), limits=ResourceAmounts(cpu="1", memory="1Gi")
    )


class Edge(Strict):
    """Everything that stands between clients and the services."""

    renderer: EdgeRenderer = EdgeRenderer.GATEWAY
    host: HostName
    peer: DnsLabel = "edge"
    """The entry of cluster.peers that is the edge: its namespace holds the gateway, its pods may call services."""
    accept_from: Annotated[list[Cidr], Field(min_length=1)]
    """Address blocks that may connect: those of the CDN or load balancer in front."""
    client_address: ClientAddress = ClientAddress()
    tls: Tls
    routes: Annotated[dict[DnsLabel, Route], Field(min_length=1)]
    rate_limits: Annotated[dict[DnsLabel, RateLimit], Field(min_length=1, max_length=8)]
    global_limits: GlobalLimits | None = None
    active_health_check: ActiveHealthCheck | None = None
    passive_health_check: PassiveHealthCheck | None = None
    max_parallel_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that one proxy has open to one service. As many again wait for a connection (HTTP/1.1 has one for each
    request), more are answered with 503 at once. Envoy's own is 1024."""
    max_body_kib: Annotated[int, Field(ge=1, le=10_240)] = 1024
    max_header_kib: Annotated[int, Field(ge=4, le=96)] = 60
    """All headers of a request together."""
    proxies: Proxies = Proxies()
    cloudflare: Cloudflare | None = None
    """The zone in front; nothing is declared for it when absent."""
