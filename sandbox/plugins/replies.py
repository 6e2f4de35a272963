"""What a provider answers the engine, for providers whose objects are flat properties."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sandbox.plugins.kubernetes.diff import Kind, changes
from sandbox.plugins.kubernetes.errors import ProviderError, redact
from sandbox.plugins.kubernetes.paths import show
from sandbox.plugins.kubernetes.values import decode, encode
from sandbox.plugins.serving import serve

Inputs = Mapping[str, Any]
_Diff = provider_pb2.PropertyDiff
_KINDS: Final = {
    (Kind.ADD, False): _Diff.ADD,
    (Kind.ADD, True): _Diff.ADD_REPLACE,
    (Kind.DELETE, False): _Diff.DELETE,
    (Kind.DELETE, True): _Diff.DELETE_REPLACE,
    (Kind.UPDATE, False): _Diff.UPDATE,
    (Kind.UPDATE, True): _Diff.UPDATE_REPLACE,
}
# Fields of requests that may hold secrets.
_FIELDS: Final = ("properties", "news", "olds", "inputs")


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn failures into what the engine shows: a message without secrets."""

    @functools.wraps(method)
    def call(self: provider_pb2_grpc.ResourceProviderServicer, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except ProviderError as error:
            sources = [decode(getattr(request, name)) for name in _FIELDS if name in request.DESCRIPTOR.fields_by_name]
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, redact(str(error), *sources))

    return call


def check_response(inputs: Inputs, failures: list[tuple[str, str]]) -> Any:
    """The inputs as they stand, and what is wrong with them: (property, reason)."""
    return provider_pb2.CheckResponse(
        inputs=encode(inputs),
        failures=[provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in failures],
    )


def diff_response(old: Inputs, new: Inputs, replaces: frozenset[str]) -> Any:
    """What changed; a change of one of ``replaces`` makes a new object, after the old one is gone.

    Names are unique where such objects live, so that both cannot be there at a time.
    """
    found = list(changes(old, new))
    detailed = {show(one.path): _Diff(kind=_KINDS[one.kind, one.path[0] in replaces], inputDiff=True) for one in found}
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=sorted({str(one.path[0]) for one in found if one.path[0] in replaces}),
        diffs=sorted({str(one.path[0]) for one in found}),
        deleteBeforeReplace=any(one.path[0] in replaces for one in found),
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def serve_provider(provider: provider_pb2_grpc.ResourceProviderServicer) -> None:
    """Serve the engine until it ends the process."""

    def register(server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)

    serve(register, lambda: None)
