"""The smallest complete set of files, to try the rig itself without the program's renderers."""

import yaml

from sandbox.postgres_mapping import Rendered

MEMBERS = ("postgres-cluster-0", "postgres-cluster-1", "postgres-cluster-2")
LOOKUP_SQL = """
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION postgres;
CREATE OR REPLACE FUNCTION pgbouncer.get_auth(asked text) RETURNS TABLE (username text, password text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.rolname::text, a.rolpassword FROM pg_catalog.pg_authid a
  WHERE a.rolname = asked AND a.rolcanlogin AND NOT a.rolsuper AND NOT a.rolreplication
    AND a.rolname <> 'pgbouncer_auth' AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.now())
$$;
REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer_auth;
"""
_DNS = "postgres-cluster-pods.payments.svc.cluster.local"


def minimal(dbname: str = "payments") -> Rendered:
    """Timers 20/5/5, synchronous quorum, strict, failsafe; TLS everywhere."""
    return Rendered(
        patroni=dict.fromkeys(MEMBERS, _patroni()),
        haproxy={"rw": _haproxy("rw"), "ro": _haproxy("ro")},
        pgbouncer={mode: {"pgbouncer.ini": _pgbouncer(dbname, port)} for mode, port in (("rw", 5000), ("ro", 5001))},
        setup_sql=LOOKUP_SQL,
    )


def _patroni() -> str:
    rules = [
        "local all all peer",
        "hostssl replication replicator 10.0.0.0/8 scram-sha-256",
        "hostssl all all 10.0.0.0/8 scram-sha-256",
        "hostnossl all all all reject",
    ]
    parameters = {
        "wal_level": "logical", "wal_log_hints": "on", "max_connections": 100, "max_wal_senders": 10,
        "max_replication_slots": 10, "wal_keep_size": "128MB", "synchronous_commit": "on", "shared_buffers": "1GB",
        "password_encryption": "scram-sha-256", "ssl": "on", "wal_receiver_timeout": "10s", "wal_sender_timeout": "10s",
    }  # fmt: skip
    return yaml.safe_dump({
        "scope": "postgres-cluster", "namespace": "/payments/", "name": "set-by-the-pod",
        "restapi": {"listen": "0.0.0.0:8008", "connect_address": "set-by-the-pod", "verify_client": "optional"},
        "etcd3": {},
        "bootstrap": {
            "dcs": {
                "ttl": 20, "loop_wait": 5, "retry_timeout": 5, "maximum_lag_on_failover": 33554432,
                "check_timeline": True, "synchronous_mode": "quorum", "synchronous_node_count": 1,
                "synchronous_mode_strict": True, "failsafe_mode": True, "primary_start_timeout": 20,
                "primary_stop_timeout": 10,
                "postgresql": {"use_pg_rewind": True, "use_slots": True, "remove_data_directory_on_rewind_failure": True,
                               "parameters": parameters, "pg_hba": rules},
            },
            "initdb": [{"encoding": "UTF8"}, "data-checksums", {"auth-host": "scram-sha-256"}, {"auth-local": "peer"}],
        },
        "postgresql": {"parameters": {}},
        "watchdog": {"mode": "off"},
    })  # fmt: skip


def _haproxy(mode: str) -> str:
    check = "check check-ssl verify required ca-file /tls/ca.crt port 8008"
    servers = "\n".join(f"  server {name} {name}.{_DNS}:5432 {check}" for name in MEMBERS)
    common = f"""global
  maxconn 1000
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 2s
  default-server inter 1s fastinter 500ms downinter 1s fall 2 rise 1 on-marked-down shutdown-sessions
backend rw
  option httpchk OPTIONS /primary
  http-check expect status 200
{servers}
"""
    if mode == "rw":
        return common + "frontend rw_in\n  bind 127.0.0.1:5000\n  default_backend rw\n"
    return common + f"""backend ro
  balance roundrobin
  option httpchk OPTIONS /replica?lag=16MB&replication_state=streaming
  http-check expect status 200
{servers}
frontend ro_in
  bind 127.0.0.1:5001
  use_backend ro if {{ nbsrv(ro) ge 1 }}
  default_backend rw
"""


def _pgbouncer(dbname: str, port: int) -> str:
    return f"""[databases]
{dbname} = host=postgres-cluster.internal port={port} dbname={dbname}
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 6432
unix_socket_dir =
pool_mode = transaction
max_client_conn = 500
default_pool_size = 10
max_db_connections = 20
max_prepared_statements = 200
server_round_robin = 1
server_login_retry = 1
server_connect_timeout = 3
query_wait_timeout = 30
tcp_keepidle = 5
tcp_keepintvl = 2
tcp_keepcnt = 3
tcp_user_timeout = 10000
ignore_startup_parameters = extra_float_digits,options
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
auth_user = pgbouncer_auth
auth_query = SELECT username, password FROM pgbouncer.get_auth($1)
server_tls_sslmode = verify-full
server_tls_ca_file = /tls/ca.crt
client_tls_sslmode = require
client_tls_cert_file = /tls/tls.crt
client_tls_key_file = /tls/tls.key
"""
