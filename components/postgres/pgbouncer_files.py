"""The files of a PgBouncer pod: its configuration, who may log in, and the scripts that make it know its peers."""

from enum import StrEnum

from components.postgres.bootstrap_files import MAINTENANCE_DATABASE
from components.postgres.certificate_files import CERTIFICATES_FILE, WATCH_CERTIFICATES, certificates_script
from components.postgres.model import (
    AUTH_USER,
    CONFIG_PATH,
    HAPROXY_READ_PORT,
    HAPROXY_WRITE_PORT,
    MONITORING_USER,
    PASSWORDS_PATH,
    POOLER_PORT,
    REPLICATION_USER,
    REWIND_USER,
    SUPERUSER,
    TLS_PATH,
    DatabaseContext,
)
from settings.data_roles import ADMINISTRATOR, RoleName
from settings.postgres_pools import AUTH_CONNECTIONS_PER_POD, PoolerPods
from settings.postgres_rules import pooler_names

POOLER_RUN_PATH = "/run/pgbouncer"
AUTH_DATABASE = "user_lookup"
"""Entry through which passwords are looked up: they do not wait behind a full pool. No client may open it."""
AUTH_QUERY = "SELECT username, password FROM pgbouncer.get_auth($1)"


class PoolerMode(StrEnum):
    """What a pooler is for."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


def pooler_name(shard: str, mode: PoolerMode) -> str:
    """Name of a pooler's Deployment."""
    return pooler_names(shard)[0 if mode is PoolerMode.READ_WRITE else 1]


def pods_of(context: DatabaseContext, mode: PoolerMode) -> PoolerPods:
    """A pooler's own settings."""
    pooler = context.postgres.pooler
    return pooler.read_write if mode is PoolerMode.READ_WRITE else pooler.read_only


def render_pgbouncer(context: DatabaseContext, shard: str, mode: PoolerMode) -> dict[str, str]:
    """File name → text. Passwords are read when the pod starts, into a folder in memory."""
    return {
        "pgbouncer.ini": _configuration(context, shard, mode),
        "pgbouncer_hba.conf": _access_rules(),
        "start.sh": _start_script(),
        CERTIFICATES_FILE: certificates_script(),
        "peers.sh": _peers_script(context, shard, mode),
    }


