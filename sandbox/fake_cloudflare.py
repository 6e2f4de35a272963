"""A fake of Cloudflare's API on 127.0.0.1: the few paths that the program uses, strict about shapes and plans.

It keeps a zone in memory and every call that it answered. It is no proxy: it evaluates no rule.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from uuid import uuid4

from sandbox import fake_cloudflare_schema as schema

_PREFIX: Final = "/client/v4/"
_SWITCHES: Final = {
    "argo/tiered_caching": False,
    "cache/tiered_cache_smart_topology_enable": False,
    "cache/regional_tiered_cache": True,
}
"""Path → whether only Enterprise has it."""


class ApiProblem(Exception):  # noqa: N818 - an answer of the API, not a mistake of ours
    """An answer that is not a success."""

    def __init__(self, status: int, code: int, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.status = status
        self.errors = [{"code": code, "message": message} for message in messages]


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was answered: method, path below the version, body, and status."""

    method: str
    path: str
    body: Any
    status: int


@dataclass(slots=True)
class Zone:
    """What a zone holds."""

    plan: str
    rulesets: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin_pulls: bool = False

    # -- rulesets --------------------------------------------------------------------------------------------

    def create_ruleset(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new entry point; the second of a phase is refused."""
        _refuse(20015, schema.ruleset_problems(body, self.plan))
        if any(one["phase"] == body["phase"] for one in self.rulesets.values()):
            raise ApiProblem(
                409,
                20217,
                "a similar configuration with rules already exists and overwriting will have unintended consequences",
            )
        return self._store_ruleset(_identifier(), body, version=1)

    def update_ruleset(self, identifier: str, body: dict[str, Any]) -> dict[str, Any]:
        """Replace all rules. A rule keeps its id when the call names it; otherwise it is a new one."""
        old = _found(self.rulesets, identifier)
        _refuse(20015, schema.ruleset_problems(body, self.plan))
        if (body["kind"], body["phase"]) != (old["kind"], old["phase"]):
            raise ApiProblem(400, 20016, "kind and phase of a ruleset cannot change")
        known = {rule["id"] for rule in old["rules"]}
        strangers = [rule["id"] for rule in body.get("rules", []) if "id" in rule and rule["id"] not in known]
        _refuse(20017, (f"no rule {one} in this ruleset" for one in strangers))
        return self._store_ruleset(identifier, body, version=int(old["version"]) + 1)

    def _store_ruleset(self, identifier: str, body: dict[str, Any], *, version: int) -> dict[str, Any]:
        rules = []
        for rule in body.get("rules", []):
            rule_id = rule.get("id", _identifier())
            rules.append({"enabled": True, "ref": rule_id, **rule, "id": rule_id, "version": str(version)})
        stored = {**body, "id": identifier, "version": str(version), "rules": rules}
        self.rulesets[identifier] = stored
        return stored

    # -- the rest --------------------------------------------------------------------------------------------

    def put_record(self, identifier: str | None, body: dict[str, Any]) -> dict[str, Any]:
        """Create (without an identifier) or replace a record; a name has one record of a type."""
        if identifier is not None:
            _found(self.records, identifier)
        _refuse(9005, schema.record_problems(body))
        for other, record in self.records.items():
            if other != identifier and (record["name"], record["type"]) == (body["name"], body["type"]):
                raise ApiProblem(400, 81058, "an identical record already exists")
        identifier = identifier or _identifier()
        self.records[identifier] = {"proxied": False, **body, "id": identifier}
        return self.records[identifier]

    def put_job(self, identifier: str | None, body: dict[str, Any], owner: str) -> dict[str, Any]:
        """Create (without an identifier) or replace a Logpush job."""
        if identifier is not None:
            _found(self.jobs, identifier)
        _refuse(1002, schema.logpush_problems(body, self.plan, owner))
        identifier = identifier or str(len(self.jobs) + 1)
        self.jobs[identifier] = {**body, "id": int(identifier)}
        return self.jobs[identifier]


class FakeCloudflare:
    """The server; use it as a context manager. ``url`` is what CLOUDFLARE_BASE_URL names."""

    def __init__(self, *, zone_id: str, account_id: str, token: str, plan: str) -> None:
        self.zone = Zone(plan=plan)
        self.zone_id, self.account_id = zone_id, account_id
        self.calls: list[Call] = []
        self._token = token
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Address of the API, version included."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{_PREFIX.rstrip('/')}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def writes(self) -> list[Call]:
        """Calls that changed something or tried to."""
        return [call for call in self.calls if call.method != "GET"]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(length).decode()
                status, document = fake.answer(self.command, self.path, self.headers.get("Authorization"), text)
                payload = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                """Nothing: calls are kept, not printed."""

        return Handler

    def answer(self, method: str, path: str, authorization: str | None, text: str) -> tuple[int, dict[str, Any]]:
        """Status and document of one call."""
        body: Any = None
        try:
            self._authenticate(authorization)
            body = json.loads(text) if text else None
            with self._lock:
                result = self._route(method, path, body)
            status, errors = 200, []
        except ApiProblem as problem:
            result, status, errors = None, problem.status, problem.errors
        except json.JSONDecodeError:
            result, status, errors = None, 400, [{"code": 6003, "message": "the body is no JSON"}]
        self.calls.append(Call(method, path.removeprefix(_PREFIX), body, status))
        return status, {"success": not errors, "errors": errors, "messages": [], "result": result}

    def _authenticate(self, authorization: str | None) -> None:
        if authorization != f"Bearer {self._token}":
            raise ApiProblem(403, 10000, "Authentication error")

    def _route(self, method: str, path: str, body: Any) -> Any:
        owners = {f"{_PREFIX}zones/{self.zone_id}/": "zones", f"{_PREFIX}accounts/{self.account_id}/": "accounts"}
        for prefix, owner in owners.items():
            if path.startswith(prefix):
                return self._resource(method, path.removeprefix(prefix), body, owner)
        raise ApiProblem(404, 7003, f"could not route to {path}")

    def _resource(self, method: str, path: str, body: Any, owner: str) -> Any:
        collection, _, identifier = path.partition("/")
        zone = self.zone
        if path.startswith("logpush/jobs"):
            return _crud(method, zone.jobs, path[13:], lambda key: zone.put_job(key, body, owner))
        if owner != "zones":
            raise ApiProblem(404, 7003, f"could not route to {path}")
        if path in _SWITCHES:
            return self._switch(method, path, body)
        if collection == "rulesets":
            return _crud(
                method,
                zone.rulesets,
                identifier,
                lambda key: zone.create_ruleset(body) if key is None else zone.update_ruleset(key, body),
            )
        if collection == "dns_records":
            return _crud(method, zone.records, identifier, lambda key: zone.put_record(key, body))
        if collection == "settings":
            return self._setting(method, identifier, body)
        if path == "origin_tls_client_auth/settings":
            if method == "PUT":
                zone.origin_pulls = bool(body["enabled"])
            return {"enabled": zone.origin_pulls}
        raise ApiProblem(404, 7003, f"could not route to {path}")

    def _switch(self, method: str, path: str, body: Any) -> dict[str, Any]:
        if method == "PATCH":
            _refuse(1015, schema.switch_problems(body, self.zone.plan, enterprise_only=_SWITCHES[path]))
            self.zone.switches[path] = body["value"]
        elif method == "DELETE":
            self.zone.switches.pop(path, None)
        return {"id": path.rpartition("/")[2], "value": self.zone.switches.get(path, "off"), "editable": True}

    def _setting(self, method: str, setting: str, body: Any) -> dict[str, Any]:
        if method == "PATCH":
            _refuse(1007, schema.setting_problems(setting, body))
            self.zone.settings[setting] = body["value"]
        elif method != "GET":
            raise ApiProblem(405, 10405, f"method {method} not allowed: a setting cannot be removed")
        return {"id": setting, "value": self.zone.settings.get(setting), "editable": True}


def _crud(
    method: str,
    objects: dict[str, dict[str, Any]],
    identifier: str,
    put: Callable[[str | None], dict[str, Any]],
) -> Any:
    if method == "POST" and not identifier:
        return put(None)
    if method == "PUT" and identifier:
        return put(identifier)
    if method == "GET":
        return _found(objects, identifier) if identifier else list(objects.values())
    if method == "DELETE" and identifier:
        _found(objects, identifier)
        del objects[identifier]
        return {"id": identifier}
    raise ApiProblem(405, 10405, f"method {method} not allowed here")


def _found(objects: Mapping[str, dict[str, Any]], identifier: str) -> dict[str, Any]:
    if identifier not in objects:
        raise ApiProblem(404, 10007, f"no object {identifier}")
    return objects[identifier]


def _refuse(code: int, problems: Iterator[str]) -> None:
    found = list(problems)
    if found:
        raise ApiProblem(400, code, *found)


def _identifier() -> str:
    return uuid4().hex
