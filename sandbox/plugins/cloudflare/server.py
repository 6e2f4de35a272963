"""The provider's gRPC service: translates between the engine's protocol and the calls of Cloudflare's API."""

import contextlib
import importlib.metadata
import os
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from sandbox.plugins.cloudflare.api import Api, NotFoundError, is_local
from sandbox.plugins.cloudflare.kinds import KINDS, Inputs, Kind, is_ruleset, seen, with_rule_ids
from sandbox.plugins.cloudflare.spelling import from_api
from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.kubernetes.values import Secret, decode, encode, has_unknown, keep_secrecy, plain
from sandbox.plugins.replies import check_response, diff_response, guarded, serve_provider

Context = grpc.ServicerContext
PACKAGE: Final = "pulumi-cloudflare"
BASE_URL: Final = "CLOUDFLARE_BASE_URL"
TOKEN: Final = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the name of a variable
_ONLY_LOCAL: Final = (
    f"the stand-in for Pulumi's Cloudflare plugin only speaks to a fake on this machine; set {BASE_URL} to its "
    "address, or install the official plugin to change a real zone"
)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One engine's Cloudflare provider; method names are the protocol's."""

    def __init__(self) -> None:
        self._api: Api | None = None

    def Handshake(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Agree on what both sides understand."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """The version whose behaviour this stands in for."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version(PACKAGE))

    def Cancel(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Nothing waits."""
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Refuse a real zone, and a provider without a token."""
        inputs = decode(request.news)
        return check_response(inputs, list(_config_problems(inputs)))

    def DiffConfig(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """A new token or address changes no object."""
        return diff_response(decode(request.old_inputs), decode(request.news), frozenset())

    def Configure(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Take the settings; nothing is asked."""
        inputs = decode(request.args)
        if not has_unknown(inputs):
            self._api = Api(_url(inputs), _token(inputs))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Refuse unknown types, unknown properties, and missing ones."""
        new = decode(request.news)
        kind = KINDS.get(request.type)
        if kind is None:
            known = ", ".join(sorted(token.rpartition(":")[2] for token in KINDS))
            reason = f"the stand-in for Pulumi's Cloudflare plugin knows {known}; install the official one for others"
            return check_response(new, [("type", reason)])
        problems = [(name, "no such property") for name in sorted(set(new) - kind.properties)]
        problems += [(name, "is required") for name in sorted(kind.required) if new.get(name) is None]
        return check_response(new, problems)

    def Diff(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Compare the last inputs with the new ones."""
        old = decode(request.old_inputs or request.olds)
        return diff_response(old, decode(request.news), KINDS[request.type].replaces)

    @guarded
    def Create(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Create an object, or write the value of one that is always there."""
        inputs, kind = decode(request.properties), KINDS[request.type]
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        identifier, outputs = self._write(kind, inputs, None, [])
        return provider_pb2.CreateResponse(id=identifier, properties=encode(outputs))

    @guarded
    def Update(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Replace an object's content; rules keep their ids by their refs."""
        inputs, kind = decode(request.news), KINDS[request.type]
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        old_rules = plain(decode(request.olds)).get("rules", []) if is_ruleset(request.type) else []
        _, outputs = self._write(kind, inputs, request.id, old_rules)
        return provider_pb2.UpdateResponse(properties=encode(outputs))

    @guarded
    def Read(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """The live object; an empty id when it does not exist."""
        inputs, kind = decode(request.inputs), KINDS[request.type]
        asked = plain(inputs)
        path = kind.path(asked) if kind.single else f"{kind.path(asked)}/{request.id}"
        try:
            live = from_api(self._ready().call("GET", path))
        except NotFoundError:
            return provider_pb2.ReadResponse()
        found = {**{name: asked[name] for name in asked if name not in live}, **seen(asked, live)}
        outputs = {**found, **({"rules": live["rules"]} if is_ruleset(request.type) else {})}
        return provider_pb2.ReadResponse(
            id=request.id,
            inputs=encode(keep_secrecy(found, inputs)),
            properties=encode(keep_secrecy(outputs, inputs)),
        )

    @guarded
    def Delete(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Remove what the API can remove; a setting stays as it is."""
        kind, inputs = KINDS[request.type], plain(decode(request.old_inputs or request.properties))
        if kind.removable:
            with contextlib.suppress(NotFoundError):
                self._ready().call("DELETE", kind.path(inputs) if kind.single else f"{kind.path(inputs)}/{request.id}")
        return empty_pb2.Empty()

    def _write(
        self, kind: Kind, inputs: Inputs, identifier: str | None, old_rules: list[Inputs]
    ) -> tuple[str, dict[str, Any]]:
        values = plain(inputs)
        path, body = kind.path(values), kind.body(values)
        if kind.single:
            self._ready().call(kind.method, path, body)
            return path, inputs
        if identifier is None:
            result = self._ready().call("POST", path, body)
        else:
            result = self._ready().call("PUT", f"{path}/{identifier}", with_rule_ids(body, old_rules))
        outputs = {**inputs, **({"rules": from_api(result["rules"])} if "rules" in result else {})}
        return str(result["id"]), keep_secrecy(outputs, inputs)

    def _ready(self) -> Api:
        if self._api is None:
            message = "the Cloudflare provider is not configured yet"
            raise ProviderError(message)
        return self._api


def _config_problems(inputs: Inputs) -> list[tuple[str, str]]:
    problems = []
    known = {"apiToken", "baseUrl", "version", "pluginDownloadURL"}
    problems += [(name, "the stand-in knows no such option") for name in sorted(set(inputs) - known)]
    if not has_unknown(inputs.get("baseUrl")) and not is_local(_url(inputs)):
        problems.append(("baseUrl", _ONLY_LOCAL))
    if not has_unknown(inputs.get("apiToken")) and not _token(inputs):
        problems.append(("apiToken", f"is required; set edge.cloudflare.token_key, or {TOKEN} in the environment"))
    return problems


def _url(inputs: Inputs) -> str:
    return str(plain(inputs.get("baseUrl")) or os.environ.get(BASE_URL, ""))


def _token(inputs: Inputs) -> str:
    given = inputs.get("apiToken")
    value = given.value if isinstance(given, Secret) else given
    return str(value or os.environ.get(TOKEN, ""))


def main(arguments: list[str]) -> None:  # noqa: ARG001 - as all plugins are started
    """Serve the engine."""
    serve_provider(Provider())
