"""The rules between the database's shards and the rest of a stack's settings."""

from collections.abc import Iterator

from settings.base import Environment
from settings.data import Data, SslMode
from settings.problems import Problem


def data_problems(data: Data | None, environment: Environment) -> Iterator[Problem]:
    """Everything that is wrong between the shards and their surroundings."""
    if data is None:
        return
    yield from _encrypted(data, environment)
    yield from _one_place_per_shard(data)


def _encrypted(data: Data, environment: Environment) -> Iterator[Problem]:
    """Only on the engine's own machine may passwords and data travel unprotected."""
    for name, shard in data.shards.items():
        endpoint = shard.endpoint
        if endpoint is None or (endpoint.is_loopback and environment is Environment.DEV):
            continue
        wanted = SslMode.VERIFY_FULL
        if endpoint.sslmode is not wanted and (environment is Environment.PROD or endpoint.sslmode is SslMode.DISABLE):
            yield Problem(
                path=f"data.shards.{name}.endpoint.sslmode",
                value=str(endpoint.sslmode),
                allowed=f"{wanted}: anything else would give the administrator's password to whoever answers",
                fix=f"set it to {wanted} (and ca_file, when a private authority signed the server's certificate)",
            )


def _one_place_per_shard(data: Data) -> Iterator[Problem]:
    seen: dict[tuple[str, int], str] = {}
    for name, shard in data.shards.items():
        if shard.endpoint is None:
            continue
        place = (shard.endpoint.host, shard.endpoint.port)
        other = seen.setdefault(place, name)
        if other != name:
            yield Problem(
                path=f"data.shards.{name}.endpoint",
                value=f"{place[0]}:{place[1]}",
                allowed="a server of its own for each shard",
                fix=f"name another one; shard {other} is there already",
            )
