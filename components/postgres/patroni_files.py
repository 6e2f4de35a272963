"""patroni.yml as data and as text, and the scripts of a member's pod.

The text is the same for all members of a shard. What differs, and every password, comes from the environment that
``start.sh`` sets (patroni.readthedocs.io, "Environment configuration"); Patroni takes the variables out of its
environment, so that PostgreSQL and its commands do not inherit them.
"""

from typing import Any

import yaml

from components.postgres.backup_files import archive_get, archive_push
from components.postgres.bootstrap_files import bootstrap_script, bootstrap_sql
from components.postgres.certificate_files import CERTIFICATES_FILE, WATCH_CERTIFICATES, certificates_script
from components.postgres.memory import memory_parameters
from components.postgres.model import (
    CONFIG_PATH,
    DATA_DIRECTORY,
    ETCD_PORT,
    ETCD_TLS_PATH,
    MONITORING_USER,
    PASSWORDS_PATH,
    PATRONI_PORT,
    POSTGRES_PORT,
    REPLICATION_USER,
    REST_USER,
    REWIND_USER,
    RUN_PATH,
    SUPERUSER,
    TLS_PATH,
    DatabaseContext,
)
from settings.quantities import parse_quantity

PATRONI_NAMESPACE = "/payments/"
_MEBIBYTE = 2**20
PATRONI_FOLDER = "patroni"
"""Patroni reads every file of this folder, in order of their names."""
BOOTSTRAP_FILE = "bootstrap.yml"
MEMBER_FILE = "member.yml"
MEMBER_SECRETS = {
    "PATRONI_SUPERUSER_PASSWORD": "superuser",
    "PATRONI_REPLICATION_PASSWORD": "replication",
    "PATRONI_REWIND_PASSWORD": "rewind",
    "PATRONI_RESTAPI_PASSWORD": "restapi",
    "PATRONI_ETCD3_PASSWORD": "etcd",
}
"""Variable of Patroni → file under ``PASSWORDS_PATH``."""
_ETCD_PROTOCOL = "PATRONI_ETCD3_PROTOCOL=https"
"""Patroni takes etcd's password from its environment only beside an option of etcd that is there too."""


def render_patroni(context: DatabaseContext, shard: str) -> str:
    """patroni.yml of a shard's members: what both files of the pod say together."""
    return _yaml(plan_patroni(context, shard))


def render_bootstrap(context: DatabaseContext) -> str:
    """The file that only a new cluster reads."""
    return _yaml({"bootstrap": {"dcs": plan_dynamic(context)}})


def member_files(context: DatabaseContext, shard: str) -> dict[str, str]:
    """The files that a change of means another pod."""
    member = plan_patroni(context, shard)
    member["bootstrap"] = {key: value for key, value in member["bootstrap"].items() if key != "dcs"}
    return {
        MEMBER_FILE: _yaml(member),
        "start.sh": start_script(context, shard),
        CERTIFICATES_FILE: certificates_script(),
        "patronictl.sh": control_script(),
        "post_init.sh": bootstrap_script(),
        "bootstrap.sql": bootstrap_sql(),
    }


def _yaml(value: object) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=1000)
    return text


def member_environment(context: DatabaseContext, shard: str, ordinal: int) -> dict[str, str]:
    """What ``start.sh`` adds for one member, without the passwords of ``MEMBER_SECRETS``."""
    name, host = f"{context.cluster(shard)}-{ordinal}", context.member_hosts(shard)[ordinal]
    return {
        "PATRONI_NAME": name,
        "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{host}:{PATRONI_PORT}",
        "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{host}:{POSTGRES_PORT}",
    }


