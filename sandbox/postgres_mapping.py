"""From a cluster to one host: every pod becomes a loopback address of its own.

``map_to_one_host`` is the only place where the trials' files differ from the rendered ones. What it changes:

- DNS names of pods become addresses in 127.0.0.0/8; ports stay. Wildcard listeners become the pod's address.
- Mount paths of certificates, data and programs become folders of this host.
- ``peer`` authentication becomes SCRAM and the socket is left out, because one user runs every server here.
- The memory of a server is what a test machine has; archiving goes where the caller says.
- Options that this host's versions do not know are left out: exactly those of ``TOO_NEW``.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NETWORK = "127.0.0.0/8"
REST_PORT, POSTGRES_PORT, ETCD_PORT, ETCD_PEER_PORT = 8008, 5432, 2379, 2380
MEMBERS = 3
SMALL = {"shared_buffers": "32MB", "effective_cache_size": "128MB", "maintenance_work_mem": "32MB", "work_mem": "2MB",
         "max_wal_size": "1GB", "min_wal_size": "80MB", "wal_keep_size": "128MB", "huge_pages": "off"}  # fmt: skip
"""Memory and disk of a test machine, set only where the rendered file sets them."""
TOO_NEW = {
    "postgres": {17: ("summarize_wal", "sync_replication_slots", "transaction_timeout", "allow_alter_system"),
                 18: ("io_method", "io_workers", "idle_replication_slot_timeout")},
    "pgbouncer": ("max_prepared_statements", "server_login_retry_max", "query_wait_notify", "transaction_timeout",
                  "client_tls13_ciphers", "server_tls13_ciphers", "cancel_wait_timeout", "auth_dbname",
                  "max_db_client_connections", "max_user_client_connections", "load_balance_hosts"),
}  # fmt: skip
"""PostgreSQL options by the release that brought them; PgBouncer options newer than Debian's 1.18."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """Texts as the program renders them."""

    patroni: Mapping[str, str]
    """Member (pod) name → patroni.yml."""
    haproxy: Mapping[str, str]
    """``rw`` and ``ro`` → haproxy.cfg."""
    pgbouncer: Mapping[str, Mapping[str, str]]
    """``rw`` and ``ro`` → file name → text."""
    setup_sql: str = ""
    """What the bootstrap runs once in the database, as superuser."""


def _network() -> str:
    return f"127.{random.randint(64, 250)}.{random.randint(0, 250)}"  # noqa: S311


@dataclass(frozen=True, kw_only=True, slots=True)
class OneHost:
    """Addresses, folders and passwords of one rig."""

    folder: Path
    members: tuple[str, ...]
    binaries: Path
    major: int
    passwords: Mapping[str, str] = field(repr=False)
    network: str = field(default_factory=_network)
    dcs: Mapping[str, Any] = field(default_factory=dict)
    """Top-level keys of bootstrap.dcs to set otherwise, for the rival's timers."""

    def etcd(self, index: int) -> str:
        """Address of an etcd member."""
        return f"{self.network}.{index + 1}"

    def member(self, name: str) -> str:
        """Address of a database pod."""
        return f"{self.network}.{self.members.index(name) + 11}"

    def pooler(self, mode: str, index: int) -> str:
        """Address of a PgBouncer pod."""
        return f"{self.network}.{(21 if mode == 'rw' else 41) + index}"

    @property
    def addresses(self) -> list[str]:
        """Every address that a certificate must name."""
        return [f"{self.network}.{last}" for last in range(1, 61)]

    @property
    def certificate(self) -> Path:
        """The one certificate, its own authority; ``key`` lies beside it."""
        return self.folder / "tls" / "tls.crt"

    @property
    def key(self) -> Path:
        """Private key of ``certificate``."""
        return self.folder / "tls" / "tls.key"

    def data(self, name: str) -> Path:
        """Data folder of a member."""
        return self.folder / name / "data"

    def names_replaced(self, text: str) -> str:
        """DNS names of pods → addresses."""
        for name in self.members:
            text = re.sub(rf"\b{re.escape(name)}\.[a-z0-9.-]*[a-z]", self.member(name), text)
        for index in range(MEMBERS):
            text = re.sub(rf"\b[a-z0-9-]*etcd-{index}\.[a-z0-9.-]*[a-z]", self.etcd(index), text)
        return text


def map_to_one_host(rendered: Rendered, host: OneHost) -> Rendered:
    """The same files for one host; see the module's text for every difference."""
    return Rendered(
        patroni={name: _patroni(text, host, name) for name, text in rendered.patroni.items()},
        haproxy={mode: _haproxy(text, host) for mode, text in rendered.haproxy.items()},
        pgbouncer={mode: _pgbouncer(files, host) for mode, files in rendered.pgbouncer.items()},
        setup_sql=rendered.setup_sql,
    )


def pooler_files(rendered: Rendered, host: OneHost, mode: str, index: int) -> dict[str, str]:
    """Files of one PgBouncer pod with its own address: mapped text → text."""
    address, folder = host.pooler(mode, index), str(host.folder / f"pgbouncer-{mode}-{index}")
    files = {"haproxy.cfg": rendered.haproxy[mode], **rendered.pgbouncer[mode]}
    return {name: text.replace("@ADDRESS@", address).replace("@FOLDER@", folder) for name, text in files.items()}


