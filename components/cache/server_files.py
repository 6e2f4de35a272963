"""The text files that servers start from: configuration, access rules, and the three scripts of a pod.

Nothing secret is in them: passwords come from mounted files when a pod starts, and stay in a folder in memory.
"""

from collections.abc import Mapping

from settings.cache import CACHE_USER, Cache, CacheUser, ServerKind
from settings.cache_rules import LOCAL_SOCKET

PORT = 6379
BUS_PORT = 16379
CONFIG_PATH = "/etc/cache/config"
TLS_PATH = "/etc/cache/tls"
PASSWORDS_PATH = "/etc/cache/passwords"
RUN_PATH = "/run/cache"
DATA_PATH = "/data"
INTERNAL_PASSWORD = f"{PASSWORDS_PATH}/{CACHE_USER}"
LOCAL_SOCKET_PATH = LOCAL_SOCKET.rpartition("/")[0]
EXPORTER_TARGET = f"rediss://{CACHE_USER}@localhost:{PORT}"
EXPORTER_FILE = f"{RUN_PATH}/exporter.json"
"""Address → password, as the exporter reads it (redis_exporter, "redis.password-file")."""
ZONE_PARAMETER = {ServerKind.VALKEY: "availability-zone", ServerKind.REDIS: "syslog-ident"}
"""Setting that carries the pod's zone where the reconciler can read it. Redis has none of its own: the name it would
give to syslog, which is off, is free text."""

# What the client library needs and no more: no FLUSHALL, KEYS, CONFIG, no other user's session, no server code;
# no READONLY: a replica may be behind its primary, and only primaries say what is true.
_CLIENT_COMMANDS = (
    "-@all +@read +@write +@connection +@transaction +@pubsub +@scripting -@dangerous -@admin -function -readonly "
    "-script|flush -script|kill +time +command +cluster|slots +cluster|shards +cluster|nodes +cluster|myid "
    "+cluster|info +cluster|keyslot"
)


def plan_cluster_files(cache: Cache) -> dict[str, str]:
    """Files of an L3 pod."""
    return {
        "server.conf": _lines(_common(cache.cluster.max_memory_bytes), _tls(), _cluster(cache)),
        "users.rules": plan_user_rules(cache.users),
        "start.sh": _start(_ANNOUNCE.replace("@zone@", ZONE_PARAMETER[cache.server])),
        "ping.sh": _PING,
        "stop.sh": _STOP,
    }


def plan_local_files(cache: Cache) -> dict[str, str]:
    """Files of an L2 pod that others reach over the network."""
    return {
        "server.conf": _lines(_common(cache.local.max_memory_bytes), _tls()),
        "users.rules": plan_user_rules(cache.users),
        "start.sh": _start(""),
        "ping.sh": _PING,
    }


def plan_socket_files(cache: Cache) -> dict[str, str]:
    """Files of an L2 sidecar: no port at all, a socket that only the pod's containers share."""
    socket = [("port", "0"), ("unixsocket", LOCAL_SOCKET), ("unixsocketperm", "770"), ("dir", LOCAL_SOCKET_PATH)]
    return {"server.conf": _lines(_common(cache.local.max_memory_bytes), socket)}


def plan_user_rules(users: Mapping[str, CacheUser]) -> str:
    """One line a user: its name, then its ACL rules without a password (redis.io, "ACL")."""
    lines = []
    for name, user in sorted(users.items()):
        keys = " ".join(f"~{pattern}" for pattern in user.keys)
        channels = " ".join(f"&{pattern}" for pattern in user.channels)
        lines.append(" ".join(part for part in (name, "resetkeys", keys, "resetchannels", channels) if part))
    return "".join(f"{line} {_CLIENT_COMMANDS}\n" for line in lines)


def _lines(*groups: list[tuple[str, str]]) -> str:
    return "".join(f"{name} {value}\n" for group in groups for name, value in group)


def _common(max_memory_bytes: int) -> list[tuple[str, str]]:
    return [
        # A cache: the least recently used value goes first, nothing is written to disk.
        ("maxmemory", str(max_memory_bytes)),
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory-clients", "5%"),
        ("lazyfree-lazy-eviction", "yes"),
        ("lazyfree-lazy-expire", "yes"),
        ("appendonly", "no"),
        ("save", '""'),
        ("tcp-keepalive", "60"),
    ]


def _tls() -> list[tuple[str, str]]:
    return [
        ("bind", "* -::*"),
        ("dir", DATA_PATH),
        ("port", "0"),
        ("tls-port", str(PORT)),
        ("tls-cert-file", f"{TLS_PATH}/tls.crt"),
        ("tls-key-file", f"{TLS_PATH}/tls.key"),
        ("tls-ca-cert-file", f"{TLS_PATH}/ca.crt"),
        # Clients prove themselves by user and password; the bus asks for a certificate whatever stands here.
        ("tls-auth-clients", "no"),
        ("tls-replication", "yes"),
    ]


