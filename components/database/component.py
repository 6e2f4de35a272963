"""The component that declares roles, schemas and grants of every shard whose server is named."""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import pulumi

from components.base.manifests import child_opts
from components.database.names import VERIFIER_KEYS
from components.database.shard_plan import Piece, plan_shard
from settings.base import Environment
from settings.data import Data, Endpoint

# A hint that spares the provider one question; it asks the server when it connects.
_EXPECTED_VERSION = "17.0.0"
# One after the other: more connections would only take room from the services.
_PROVIDER_CONNECTIONS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabasesArgs:
    """Shards and roles, the stack's secrets by config key."""

    data: Data
    environment: Environment
    secrets: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)


class Databases(pulumi.ComponentResource):
    """One ``ShardDatabase`` for each shard whose endpoint is named; a line of the log for the others."""

    def __init__(self, name: str, args: DatabasesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:database:Databases", name, {}, opts)
        waiting = waiting_line(args.data)
        if waiting is not None:
            pulumi.log.info(waiting, self)
        self.shards = {
            key: ShardDatabase(f"{name}-{key}", args, shard.endpoint, pulumi.ResourceOptions(parent=self))
            for key, shard in args.data.shards.items()
            if shard.endpoint is not None
        }
        self.ready = [shard.last for shard in self.shards.values()]
        """The last resource of each shard: what needs the roles waits for it."""
        self.register_outputs({"shards": sorted(self.shards)})


class ShardDatabase(pulumi.ComponentResource):
    """One shard's roles, database, schemas and grants, through a provider of its own."""

    def __init__(
        self, name: str, args: DatabasesArgs, endpoint: Endpoint, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("payments:database:ShardDatabase", name, {}, opts)
        sdk = _sdk()
        provider = sdk.Provider(
            f"{name}-provider",
            host=endpoint.host,
            port=endpoint.port,
            database=endpoint.database,
            username=endpoint.username,
            password=args.secrets[endpoint.password_key],
            sslmode=str(endpoint.sslmode),
            sslrootcert=endpoint.ca_file,
            connect_timeout=endpoint.connect_timeout_seconds,
            expected_version=_EXPECTED_VERSION,
            max_connections=_PROVIDER_CONNECTIONS,
            superuser=False,
            opts=child_opts(self),
        )
        children = _Chain(name, self, provider, args)
        for piece in plan_shard(args.data):
            self.last = children.declare(piece)
        self.register_outputs({"host": endpoint.host, "database": args.data.database})


class _Chain:
    """Declares pieces one behind the other."""

    def __init__(
        self, name: str, parent: pulumi.Resource, provider: pulumi.ProviderResource, args: DatabasesArgs
    ) -> None:
        self._name, self._parent, self._provider, self._args = name, parent, provider, args
        self._last: pulumi.Resource | None = None
        self._database: pulumi.Resource | None = None

    def declare(self, piece: Piece) -> pulumi.Resource:
        """Register one piece behind the one before it, and return it."""
        secrets = {argument: self._args.secrets[key] for argument, key in piece.secret_arguments.items()}
        resource: pulumi.Resource = getattr(_sdk(), piece.kind)(
            f"{self._name}-{piece.name}", **piece.arguments, **secrets, opts=self._options(piece)
        )
        self._last = resource
        if piece.kind == "Database":
            self._database = resource
        return resource

    def _options(self, piece: Piece) -> pulumi.ResourceOptions:
        lasting = self._args.environment is Environment.PROD and piece.kind in ("Database", "Role", "Schema")
        options = child_opts(
            self._parent,
            ignore_changes=piece.ignore_changes,
            depends_on=[self._last] if self._last is not None else [],
            protect=True if lasting else None,
        )
        options.provider = self._provider
        options.retain_on_delete = True if lasting else None
        if piece.inside:
            # A schema with tables in it cannot be dropped, a database can: what is inside goes with it.
            options.deleted_with = self._database
        return options


def waiting_line(data: Data) -> str | None:
    """What the database still waits for, in one line; ``None`` when every shard's server is named."""
    waiting = [name for name, shard in data.shards.items() if shard.endpoint is None]
    if not waiting:
        return None
    paths = ", ".join(f"data.shards.{name}.endpoint" for name in waiting)
    return f"roles, schemas and grants of {', '.join(waiting)} wait until {paths} names a server that can be reached"


def database_secret_keys(data: Data | None) -> Sequence[str]:
    """Config keys of the secrets that the named shards need, each once."""
    endpoints = [shard.endpoint for shard in data.shards.values() if shard.endpoint is not None] if data else []
    if not endpoints:
        return []
    return list(dict.fromkeys([*(endpoint.password_key for endpoint in endpoints), *VERIFIER_KEYS.values()]))


def _sdk() -> ModuleType:
    """The provider's SDK; only a stack that names a server pays for its import."""
    with warnings.catch_warnings():
        # It warns about its own old names while it is imported, not about what is used here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("pulumi_postgresql")
