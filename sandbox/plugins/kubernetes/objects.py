"""Create, update, read and delete one object: server-side apply with a field manager per resource."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.plugins.kubernetes import reading
from sandbox.plugins.kubernetes.awaiting import Awaiter, Say
from sandbox.plugins.kubernetes.discovery import Discovery, Resource
from sandbox.plugins.kubernetes.errors import ApiError, InitFailedError, ProviderError
from sandbox.plugins.kubernetes.kinds import has_dependents
from sandbox.plugins.kubernetes.kube import APPLY, KubeClient
from sandbox.plugins.kubernetes.options import ProviderOptions
from sandbox.plugins.kubernetes.ownership import applied_by, conflict_message, settle_ignored
from sandbox.plugins.kubernetes.paths import Path, get
from sandbox.plugins.kubernetes.values import has_unknown, keep_secrecy, plain
from sandbox.plugins.kubernetes.watching import Watches

FIELD_MANAGER: Final = "__fieldManager"
PATCH_FORCE: Final = "pulumi.com/patchForce"
PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"
DEFAULT_DELETE_SECONDS: Final = 600.0
# A CRD or a namespace of the same update may need a moment before the API server knows it everywhere.
APPEARS_SECONDS: Final = 30.0
APPEARS_INTERVAL_SECONDS: Final = 0.25

Inputs = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The resource of one call: its URN, what the user declared, the time allowed, and where progress goes."""

    urn: str
    inputs: Inputs
    timeout: float = 0.0
    say: Say = field(default=lambda _text: None)

    @property
    def kind(self) -> str:
        """The declared kind."""
        return str(plain(self.inputs).get("kind", "object"))


def field_manager(urn: str) -> str:
    """The name under which a resource's fields are owned: the same at every run, so that an object whose
    creation was not recorded (the engine was killed) is recognised as this resource's own.
    """
    return f"pulumi-kubernetes-{hashlib.sha256(urn.encode()).hexdigest()[:8]}"


def object_id(live: Inputs) -> str:
    """``namespace/name``, or ``name`` for a kind without namespaces."""
    namespace = get(live, ("metadata", "namespace"))
    name = get(live, ("metadata", "name"))
    return f"{namespace}/{name}" if namespace else str(name)


def split_id(identifier: str) -> tuple[str | None, str]:
    """Namespace and name of an object's id."""
    namespace, _, name = identifier.rpartition("/")
    return namespace or None, name


def body_of(inputs: Inputs) -> Inputs:
    """What is sent: the declaration without marks and without this provider's own notes."""
    return {key: value for key, value in plain(inputs).items() if not key.startswith("__") and key != "status"}


def annotations_of(inputs: Inputs) -> Inputs:
    """The declared annotations, plain."""
    found = get(plain(inputs), ("metadata", "annotations"))
    return found if isinstance(found, dict) else {}