def _cluster(cache: Cache) -> list[tuple[str, str]]:
    return [
        ("cluster-enabled", "yes"),
        ("tls-cluster", "yes"),
        ("cluster-config-file", f"{DATA_PATH}/nodes.conf"),
        ("cluster-node-timeout", str(cache.cluster.node_timeout_milliseconds)),
        ("cluster-announce-tls-port", str(PORT)),
        ("cluster-announce-bus-port", str(BUS_PORT)),
        # Clients are sent to names, which the certificates carry; the bus itself uses addresses.
        ("cluster-preferred-endpoint-type", "hostname"),
        # The slots that are left go on serving; but a pod that is cut off from the majority stops answering reads:
        # the other side may have replaced what it would say.
        ("cluster-require-full-coverage", "no"),
        ("cluster-allow-reads-when-down", "no"),
        # A copy goes from memory to memory, and at once: nothing else is waiting to be copied.
        ("repl-diskless-sync", "yes"),
        ("repl-diskless-sync-delay", "0"),
        # Any replica may be elected, however old: the values of a cache can be fetched again.
        ("cluster-replica-validity-factor", "0"),
        # Who replicates whom follows zones, which the servers do not know: the reconciler's business.
        ("cluster-allow-replica-migration", "no"),
        ("io-threads", "2"),
    ]


def _start(announce: str) -> str:
    return _START_HEAD + announce + _START_TAIL


_START_HEAD = f"""\
#!/bin/sh
# Writes what only this pod knows, and the passwords' hashes, into a folder in memory; then becomes the server.
set -eu
umask 077
server=$(command -v valkey-server || command -v redis-server)

read_password() {{
  found=$(cat "{PASSWORDS_PATH}/$1")
  case "$found" in
    "" | *[!A-Za-z0-9_.~+/=-]*)
      echo "start: the password of $1 is empty or has characters other than A-Z a-z 0-9 _ . ~ + / = -" >&2
      exit 1 ;;
  esac
  printf %s "$found"
}}

hash_of() {{ printf %s "$(read_password "$1")" | sha256sum | cut -d ' ' -f 1; }}

own=$(read_password {CACHE_USER})
{{
  echo "include {CONFIG_PATH}/server.conf"
  echo "aclfile {RUN_PATH}/users.acl"
  echo "masteruser {CACHE_USER}"
  printf 'masterauth %s\\n' "$own"
}} >{RUN_PATH}/pod.conf
"""
_ANNOUNCE = f"""\
# The address of this pod's own Service: it stays when the pod gets a new one (redis.io, "Redis Cluster and NAT").
tries=0
until address=$(getent ahosts "$ANNOUNCE_HOST" | sed -n '1s/ .*//p') && [ -n "$address" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || {{ echo "start: the name $ANNOUNCE_HOST leads nowhere" >&2; exit 1; }}
  sleep 1
done
{{
  echo "cluster-announce-ip $address"
  echo "cluster-announce-hostname $ANNOUNCE_HOST"
  echo "replica-announce-ip $address"
  [ -z "${{ZONE:-}}" ] || echo "@zone@ $ZONE"
}} >>{RUN_PATH}/pod.conf
"""
_START_TAIL = f"""\
{{
  echo "user default off resetpass resetkeys -@all"
  echo "user {CACHE_USER} on #$(hash_of {CACHE_USER}) ~* &* +@all"
  while read -r name rules; do
    echo "user $name on #$(hash_of "$name") $rules"
  done <{CONFIG_PATH}/users.rules
}} >{RUN_PATH}/users.acl
printf '{{"%s": "%s"}}\n' "{EXPORTER_TARGET}" "$own" >{EXPORTER_FILE}
exec "$server" {RUN_PATH}/pod.conf
"""
_CLIENT = f"""\
client=$(command -v valkey-cli || command -v redis-cli)
REDISCLI_AUTH=$(cat {INTERNAL_PASSWORD})
VALKEYCLI_AUTH=$REDISCLI_AUTH
export REDISCLI_AUTH VALKEYCLI_AUTH

ask() {{
  host=$1 port=$2
  shift 2
  "$client" -h "$host" -p "$port" --tls --cacert {TLS_PATH}/ca.crt --user {CACHE_USER} --no-auth-warning "$@"
}}
"""
_PING = f"""\
#!/bin/sh
# Ready means: this server answers. Whether the cluster is whole must not count, or it could never be formed.
set -eu
{_CLIENT}
[ "$(ask localhost {PORT} PING)" = PONG ]
"""
_STOP = f"""\
#!/bin/sh
# Before a primary goes, a replica that is in step takes over: nothing is lost and nobody has to elect.
# It never holds the pod up for longer than 40 s: the grace period is 60.
set -eu
{_CLIENT}
role() {{ ask localhost {PORT} ROLE | head -n 1; }}

replica() {{
  ask localhost {PORT} INFO replication | tr -d '\\r' |
    sed -n 's/^slave[0-9]*:ip=\\([^,]*\\),port=\\([0-9]*\\),state=online.*/\\1 \\2/p' | head -n 1
}}

waited=0
while [ "$waited" -lt 80 ] && [ "$(role)" = master ]; do
  found=$(replica)
  # Asked again every 5 s: a replica forgets the request when the hand-over did not come about.
  if [ -n "$found" ] && [ $((waited % 10)) -eq 0 ]; then
    ask ${{found% *}} ${{found#* }} CLUSTER FAILOVER >/dev/null || true
  fi
  [ -n "$found" ] || [ "$waited" -lt 40 ] || break
  waited=$((waited + 1))
  sleep 0.5
done
"""
