"""The provider's gRPC service: translates between the engine's protocol and the objects of an API server."""

import functools
import importlib.metadata
import threading
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from sandbox.plugins.kubernetes import kinds, kubeconfig, options
from sandbox.plugins.kubernetes.checking import AUTONAMED, Failure, Naming, checked
from sandbox.plugins.kubernetes.diff import Change, ObjectDiff, object_diff
from sandbox.plugins.kubernetes.errors import ApiError, InitFailedError, ProviderError, redact
from sandbox.plugins.kubernetes.kube import KubeClient
from sandbox.plugins.kubernetes.objects import Inputs, Objects, Target
from sandbox.plugins.kubernetes.options import ProviderOptions
from sandbox.plugins.kubernetes.paths import Path, parse, show
from sandbox.plugins.kubernetes.values import decode, encode, has_unknown
from sandbox.plugins.serving import CHANNEL_OPTIONS, serve

Context = grpc.ServicerContext
PACKAGE = "pulumi-kubernetes"  # the SDK whose provider this stands in for

_Diff = provider_pb2.PropertyDiff


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn failures into what the engine shows: a message without secrets, or a partly created resource."""

    @functools.wraps(method)
    def call(self: "Provider", request: Any, context: Context) -> Any:
        try:
            return method(self, request, context)
        except InitFailedError as error:
            _abort_partial(context, error)
        except ApiError as error:
            sources = [decode(getattr(request, name)) for name in ("properties", "news", "olds") if _has(request, name)]
            message = redact(f"the API server refused {_subject(request)}: {error.message}", *sources)
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
        except ProviderError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    return call


def _has(request: Any, name: str) -> bool:
    return name in request.DESCRIPTOR.fields_by_name


def _subject(request: Any) -> str:
    return getattr(request, "urn", "").rpartition("::")[2] or "the request"


def _abort_partial(context: Context, error: InitFailedError) -> None:
    reasons = [redact(reason, error.inputs, error.outputs) for reason in error.reasons]
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=error.object_id, properties=encode(error.outputs), inputs=encode(error.inputs), reasons=reasons
        )
    )
    message = "; ".join(reasons)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, message)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One engine's Kubernetes provider; method names are the protocol's."""

    def __init__(self, engine_address: str) -> None:
        self._engine_address = engine_address
        self._engine: engine_pb2_grpc.EngineStub | None = None
        self._lock = threading.Lock()
        self._options = ProviderOptions()
        self._objects: Objects | None = None

    # -- the provider itself -------------------------------------------------------------------------------

    def Handshake(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Agree on what both sides understand."""
        self._engine_address = request.engine_address or self._engine_address
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def Attach(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Serve an engine that did not start this process."""
        self._engine_address = request.address
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """The version whose behaviour this stands in for."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version(PACKAGE))

    @guarded
    def CheckConfig(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Complain about the provider's settings, or about an API server that does not answer: once, here."""
        inputs = decode(request.news)
        failures = options.problems(inputs)
        if not failures and not has_unknown(inputs):
            self._connect(ProviderOptions.of(inputs))
        return _check_response(inputs, failures)

    def DiffConfig(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """A change of the provider's settings never replaces objects by itself."""
        diff = object_diff(decode(request.old_inputs), decode(request.news), [])
        return _diff_response(diff)

    @guarded
    def Configure(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Take the settings. The API server is asked at the first use."""
        self._options = ProviderOptions.of(decode(request.args))
        self._objects = None
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Cancel(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """End what waits."""
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """End what waits."""
        if self._objects is not None:
            self._objects.watches.cancel()

    # -- resources -----------------------------------------------------------------------------------------

    @guarded
    def Check(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Complete the inputs with a name and a namespace."""
        new = decode(request.news)
        reason = kinds.refused(request.type)
        if reason is not None:
            return _check_response(new, [Failure("kind", reason)])
        objects = self._ready()
        if new.get("kind") == "CustomResourceDefinition":
            objects.discovery.announce(new)
        resource = objects.resource_of(new)
        completed, failures = checked(
            new,
            decode(request.olds),
            naming=_naming(request),
            namespace=objects.default_namespace if resource is None or resource.namespaced else None,
        )
        return _check_response(completed, failures)

    @guarded
    def Diff(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Compare the last inputs with the new ones; ask the server only about what may be immutable."""
        old, new = decode(request.old_inputs or request.olds), decode(request.news)
        flags = dict(self._options.flags)
        immutable = kinds.immutable_paths(str(new.get("apiVersion")), str(new.get("kind")), flags)
        diff = object_diff(old, new, immutable)
        if diff.changes and not diff.replaces and _may_be_immutable(diff):
            target = Target(urn=request.urn, inputs=new)
            if self._ready().cannot_change_in_place(target, decode(request.olds)):
                changed = [change.path for change in diff.changes if _is_spec(change.path)]
                diff = object_diff(old, new, [*immutable, *changed])
        return _diff_response(diff)

    @guarded
    def Create(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Create an object, or say what creating would give."""
        target = self._target(request, decode(request.properties))
        if request.preview:
            outputs = self._ready().preview_create(target)
            return provider_pb2.CreateResponse(properties=encode(outputs))
        identifier, outputs = self._ready().create(target)
        return provider_pb2.CreateResponse(id=identifier, properties=encode(outputs))

    @guarded
    def Update(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Update an object, or say what updating would give."""
        target = self._target(request, decode(request.news))
        olds, ignored = decode(request.olds), _paths(request.ignoreChanges)
        act = self._ready().preview_update if request.preview else self._ready().update
        return provider_pb2.UpdateResponse(properties=encode(act(target, olds, ignored)))

    @guarded
    def Read(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """The live object; an empty id when it does not exist."""
        olds = decode(request.properties) or _identity(request.type)
        found = self._ready().read(request.id, self._target(request, decode(request.inputs)), olds)
        if found is None:
            return provider_pb2.ReadResponse()
        inputs, outputs = found
        return provider_pb2.ReadResponse(id=request.id, inputs=encode(inputs), properties=encode(outputs))

    @guarded
    def Delete(self, request: Any, context: Context) -> Any:  # noqa: N802, ARG002
        """Delete the object and wait until it is gone."""
        target = self._target(request, decode(request.old_inputs))
        self._ready().delete(request.id, target, decode(request.properties))
        return empty_pb2.Empty()

    # -- helpers -------------------------------------------------------------------------------------------

    def _target(self, request: Any, inputs: Inputs) -> Target:
        return Target(
            urn=request.urn, inputs=inputs, timeout=request.timeout, say=functools.partial(self._say, request.urn)
        )

    def _ready(self) -> Objects:
        with self._lock:
            if self._objects is None:
                self._objects = self._connect(self._options)
            return self._objects

    @staticmethod
    def _connect(settings: ProviderOptions) -> Objects:
        cluster = kubeconfig.load(settings.kubeconfig, settings.context, settings.cluster)
        objects = Objects(KubeClient(cluster), settings, settings.namespace or cluster.namespace)
        try:
            objects.discovery.find("v1", "ConfigMap")
        except ApiError as error:
            message = f"the API server at {cluster.server} refuses context {cluster.context}: {error.message}"
            raise ProviderError(message) from error
        return objects

    def _say(self, urn: str, text: str) -> None:
        """Progress in the engine's display; a lost engine is noticed elsewhere."""
        try:
            if self._engine is None:
                channel = grpc.insecure_channel(self._engine_address, options=CHANNEL_OPTIONS)
                self._engine = engine_pb2_grpc.EngineStub(channel)
            self._engine.Log(
                engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn, ephemeral=True), timeout=5
            )
        except grpc.RpcError:
            return


def _naming(request: Any) -> Naming:
    given = request.autonaming if request.HasField("autonaming") else None
    modes = provider_pb2.CheckRequest.AutonamingOptions
    return Naming(
        resource_name=request.name or request.urn.rpartition("::")[2],
        seed=request.randomSeed,
        proposed=given.proposed_name if given is not None and given.mode != modes.DISABLE else "",
        disabled=given is not None and given.mode == modes.DISABLE,
    )


def _check_response(inputs: Inputs, failures: list[Failure]) -> Any:
    return provider_pb2.CheckResponse(
        inputs=encode(inputs),
        failures=[provider_pb2.CheckFailure(property=failure.path, reason=failure.reason) for failure in failures],
    )


def _is_spec(path: Path) -> bool:
    return path[0] not in {"metadata", "apiVersion", "kind", AUTONAMED}


def _may_be_immutable(diff: ObjectDiff) -> bool:
    return any(_is_spec(change.path) for change in diff.changes)


_KINDS = {
    ("add", False): _Diff.ADD,
    ("add", True): _Diff.ADD_REPLACE,
    ("delete", False): _Diff.DELETE,
    ("delete", True): _Diff.DELETE_REPLACE,
    ("update", False): _Diff.UPDATE,
    ("update", True): _Diff.UPDATE_REPLACE,
}


def _diff_response(diff: ObjectDiff) -> Any:
    def kind(change: Change) -> Any:
        return _Diff(kind=_KINDS[change.kind.value, change.replaces], inputDiff=True)

    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if diff.changes else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=[show(change.path) for change in diff.changes if change.replaces],
        diffs=sorted({str(change.path[0]) for change in diff.changes}),
        deleteBeforeReplace=diff.delete_before_replace,
        detailedDiff={show(change.path): kind(change) for change in diff.changes},
        hasDetailedDiff=True,
    )


def _paths(texts: Any) -> list[Path]:
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        message = f"ignore_changes: {error}"
        raise ProviderError(message) from error


def _identity(type_token: str) -> Inputs:
    """Version and kind of a resource type: all that is known of an object that is being imported."""
    module, _, kind = type_token.removeprefix("kubernetes:").rpartition(":")
    return {"apiVersion": module.removeprefix("core/"), "kind": kind}


def main(arguments: list[str]) -> None:
    """Serve the engine; its address is the first argument that is not an option."""
    provider = Provider(next((word for word in arguments if not word.startswith("-")), ""))

    def register(server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)

    serve(register, provider.stop)