def _configuration(context: DatabaseContext, shard: str, mode: PoolerMode) -> str:
    postgres, pods = context.postgres, pods_of(context, mode)
    database = postgres.database
    port = HAPROXY_WRITE_PORT if mode is PoolerMode.READ_WRITE else HAPROXY_READ_PORT
    # The pod's hosts file leads this name to HAProxy beside it; the members' certificate carries it.
    target = f"host={context.pods_domain(shard)} port={port}"
    lookup = f"{target} dbname={MAINTENANCE_DATABASE} pool_size={AUTH_CONNECTIONS_PER_POD}"
    # A pool is a role's: services that log in as the same role share one.
    roles = len(set(postgres.users.values()))
    per_role = pods.server_connections_per_pod // roles
    options: dict[str, object] = {
        "listen_addr": "*",
        "listen_port": POOLER_PORT,
        "unix_socket_dir": POOLER_RUN_PATH,
        "auth_type": "hba",
        "auth_hba_file": f"{CONFIG_PATH}/pgbouncer_hba.conf",
        "auth_file": f"{POOLER_RUN_PATH}/users.txt",
        "auth_user": AUTH_USER,
        "auth_query": AUTH_QUERY,
        "auth_dbname": AUTH_DATABASE,
        "stats_users": MONITORING_USER,
        # Tells the pods to open new connections after a change of the schema.
        "admin_users": RoleName.MIGRATION,
        "pool_mode": "transaction",
        "max_client_conn": postgres.pooler.client_connections_per_pod,
        "default_pool_size": per_role,
        "reserve_pool_size": pods.server_connections_per_pod - per_role * roles,
        "reserve_pool_timeout": 1,
        "max_prepared_statements": 200,
        # The default, last in first out, loads few connections of a round robin.
        "server_round_robin": 1,
        # HAProxy finds a new primary within half a second; the pool asks it as often.
        "server_login_retry": 0.5,
        "server_connect_timeout": 3,
        "server_lifetime": 600,
        "server_idle_timeout": 300,
        "server_check_delay": 5,
        "query_wait_timeout": postgres.pooler.query_wait_seconds,
        "client_login_timeout": 30,
        "tcp_keepalive": 1,
        "tcp_keepidle": 5,
        "tcp_keepintvl": 2,
        "tcp_keepcnt": 3,
        "tcp_user_timeout": 10000,
        "ignore_startup_parameters": "extra_float_digits,options",
        "client_tls_sslmode": "require",
        "client_tls_cert_file": f"{TLS_PATH}/tls.crt",
        "client_tls_key_file": f"{TLS_PATH}/tls.key",
        "client_tls_protocols": "secure",
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": f"{TLS_PATH}/ca.crt",
        "server_tls_protocols": "secure",
        "log_connections": 0,
        "log_disconnections": 0,
        "stats_period": 60,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    return f"""\
[databases]
{database} = {target} dbname={database} max_db_connections={pods.server_connections_per_pod}
{AUTH_DATABASE} = {lookup} max_db_connections={AUTH_CONNECTIONS_PER_POD}

[pgbouncer]
{lines}
; This pod's own number among its peers, and the peers: written by peers.sh.
%include {POOLER_RUN_PATH}/peers.ini
"""


def _access_rules() -> str:
    """First match. The system's own users do not come in through a pool, and nobody opens the lookup's entry.

    PgBouncer knows no address ``all``: it would drop such a line and then let nobody in.
    """
    closed = (SUPERUSER, REPLICATION_USER, REWIND_USER, AUTH_USER, ADMINISTRATOR, RoleName.MIGRATION)
    rules = [
        ("pgbouncer", RoleName.MIGRATION, "scram-sha-256"),
        (AUTH_DATABASE, "all", "reject"),
        *(("all", user, "reject") for user in closed),
        ("all", "all", "scram-sha-256"),
    ]
    lines = [
        f"hostssl {database} {user} {address} {method}\n"
        for database, user, method in rules
        for address in ("0.0.0.0/0", "::/0")
    ]
    console = f"hostssl pgbouncer {MONITORING_USER} 127.0.0.1/32 scram-sha-256\n"
    return "".join([*lines[:-2], console, *lines[-2:]])


def _start_script() -> str:
    return f"""\
#!/bin/sh
# Writes the passwords of the lookup and of the exporter where only this pod can read them; becomes PgBouncer.
set -eu
umask 077
user() {{ printf '"%s" "%s"\\n' "$1" "$(sed 's/"/""/g' "{PASSWORDS_PATH}/$2")"; }}
{{ user {AUTH_USER} pooler; user {MONITORING_USER} monitoring; }} >{POOLER_RUN_PATH}/users.txt
printf '127.0.0.1:%s:pgbouncer:%s:%s\\n' {POOLER_PORT} {MONITORING_USER} \\
  "$(sed 's/[\\\\:]/\\\\&/g' "{PASSWORDS_PATH}/monitoring")" >{POOLER_RUN_PATH}/exporter.pgpass
sh {CONFIG_PATH}/peers.sh once
sh {CONFIG_PATH}/peers.sh watch $$ &
{WATCH_CERTIFICATES}
exec pgbouncer {CONFIG_PATH}/pgbouncer.ini
"""


def _peers_script(context: DatabaseContext, shard: str, mode: PoolerMode) -> str:
    """A cancel request reaches any pod of the Service; peers pass it on to the pod that holds the query.

    A pod's number is the lower 14 bits of its address, which two of these few pods hardly share. If they do, the
    second is left out, and cancel requests for its queries are lost.
    """
    domain = f"{pooler_name(shard, mode)}-peers.{context.namespace}.svc.cluster.local"
    return f"""\
#!/bin/sh
# once: writes this pod's number and the peers that are known; watch PID: does so again when they change.
set -eu
number() {{ echo "$1" | awk -F. '{{ n = ($3 % 64) * 256 + $4; print (n == 0) ? 16383 : n }}'; }}

peers() {{
  echo "peer_id = $(number "$POD_IP")"
  echo "[peers]"
  {{ getent ahostsv4 {domain} || true; }} | awk '{{ print $1 }}' | sort -u | while read -r address; do
    host=$(echo "$address" | tr . -).{domain}
    echo "$(number "$address") = host=$host port={POOLER_PORT}"
  done | sort -u -t = -k 1,1
}}

write() {{ peers >{POOLER_RUN_PATH}/peers.new && mv {POOLER_RUN_PATH}/peers.new {POOLER_RUN_PATH}/peers.ini; }}

if [ "$1" = once ]; then
  write
  exit
fi
while sleep 5; do
  peers >{POOLER_RUN_PATH}/peers.next
  if ! cmp -s {POOLER_RUN_PATH}/peers.next {POOLER_RUN_PATH}/peers.ini; then
    mv {POOLER_RUN_PATH}/peers.next {POOLER_RUN_PATH}/peers.ini
    kill -HUP "$2"
  fi
done
"""
