"""The provider's gRPC service: translates between the engine's protocol and statements on a server."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.kubernetes.values import decode, encode, has_unknown, keep_secrecy, plain
from sandbox.plugins.postgresql.connection import Inputs, Server, is_local
from sandbox.plugins.postgresql.kind import Kind
from sandbox.plugins.postgresql.objects import Database, Extension, Publication, Schema
from sandbox.plugins.postgresql.privileges import DefaultPrivileges, Grant
from sandbox.plugins.postgresql.roles import GrantRole, Role
from sandbox.plugins.replies import check_response, diff_response, guarded, serve_provider

Context = grpc.ServicerContext
PACKAGE: Final = "pulumi-postgresql"
KINDS: Final[Mapping[str, Kind]] = {
    "postgresql:index/database:Database": Database(),
    "postgresql:index/defaultPrivileges:DefaultPrivileges": DefaultPrivileges(),
    "postgresql:index/extension:Extension": Extension(),
    "postgresql:index/grant:Grant": Grant(),
    "postgresql:index/grantRole:GrantRole": GrantRole(),
    "postgresql:index/publication:Publication": Publication(),
    "postgresql:index/role:Role": Role(),
    "postgresql:index/schema:Schema": Schema(),
}
"""Only what the program declares; anything else is refused in words."""
_OPTIONS: Final = frozenset({
    "host", "port", "database", "username", "password", "sslmode", "sslrootcert", "connectTimeout", "expectedVersion",
    "maxConnections", "superuser", "scheme", "version", "pluginDownloadURL",
})  # fmt: skip
_ONLY_LOCAL: Final = (
    "the stand-in for Pulumi's PostgreSQL plugin only changes a server on this machine; install the official plugin "
    "for any other"
)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One engine's PostgreSQL provider; method names are the protocol's."""

    def __init__(self) -> None:
        self._server: Server | None = None

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
        """Refuse a server on another machine, and options that would have no effect here."""
        inputs = decode(request.news)
        problems = [(name, "the stand-in knows no such option") for name in sorted(set(inputs) - _OPTIONS)]
        host = inputs.get("host")
        if not has_unknown(host) and not is_local(str(plain(host) or "localhost")):
            problems.append(("host", _ONLY_LOCAL))
        return check_response(inputs, problems)

    def DiffConfig(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """A new address or password changes no object, as with the official plugin."""
        return diff_response(decode(request.old_inputs), decode(request.news), frozenset())

    def Configure(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Take the settings; the server is asked only when there is something to do."""
        inputs = decode(request.args)
        if not has_unknown(inputs):
            self._server = _server(plain(inputs))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Refuse unknown types, unknown properties, and missing ones."""
        new = decode(request.news)
        kind = KINDS.get(request.type)
        if kind is None:
            known = ", ".join(sorted(token.rpartition(":")[2] for token in KINDS))
            reason = f"the stand-in for Pulumi's PostgreSQL plugin knows {known}; install the official one for others"
            return check_response(new, [("type", reason)])
        problems = [(name, "the stand-in knows no such property") for name in sorted(set(new) - kind.properties)]
        problems += [(name, "is required") for name in sorted(kind.required) if new.get(name) is None]
        return check_response(new, problems + kind.problems(new))

    def Diff(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Compare the last inputs with the new ones."""
        old = decode(request.old_inputs or request.olds)
        return diff_response(old, decode(request.news), KINDS[request.type].replaces)

    @guarded
    def Create(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Make an object."""
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        inputs, kind = decode(request.properties), KINDS[request.type]
        kind.create(self._ready(), plain(inputs))
        return provider_pb2.CreateResponse(id=kind.identity(plain(inputs)), properties=encode(inputs))

    @guarded
    def Update(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Change an object in place."""
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        old, new = decode(request.old_inputs or request.olds), decode(request.news)
        KINDS[request.type].update(self._ready(), plain(old), plain(new))
        return provider_pb2.UpdateResponse(properties=encode(new))

    @guarded
    def Read(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """The live values of what was asked for; an empty id when the object does not exist."""
        inputs = decode(request.inputs)
        found = KINDS[request.type].read(self._ready(), plain(inputs))
        if found is None:
            return provider_pb2.ReadResponse()
        live = encode(keep_secrecy(found, inputs))
        return provider_pb2.ReadResponse(id=request.id, inputs=live, properties=live)

    @guarded
    def Delete(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Remove an object."""
        inputs = plain(decode(request.old_inputs or request.properties))
        KINDS[request.type].delete(self._ready(), inputs)
        return empty_pb2.Empty()

    def _ready(self) -> Server:
        if self._server is None:
            message = "the PostgreSQL provider is not configured yet"
            raise ProviderError(message)
        return self._server


def _server(inputs: Inputs) -> Server:
    """The provider's options; the engine hands over numbers as text."""
    return Server(
        host=str(inputs.get("host") or "localhost"),
        port=int(inputs.get("port") or 5432),
        database=str(inputs.get("database") or "postgres"),
        username=str(inputs.get("username") or "postgres"),
        password=str(inputs.get("password") or ""),
        sslmode=str(inputs.get("sslmode") or "require"),
        sslrootcert=inputs.get("sslrootcert"),
        connect_timeout_seconds=int(inputs.get("connectTimeout") or 180),
    )


def main(arguments: list[str]) -> None:  # noqa: ARG001 - as all plugins are started
    """Serve the engine."""
    serve_provider(Provider())