class Objects:
    """The objects of one API server, for one configured provider."""

    def __init__(self, client: KubeClient, options: ProviderOptions, default_namespace: str) -> None:
        self._client = client
        self._options = options
        self.default_namespace = default_namespace
        self.discovery = Discovery(client)
        self.watches = Watches(client)
        self._awaiter = Awaiter(client, self.discovery, self.watches)

    # -- creating ------------------------------------------------------------------------------------------

    def preview_create(self, target: Target) -> Inputs:
        """What creating would give, by a dry run; the inputs where the server cannot know yet."""
        resource = self._served(target.inputs)
        if resource is None:
            self._refuse_unless_announced(target.inputs)
            return dict(target.inputs)
        if has_unknown(target.inputs):
            return dict(target.inputs)
        manager = field_manager(target.urn)
        self._refuse_existing(resource, target, manager)
        try:
            answer = self._apply(resource, target.inputs, manager, dry_run=True)
        except ApiError as error:
            # Its namespace is created by the same update, or its predecessor is deleted first.
            if error.not_found or error.immutable:
                return dict(target.inputs)
            raise
        return self._outputs(reading.as_preview(answer, target.inputs, creating=True), target.inputs, manager)

    def create(self, target: Target) -> tuple[str, Inputs]:
        """Create the object and await it. Raises ``InitFailedError`` when it exists but is not ready."""
        resource = self._wait_until_served(target.inputs)
        manager = field_manager(target.urn)
        existing = self._refuse_existing(resource, target, manager)
        if existing is not None and get(existing, ("metadata", "deletionTimestamp")):
            self._awaiter.until_gone(
                resource, existing, timeout=target.timeout or DEFAULT_DELETE_SECONDS, say=target.say
            )
        answer = self._apply_when_possible(resource, target, manager)
        return object_id(answer), self._await(resource, answer, target, manager)

    def _refuse_existing(self, resource: Resource, target: Target, manager: str) -> Inputs | None:
        """The existing object when this resource may take it; None when there is none. Raises otherwise."""
        name = get(plain(target.inputs), ("metadata", "name"))
        if not name:
            return None
        existing = self._get(resource, get(plain(target.inputs), ("metadata", "namespace")), name)
        if existing is None or get(existing, ("metadata", "deletionTimestamp")):
            return existing
        if applied_by(existing, manager) or self._options.flags.get("upsertExistingObjects"):
            return existing
        identifier = object_id(existing)
        message = (
            f'{resource.plural} "{name}" already exists: {resource.kind} {identifier} was not created by this '
            f"resource. Import it (pulumi import kubernetes:{resource.api_version}:{resource.kind} NAME {identifier}), "
            "delete it, or set upsertExistingObjects on the provider to take over existing objects."
        )
        raise ProviderError(message)

    def _apply_when_possible(self, resource: Resource, target: Target, manager: str) -> Inputs:
        """Apply; where the namespace is missing or ending, try again for a while."""
        deadline = time.monotonic() + min(APPEARS_SECONDS, target.timeout or APPEARS_SECONDS)
        while True:
            try:
                return self._apply(resource, target.inputs, manager)
            except ApiError as error:
                ending = any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)
                if not (error.not_found or ending) or time.monotonic() > deadline:
                    raise
            time.sleep(APPEARS_INTERVAL_SECONDS)

    # -- updating ------------------------------------------------------------------------------------------

    def preview_update(self, target: Target, olds: Inputs, ignored: list[Path]) -> Inputs:
        """What updating would give, by a dry run."""
        resource = self._served(target.inputs)
        if resource is None or has_unknown(target.inputs):
            return dict(target.inputs)
        manager = self._manager(target, olds)
        inputs = self._settled(resource, target.inputs, ignored, manager)
        try:
            answer = self._apply(resource, inputs, manager, dry_run=True)
        except ApiError as error:
            if error.not_found:
                return dict(target.inputs)
            raise
        return self._outputs(reading.as_preview(answer, target.inputs, creating=False), target.inputs, manager)

    def update(self, target: Target, olds: Inputs, ignored: list[Path]) -> Inputs:
        """Apply the new declaration and await it. Raises ``InitFailedError`` when it does not become ready."""
        resource = self._wait_until_served(target.inputs)
        manager = self._manager(target, olds)
        inputs = self._settled(resource, target.inputs, ignored, manager)
        answer = self._apply(resource, inputs, manager)
        return self._await(resource, answer, target, manager)

    def cannot_change_in_place(self, target: Target, olds: Inputs) -> bool:
        """Whether the API server calls a changed field immutable; asked by a dry run."""
        resource = self._served(target.inputs)
        if resource is None or has_unknown(target.inputs):
            return False
        try:
            self._apply(resource, target.inputs, self._manager(target, olds), dry_run=True, force=True)
        except ApiError as error:
            return error.immutable
        return False

    @staticmethod
    def _manager(target: Target, olds: Inputs) -> str:
        return str(plain(olds).get(FIELD_MANAGER) or field_manager(target.urn))

    def _settled(self, resource: Resource, inputs: Inputs, ignored: list[Path], manager: str) -> Inputs:
        if not ignored:
            return inputs
        body = body_of(inputs)
        live = self._get(resource, get(body, ("metadata", "namespace")), get(body, ("metadata", "name")))
        return body if live is None else settle_ignored(body, live, ignored, manager)

    # -- reading and deleting ------------------------------------------------------------------------------

    def read(self, identifier: str, target: Target, olds: Inputs) -> tuple[Inputs, Inputs] | None:
        """The live object as inputs and outputs; None when it does not exist. ``target.inputs`` may be empty."""
        declared = target.inputs
        resource = self._served(declared or olds)
        if resource is None:
            return None
        namespace, name = split_id(identifier)
        if namespace is None and resource.namespaced:
            namespace = self.default_namespace
        live = self._get(resource, namespace, name)
        if live is None:
            return None
        manager = self._manager(target, olds)
        if not get(plain(declared), ("metadata", "name")):
            inputs = reading.imported_inputs(live)
        else:
            inputs = reading.refreshed_inputs(declared, self._normal(resource, declared, manager), live)
        return inputs, self._outputs(live, inputs, manager)

    def delete(self, identifier: str, target: Target, olds: Inputs) -> None:
        """Delete the object and return when it is gone; one that does not exist is no error."""
        resource = self._served(target.inputs or olds)
        if resource is None:
            return
        namespace, name = split_id(identifier)
        path = resource.path(namespace, name)
        policy = self._propagation(resource, annotations_of(target.inputs or olds))
        try:
            answer = self._client.request("DELETE", path, body={"propagationPolicy": policy})
        except ApiError as error:
            if error.not_found:
                return
            raise
        if answer.get("kind") == "Status" or not get(answer, ("metadata", "deletionTimestamp")):
            return
        timeout = target.timeout or DEFAULT_DELETE_SECONDS
        self._awaiter.until_gone(resource, {"kind": resource.kind, **answer}, timeout=timeout, say=target.say)

    def _normal(self, resource: Resource, declared: Inputs, manager: str) -> Inputs:
        """How the server writes the declaration; as it is when the live object can no longer become it."""
        try:
            return self._apply(resource, declared, manager, dry_run=True, force=True)
        except ApiError:
            return body_of(declared)

    @staticmethod
    def _propagation(resource: Resource, annotations: Inputs) -> str:
        wanted = str(annotations.get(PROPAGATION) or "").lower()
        if wanted:
            allowed = {"orphan": "Orphan", "foreground": "Foreground", "background": "Background"}
            if wanted not in allowed:
                message = f"annotation {PROPAGATION} is {wanted!r}; allowed are {', '.join(allowed)}"
                raise ProviderError(message)
            return allowed[wanted]
        return "Foreground" if has_dependents(resource.api_version, resource.kind) else "Background"

    # -- shared --------------------------------------------------------------------------------------------

    def _get(self, resource: Resource, namespace: str | None, name: str) -> Inputs | None:
        try:
            return self._client.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _apply(
        self, resource: Resource, inputs: Inputs, manager: str, *, dry_run: bool = False, force: bool = False
    ) -> Inputs:
        body = body_of(inputs)
        namespace, name = get(body, ("metadata", "namespace")), get(body, ("metadata", "name"))
        query = {"fieldManager": manager}
        if dry_run:
            query["dryRun"] = "All"
        if not name:  # generateName: only a plain create lets the server choose
            return self._client.request("POST", resource.collection(namespace), body=body, query=query)
        forced = str(annotations_of(inputs).get(PATCH_FORCE)).lower() == "true"
        if force or forced or self._options.flags.get("enablePatchForce"):
            query["force"] = "true"
        try:
            return self._client.request(
                "PATCH", resource.path(namespace, name), body=body, query=query, content_type=APPLY
            )
        except ApiError as error:
            if error.conflict and error.causes:
                causes = [(str(cause.get("field")), str(cause.get("message"))) for cause in error.causes]
                raise ProviderError(conflict_message(resource.kind, name, causes, manager)) from error
            raise

    def _await(self, resource: Resource, answer: Inputs, target: Target, manager: str) -> Inputs:
        live, reasons = self._awaiter.until_ready(
            resource, answer, annotations_of(target.inputs), requested_seconds=target.timeout, say=target.say
        )
        outputs = self._outputs(live, target.inputs, manager)
        if reasons:
            raise InitFailedError(object_id(live), outputs, target.inputs, reasons)
        return outputs

    @staticmethod
    def _outputs(live: Inputs, inputs: Inputs, manager: str) -> Inputs:
        outputs = reading.hide_secret_data(reading.without_bookkeeping(live))
        return {**keep_secrecy(outputs, inputs), FIELD_MANAGER: manager}

    def resource_of(self, inputs: Inputs) -> Resource | None:
        """How the declared kind is served, or will be by a CRD of the program; None when nobody knows."""
        served = self._served(inputs)
        values = plain(inputs)
        return served or self.discovery.announced(str(values.get("apiVersion")), str(values.get("kind")))

    def _served(self, inputs: Inputs, *, fresh: bool = False) -> Resource | None:
        values = plain(inputs)
        return self.discovery.find(str(values.get("apiVersion")), str(values.get("kind")), fresh=fresh)

    def _wait_until_served(self, inputs: Inputs) -> Resource:
        deadline = time.monotonic() + APPEARS_SECONDS
        announced = self.resource_of(inputs) is not None
        while (found := self._served(inputs, fresh=True)) is None:
            if not announced or time.monotonic() > deadline:
                raise ProviderError(self._unknown_kind(inputs))
            time.sleep(APPEARS_INTERVAL_SECONDS)
        return found

    def _refuse_unless_announced(self, inputs: Inputs) -> None:
        if self.resource_of(inputs) is None and self._served(inputs, fresh=True) is None:
            raise ProviderError(self._unknown_kind(inputs))

    def _unknown_kind(self, inputs: Inputs) -> str:
        values = plain(inputs)
        kind, version = values.get("kind"), values.get("apiVersion")
        return (
            f"the API server at {self._client.server} knows no kind {kind} in {version}: install the "
            "CustomResourceDefinition that defines it, or declare it before this object"
        )
