"""haproxy.cfg of a pooler's pod: where the primary and the replicas are, asked of Patroni once or twice a second."""

from components.postgres.model import (
    HAPROXY_HEALTH_PORT,
    HAPROXY_READ_PORT,
    HAPROXY_WRITE_PORT,
    PATRONI_PORT,
    POSTGRES_PORT,
    TLS_PATH,
    DatabaseContext,
)


def render_haproxy(context: DatabaseContext, shard: str) -> str:
    """The configuration, the same in both poolers. It holds no secret: Patroni's checks are open to read."""
    pooler = context.postgres.pooler
    most = max(pods.server_connections_per_pod for pods in (pooler.read_write, pooler.read_only))
    options = f"check port {PATRONI_PORT} check-ssl verify required ca-file {TLS_PATH}/ca.crt"
    members = "".join(
        f"    server {host.partition('.')[0]} {host}:{POSTGRES_PORT} {options} "
        f"verifyhost {host} check-sni {host} resolvers cluster init-addr last,libc,none\n"
        for host in context.member_hosts(shard)
    )
    lag = f"{pooler.max_replica_lag_megabytes}MB"
    return f"""\
global
    log stdout format raw local0 info
    maxconn {2 * most + 100}
    hard-stop-after 60s

defaults
    mode tcp
    log global
    option dontlognull
    option clitcpka
    option srvtcpka
    timeout connect 3s
    timeout check 2s
    # Above PgBouncer's server_lifetime: PgBouncer ends sessions, never HAProxy under it.
    timeout client 1h
    timeout server 1h
    # A demoted or lost member's sessions are cut: nothing is written to it through a connection that stayed open.
    # Who is down is asked twice a second: a new primary is one of those, and writes wait for it.
    default-server inter 1s fastinter 500ms downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions

resolvers cluster
    parse-resolv-conf
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s
    hold valid 5s
    hold nx 2s
    hold obsolete 10s

frontend write
    bind 127.0.0.1:{HAPROXY_WRITE_PORT}
    default_backend primary

frontend read
    bind 127.0.0.1:{HAPROXY_READ_PORT}
    use_backend replicas if {{ nbsrv(replicas) ge 1 }}
    # The last replica is gone: reads fall back to the primary.
    default_backend primary

backend primary
    option httpchk
    http-check send meth OPTIONS uri /primary
    http-check expect status 200
{members}
backend replicas
    balance roundrobin
    option httpchk
    http-check send meth OPTIONS uri /replica?lag={lag}&replication_state=streaming
    http-check expect status 200
{members}
frontend health
    mode http
    bind :{HAPROXY_HEALTH_PORT}
    timeout client 5s
    monitor-uri /healthz
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request deny
"""
