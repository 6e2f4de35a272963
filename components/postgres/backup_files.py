"""The one place that knows the backup tool: pgBackRest's configuration and its commands."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from components.postgres.model import (
    BACKUP_PORT,
    CONFIG_PATH,
    DATA_DIRECTORY,
    OPERATIONS_NAME,
    POSTGRES_PORT,
    RUN_PATH,
    SUPERUSER,
    TLS_PATH,
    DatabaseContext,
)

CONFIG_FILE = f"{CONFIG_PATH}/pgbackrest.conf"
SERVER_CONFIG_FILE = f"{CONFIG_PATH}/pgbackrest-server.conf"
SECRET_VARIABLES = {
    "PGBACKREST_REPO1_S3_KEY": "access-key",
    "PGBACKREST_REPO1_S3_KEY_SECRET": "secret-key",
    "PGBACKREST_REPO1_CIPHER_PASS": "passphrase",
}
"""Variable of pgBackRest → key of the Secret."""
# A store that does not answer must not hold up a failover: recovery asks it for every missing segment.
_ARCHIVE_TIMEOUT_SECONDS = 20
_COMMON = {
    "io-timeout": "60",
    "log-level-console": "info",
    "log-level-file": "off",
    "lock-path": "/tmp/pgbackrest",  # noqa: S108 # a mount point inside the pod, its own emptyDir
}


def archive_push(context: DatabaseContext, shard: str) -> str:
    """``archive_command``; without a backup nothing is kept, and the log is released."""
    if context.postgres.backup is None:
        return "/bin/true"
    return f"pgbackrest --config={CONFIG_FILE} --stanza={context.scope(shard)} archive-push %p"


def archive_get(context: DatabaseContext, shard: str) -> str:
    """``restore_command``, bounded in time."""
    command = f'pgbackrest --config={CONFIG_FILE} --stanza={context.scope(shard)} archive-get %f "%p"'
    return f"timeout {_ARCHIVE_TIMEOUT_SECONDS} {command}"


def backup_files(context: DatabaseContext, shard: str) -> dict[str, str]:
    """A member's files: one for its own commands (log to the store, and back), one for the server beside it."""
    return {
        PurePosixPath(CONFIG_FILE).name: render_backup(context, shard, local=True),
        PurePosixPath(SERVER_CONFIG_FILE).name: render_backup_server(context, shard),
    }


def render_backup(context: DatabaseContext, shard: str, *, local: bool) -> str:
    """pgbackrest.conf; ``local`` on a member, otherwise of the Jobs, which reach all members over TLS."""
    hosts = _own_member() if local else _all_members(context, shard)
    options = {**_repository(context, shard), **_COMMON, **({} if local else {"backup-standby": "prefer"})}
    return _text({"global": options, context.scope(shard): hosts})


def render_backup_server(context: DatabaseContext, shard: str) -> str:
    """The file of the server beside a member, which hands its data to the Jobs and never speaks to the store.

    It names no repository: one that is encrypted asks every process that reads of it for the passphrase, and the
    server has none (pgBackRest, "requires option: repo1-cipher-pass").
    """
    server = {
        "tls-server-address": "*",
        "tls-server-port": str(BACKUP_PORT),
        "tls-server-cert-file": f"{TLS_PATH}/tls.crt",
        "tls-server-key-file": f"{TLS_PATH}/tls.key",
        "tls-server-ca-file": f"{TLS_PATH}/ca.crt",
        # Common name of the client's certificate = stanza that it may work on.
        "tls-server-auth": f"{OPERATIONS_NAME}={context.scope(shard)}",
    }
    return _text({"global": {**server, **_COMMON}, context.scope(shard): _own_member()})


def _repository(context: DatabaseContext, shard: str) -> dict[str, str]:
    backup = context.postgres.backup
    if backup is None:
        message = "a stack without a backup has no pgbackrest.conf"
        raise ValueError(message)
    return {
        "repo1-type": "s3",
        "repo1-s3-bucket": backup.bucket,
        "repo1-s3-endpoint": backup.endpoint,
        "repo1-s3-region": backup.region,
        "repo1-path": f"/{context.scope(shard)}",
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-bundle": "y",
        "repo1-block": "y",
        "repo1-retention-full-type": "time",
        "repo1-retention-full": str(backup.retention_days),
        "compress-type": "zst",
        "process-max": "2",
        "start-fast": "y",
        "archive-timeout": "60",
    }


def _text(sections: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())
        for name, options in sections.items()
    )


def _own_member() -> dict[str, str]:
    return {
        "pg1-path": DATA_DIRECTORY,
        "pg1-port": str(POSTGRES_PORT),
        "pg1-socket-path": RUN_PATH,
        "pg1-user": SUPERUSER,
    }


def _all_members(context: DatabaseContext, shard: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, host in enumerate(context.member_hosts(shard), start=1):
        found |= {
            f"pg{index}-host": host,
            f"pg{index}-host-type": "tls",
            f"pg{index}-host-port": str(BACKUP_PORT),
            f"pg{index}-host-ca-file": f"{TLS_PATH}/ca.crt",
            f"pg{index}-host-cert-file": f"{TLS_PATH}/tls.crt",
            f"pg{index}-host-key-file": f"{TLS_PATH}/tls.key",
            f"pg{index}-host-config": SERVER_CONFIG_FILE,
            f"pg{index}-path": DATA_DIRECTORY,
            f"pg{index}-port": str(POSTGRES_PORT),
            f"pg{index}-socket-path": RUN_PATH,
        }
    return found
