"""What Cloudflare's cache does with a request, by the rules of a zone.

Semantics, from developers.cloudflare.com: cache rules stack, each one that matches overwrites what it sets, so the
last decides (cache/how-to/cache-rules/order); a response rule with `no-store` beats them all
(cache/how-to/cache-response-rules). By default nothing of an API is stored (cache/concepts/default-cache-behavior).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from policies.rules_language import ExpressionError, Fields, parse
from policies.values import number, read, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request and the origin's answer to it. Names of headers are in lower case."""

    method: str = "GET"
    host: str = "api.example.com"
    path: str = "/"
    raw_path: str | None = None
    """The path as the client wrote it, where Cloudflare's normalisation changes it."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cookie: str = ""
    status: int = 200
    response_headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the request as messages show it: never a header's value."""
        carried = [f"with {name}" for name in self.headers] + (["with a session cookie"] if self.cookie else [])
        return " ".join([self.method, self.raw_path or self.path, *carried])

    @property
    def fields(self) -> Fields:
        """Return the fields of the Rules language."""
        raw = self.raw_path or self.path
        headers = {**self.headers, **({"cookie": self.cookie} if self.cookie else {}), "host": self.host}
        media_type = self.response_headers.get("content-type", "").partition(";")[0]
        return {
            "http.host": self.host,
            "http.cookie": self.cookie,
            "http.request.method": self.method,
            "http.request.uri": f"{raw}?{self.query}" if self.query else raw,
            "http.request.uri.path": self.path,
            "http.request.uri.query": self.query,
            "raw.http.request.uri.path": raw,
            "http.request.headers": {name: [value] for name, value in headers.items()},
            "http.request.headers.names": list(headers),
            "http.response.code": self.status,
            "http.response.headers": {name: [value] for name, value in self.response_headers.items()},
            "http.response.headers.names": list(self.response_headers),
            "http.response.content_type.media_type": media_type,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the cache does: `rule` is the ref of the rule that decided, None for the default behaviour."""

    stored: bool
    rule: str | None
    edge_ttl_seconds: int | None = None
    """For how long, where a rule fixes it; None where the origin's Cache-Control decides."""


def eligible(rules: Sequence[object], request: Request) -> Decision:
    """Return what the request rules decide. Raises ExpressionError for a rule that cannot be read."""
    decision = Decision(stored=False, rule=None)
    for rule in matching(rules, request):
        parameters = read(rule, "actionParameters")
        ref = text(read(rule, "ref"))
        cache, mode = read(parameters, "cache"), read(parameters, "edgeTtl", "mode")
        stored = cache if isinstance(cache, bool) else decision.stored
        ttl = number(read(parameters, "edgeTtl", "default")) if mode == "override_origin" else None
        kept = decision.edge_ttl_seconds if mode is None else None if ttl is None else int(ttl)
        decision = Decision(stored=stored, rule=ref, edge_ttl_seconds=kept if stored else None)
    return decision


def decide(rules: Sequence[object], response_rules: Sequence[object], request: Request) -> Decision:
    """Return what both kinds of rules decide. Raises ExpressionError for a rule that cannot be read."""
    first = eligible(rules, request)
    if not first.stored:
        return first
    for rule in matching(response_rules, request):
        if read(rule, "actionParameters", "noStore", "operation") == "set":
            return Decision(stored=False, rule=text(read(rule, "ref")))
    return first


def matching(rules: Iterable[object], request: Request) -> list[object]:
    """Return the rules whose expressions match, in their order. Raises ExpressionError."""
    found = []
    for rule in rules:
        source = text(read(rule, "expression"))
        if source is None:
            message = "a rule without an expression"
            raise ExpressionError(message)
        if parse(source).holds(request.fields):
            found.append(rule)
    return found


def literals(rules: Iterable[object]) -> list[str]:
    """Return every text of the rules' expressions, each once. Raises ExpressionError."""
    sources = (text(read(rule, "expression")) for rule in rules)
    found = (literal for source in sources if source is not None for literal in parse(source).literals)
    return list(dict.fromkeys(found))