def plan_patroni(context: DatabaseContext, shard: str) -> dict[str, Any]:
    """The configuration as data."""
    return {
        "scope": context.scope(shard),
        "namespace": PATRONI_NAMESPACE,
        "log": {"type": "json", "level": "INFO", "deduplicate_heartbeat_logs": True},
        "restapi": {
            "listen": f"0.0.0.0:{PATRONI_PORT}",
            "certfile": f"{TLS_PATH}/tls.crt",
            "keyfile": f"{TLS_PATH}/tls.key",
            "cafile": f"{TLS_PATH}/ca.crt",
            # The kubelet shows no certificate; whoever changes something must, and must know the password too.
            "verify_client": "optional",
            "authentication": {"username": REST_USER},
        },
        "ctl": {
            "cacert": f"{TLS_PATH}/ca.crt",
            "certfile": f"{TLS_PATH}/tls.crt",
            "keyfile": f"{TLS_PATH}/tls.key",
        },
        "etcd3": {
            # The members, not a Service: Patroni keeps its own list of those that answer.
            "hosts": [f"{host}:{ETCD_PORT}" for host in context.etcd_hosts()],
            "protocol": "https",
            "cacert": f"{ETCD_TLS_PATH}/ca.crt",
            # etcd's gateway cannot take a user from a certificate.
            "username": context.scope(shard),
        },
        "bootstrap": {
            # Read once, when the cluster is made. Later changes are brought by the reconfiguration Job.
            "dcs": plan_dynamic(context),
            "initdb": [
                {"encoding": "UTF8"},
                "data-checksums",
                {"locale-provider": "icu"},
                {"icu-locale": "und"},
                {"auth-host": "scram-sha-256"},
                {"auth-local": "peer"},
            ],
            "post_init": f"sh {CONFIG_PATH}/post_init.sh",
        },
        "postgresql": {
            "listen": f"0.0.0.0:{POSTGRES_PORT}",
            "data_dir": DATA_DIRECTORY,
            "bin_dir": f"/usr/lib/postgresql/{context.postgres.version}/bin",
            "use_unix_socket": True,
            "use_unix_socket_repl": True,
            "authentication": _users(),
            "create_replica_methods": ["pgbackrest", "basebackup"] if context.postgres.backup else ["basebackup"],
            **_replica_methods(context, shard),
            "parameters": {
                "unix_socket_directories": RUN_PATH,
                "ssl": "on",
                "ssl_cert_file": f"{TLS_PATH}/tls.crt",
                "ssl_key_file": f"{TLS_PATH}/tls.key",
                "ssl_ca_file": f"{TLS_PATH}/ca.crt",
                "ssl_min_protocol_version": "TLSv1.2",
                "archive_command": archive_push(context, shard),
            },
        },
        # A watchdog device cannot be had in a pod; liveness, the lease and strict synchronous mode stand in.
        "watchdog": {"mode": "off"},
        "tags": {"nofailover": False, "noloadbalance": False, "nosync": False, "clonefrom": True},
    }


def plan_dynamic(context: DatabaseContext) -> dict[str, Any]:
    """What lies in etcd and holds for all members: the object of ``PATCH /config``."""
    timers = context.postgres.effective_timers
    return {
        "ttl": timers.ttl_seconds,
        "loop_wait": timers.loop_wait_seconds,
        "retry_timeout": timers.retry_timeout_seconds,
        # Decides who may be asked at all, before the vote that guards the rows: too little refuses safe failovers.
        "maximum_lag_on_failover": 32 * _MEBIBYTE,
        "check_timeline": True,
        # Any one replica must have the row on disk before the client hears of it. A replica that dies stalls nobody
        # while another is there; with none left, writes wait rather than stand on one disk.
        "synchronous_mode": "quorum",
        "synchronous_node_count": 1,
        "synchronous_mode_strict": True,
        # Without etcd the primary goes on as long as all members agree that it is the one.
        "failsafe_mode": True,
        "primary_start_timeout": timers.primary_start_timeout_seconds,
        "primary_stop_timeout": 10,
        "member_slots_ttl": "30min",
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "remove_data_directory_on_rewind_failure": context.postgres.backup is not None,
            "parameters": _parameters(context),
            "pg_hba": _access_rules(context),
        },
    }


def _parameters(context: DatabaseContext) -> dict[str, Any]:
    postgres = context.postgres
    senders = postgres.nodes + 7
    return {
        **memory_parameters(postgres.resources, max_connections=postgres.max_connections),
        "max_connections": postgres.max_connections,
        "superuser_reserved_connections": 5,
        "max_worker_processes": 16,
        "max_prepared_transactions": 0,
        "max_locks_per_transaction": 128,
        "max_wal_senders": senders,
        "max_replication_slots": senders,
        "wal_level": "logical",
        "wal_log_hints": "on",
        "hot_standby": "on",
        "max_wal_size": _megabytes(postgres.storage.max_wal_size),
        "wal_keep_size": _megabytes(postgres.storage.wal_keep_size),
        "max_slot_wal_keep_size": _megabytes(postgres.storage.max_slot_wal_keep_size),
        "checkpoint_timeout": "5min",
        "synchronous_commit": "on",
        "password_encryption": "scram-sha-256",
        "archive_mode": "on",
        "archive_timeout": "60s",
        # The default, 60 s, hides a dead connection for longer than a failover takes.
        "wal_receiver_timeout": "10s",
        "wal_sender_timeout": "10s",
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 2,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "shared_preload_libraries": "pg_stat_statements",
        "track_io_timing": "on",
        "log_checkpoints": "on",
        "log_lock_waits": "on",
        "log_min_duration_statement": "1s",
        # Passwords and card numbers are arguments of statements.
        "log_statement": "none",
        "log_parameter_max_length": 0,
        "log_parameter_max_length_on_error": 0,
    }