def _patroni(text: str, host: OneHost, name: str) -> str:
    data: dict[str, Any] = yaml.safe_load(host.names_replaced(text))
    address = host.member(name)
    tls = {"certfile": str(host.certificate), "keyfile": str(host.key), "cafile": str(host.certificate)}
    data["name"] = name
    data["restapi"] |= {"listen": f"{address}:{REST_PORT}", "connect_address": f"{address}:{REST_PORT}", **tls,
                        "authentication": {"username": "patroni", "password": host.passwords["patroni"]}}  # fmt: skip
    data["ctl"] = {"insecure": False, "cacert": tls["cafile"], "certfile": tls["certfile"], "keyfile": tls["keyfile"]}
    data["etcd3"] |= {"hosts": [f"{host.etcd(index)}:{ETCD_PORT}" for index in range(MEMBERS)], "protocol": "https",
                      "cacert": tls["cafile"], "username": "patroni", "password": host.passwords["etcd"]}  # fmt: skip
    for key in ("cert", "key"):
        data["etcd3"].pop(key, None)
    dcs = data["bootstrap"]["dcs"]
    dcs.update(host.dcs)
    for section in (dcs["postgresql"], data["postgresql"]):
        _postgres_section(section, host)
    local = data["postgresql"]
    local |= {"listen": f"{address}:{POSTGRES_PORT}", "connect_address": f"{address}:{POSTGRES_PORT}",
              "data_dir": str(host.data(name)), "bin_dir": str(host.binaries), "use_unix_socket": False,
              "use_unix_socket_repl": False, "pgpass": str(host.folder / name / "pgpass"),
              "create_replica_methods": ["basebackup"]}  # fmt: skip
    local.pop("recovery_conf", None)
    local.setdefault("parameters", {})["unix_socket_directories"] = ""
    local["authentication"] = {
        role: {**local.get("authentication", {}).get(role, {}), "username": user, "password": host.passwords[user],
               "sslmode": "verify-full", "sslrootcert": tls["cafile"]}
        for role, user in (("superuser", "postgres"), ("replication", "replicator"), ("rewind", "rewind_user"))
    }  # fmt: skip
    data["bootstrap"].pop("post_bootstrap", None)
    data["bootstrap"].pop("post_init", None)
    data["bootstrap"].pop("method", None)
    data["bootstrap"]["initdb"] = [_initdb(item) for item in data["bootstrap"].get("initdb", [])]
    data["log"] = {"level": "INFO"}
    return yaml.safe_dump(data, sort_keys=False)


def _initdb(item: Any) -> Any:
    return {key: "scram-sha-256" if value == "peer" else value for key, value in item.items()} if isinstance(item, dict) else item


def _postgres_section(section: dict[str, Any], host: OneHost) -> None:
    parameters = section.get("parameters", {})
    for release, options in TOO_NEW["postgres"].items():  # type: ignore[attr-defined]
        for option in options if host.major < release else ():
            parameters.pop(option, None)
    parameters.update({key: value for key, value in SMALL.items() if key in parameters})
    if "ssl" in parameters:
        parameters |= {"ssl_cert_file": str(host.certificate), "ssl_key_file": str(host.key), "ssl_ca_file": str(host.certificate)}
    if "archive_command" in parameters:
        parameters["archive_command"] = "/bin/true"
    parameters.pop("shared_preload_libraries", None)
    if "pg_hba" in section:
        rules = [re.sub(r"\b(?:\d+\.){3}\d+/\d+", NETWORK, rule) for rule in section["pg_hba"]]
        section["pg_hba"] = [re.sub(r"\bpeer\b.*", "scram-sha-256", rule) for rule in rules]


def _haproxy(text: str, host: OneHost) -> str:
    text = re.sub(r"(bind\s+)(?:\*|0\.0\.0\.0|127\.0\.0\.1|\[::\])?:(\d+)", r"\1@ADDRESS@:\2", host.names_replaced(text))
    text = re.sub(r"(ca-file|crt)\s+\S+", lambda found: f"{found[1]} {_pem(found[1], host)}", text)
    text = re.sub(r" resolvers \S+| init-addr \S+", "", text)
    return re.sub(r"(?m)^\s*(user|group|chroot|daemon|pidfile|stats socket)\b.*\n", "", text)


def _pem(option: str, host: OneHost) -> Path:
    return host.certificate if option == "ca-file" else host.folder / "tls" / "tls.pem"


def _pgbouncer(files: Mapping[str, str], host: OneHost) -> dict[str, str]:
    paths = {"tls_key_file": host.key, "tls_cert_file": host.certificate, "tls_ca_file": host.certificate}
    found = {}
    for name, content in files.items():
        text = content
        if name.endswith(".ini"):
            for option in TOO_NEW["pgbouncer"]:
                text = re.sub(rf"(?m)^\s*{option}\s*=.*\n|\s{option}=\S+", "", text)
            for option, path in paths.items():
                text = re.sub(rf"(?m)^((?:client|server)_{option}\s*=).*", rf"\1 {path}", text)
            text = re.sub(r"(?m)^(listen_addr\s*=).*", r"\1 @ADDRESS@", text)
            text = re.sub(r"\bhost=\S+", "host=@ADDRESS@", text)
            text = re.sub(r"(?m)^(unix_socket_dir\s*=).*", r"\1", text)
            text = re.sub(r"(?m)^((?:auth_hba_file|auth_file)\s*=)\s*\S*/([^/\s]+)$", r"\1 @FOLDER@/\2", text)
            text = re.sub(r"(?m)^\s*(logfile|pidfile|user|syslog)\s*=.*\n|^%include.*\n", "", text)
            text = re.sub(r"(?ms)^\[peers\].*?(?=^\[|\Z)", "", text)
            text = re.sub(r"(?m)^peer_id\s*=.*\n", "", text)
        found[name] = text
    return found