def _access_rules(context: DatabaseContext) -> list[str]:
    """pg_hba, first match: the superuser on the socket only, replication by its own user, pods with a password."""
    pods = context.postgres.pod_cidrs
    return [
        f"local all {SUPERUSER} peer",
        f"local all {MONITORING_USER} scram-sha-256",
        f"local replication {REPLICATION_USER} scram-sha-256",
        "local all all reject",
        "local replication all reject",
        f"hostssl all {SUPERUSER} all reject",
        *(f"hostssl replication {REPLICATION_USER} {cidr} scram-sha-256" for cidr in pods),
        "hostssl replication all all reject",
        *(f"hostssl all all {cidr} scram-sha-256" for cidr in pods),
        "host all all all reject",
    ]


def _users() -> dict[str, Any]:
    # Local connections of the superuser are by the system's user; the others go to another member.
    verified = {"sslmode": "verify-full", "sslrootcert": f"{TLS_PATH}/ca.crt"}
    return {
        "superuser": {"username": SUPERUSER, **verified},
        "replication": {"username": REPLICATION_USER, **verified},
        "rewind": {"username": REWIND_USER, **verified},
    }


def _replica_methods(context: DatabaseContext, shard: str) -> dict[str, Any]:
    methods: dict[str, Any] = {"basebackup": {"checkpoint": "fast", "max-rate": "100M"}}
    if context.postgres.backup is None:
        return methods
    methods["pgbackrest"] = {
        "command": f"pgbackrest --config={CONFIG_PATH}/pgbackrest.conf --stanza={context.scope(shard)} --delta restore",
        "keep_data": True,
        "no_params": True,
    }
    methods["recovery_conf"] = {"restore_command": archive_get(context, shard)}
    return methods


def _megabytes(quantity: str) -> str:
    return f"{int(parse_quantity(quantity)) // _MEBIBYTE}MB"


def start_script(context: DatabaseContext, shard: str) -> str:
    """Becomes Patroni with the member's name and the passwords; ``POD_NAME`` is the pod's own."""
    exports = "".join(f"{variable}=$(cat {PASSWORDS_PATH}/{file})\n" for variable, file in MEMBER_SECRETS.items())
    names = " ".join(MEMBER_SECRETS)
    return f"""\
#!/bin/sh
set -eu
umask 077
host="$POD_NAME.{context.pods_domain(shard)}"
{exports}PATRONI_NAME=$POD_NAME
PATRONI_RESTAPI_CONNECT_ADDRESS=$host:{PATRONI_PORT}
PATRONI_POSTGRESQL_CONNECT_ADDRESS=$host:{POSTGRES_PORT}
export {names} {_ETCD_PROTOCOL}
export PATRONI_NAME PATRONI_RESTAPI_CONNECT_ADDRESS PATRONI_POSTGRESQL_CONNECT_ADDRESS
{WATCH_CERTIFICATES}
exec patroni {CONFIG_PATH}/{PATRONI_FOLDER}
"""


def control_script() -> str:
    """For a shell in a member: the requests of patronictl need the passwords, which no file of Patroni has."""
    wanted = ("PATRONI_RESTAPI_PASSWORD", "PATRONI_ETCD3_PASSWORD")
    exports = "".join(f"{variable}=$(cat {PASSWORDS_PATH}/{MEMBER_SECRETS[variable]})\n" for variable in wanted)
    return f"""\
#!/bin/sh
# patronictl with this member's certificate and passwords: sh {CONFIG_PATH}/patronictl.sh list
set -eu
{exports}export {" ".join(wanted)} {_ETCD_PROTOCOL}
exec patronictl -c {CONFIG_PATH}/{PATRONI_FOLDER} "$@"
"""
