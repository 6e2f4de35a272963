"""From a cluster to one host: every pod becomes a loopback address of its own.

``map_to_one_host`` is the only place where the trials' files differ from the rendered ones. What it changes:

- DNS names of pods become addresses in 127.0.0.0/8; ports stay. Wildcard listeners become the pod's address.
- Mount paths of certificates, data and programs become folders of this host.
- ``peer`` authentication becomes SCRAM, because the user that runs every server here is not called postgres.
- A backup's server is asked for at ``localhost``, by a port for each member: pgBackRest compares names, no addresses.
- The memory of a server is what a test machine has; backups go to a folder instead of object storage.
- etcd's cluster is a new one, its members do not wait for the disk, and only warnings are logged.
- Options that this host's versions do not know are left out: exactly those of ``TOO_NEW``. pgBackRest 2.45 must have a
  standby where a newer one prefers it.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from sandbox.ports import LOOPBACK, free_port

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
    "pgbackrest": ("repo1-block",),
}  # fmt: skip
"""PostgreSQL options by the release that brought them; options newer than PgBouncer 1.18 and pgBackRest 2.45."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """Texts as the program renders them."""

    patroni: Mapping[str, Mapping[str, str]]
    """Member (pod) name → file name → text; ``patroni.yml`` and what it names."""
    backup_jobs: Mapping[str, str]
    """File name → text of the pods that make backups and try restores; empty without a backup."""
    operations: str
    """Common name of the certificate that these pods show to the members."""
    haproxy: Mapping[str, str]
    """``rw`` and ``ro`` → haproxy.cfg."""
    pgbouncer: Mapping[str, Mapping[str, str]]
    """``rw`` and ``ro`` → file name → text."""
    etcd: tuple[str, ...]
    """Arguments of each member; ``$(POD_NAME)`` stands for its own name."""
    etcd_name: str
    """Name of the members without their number."""
    paths: Mapping[str, str]
    """Where a pod has ``config``, ``tls``, ``etcd_tls``, ``etcd_data``, ``passwords``, ``run``, ``data`` and
    ``pooler_run``."""
    users: Mapping[str, str]
    """Name of the password's file → user that it belongs to, for the users that Patroni does not name itself."""


def _backup_ports() -> tuple[int, ...]:
    return tuple(free_port() for _ in range(MEMBERS))


def _network() -> str:
    return f"127.{random.randint(64, 250)}.{random.randint(0, 250)}"  # noqa: S311 # an address, no secret


@dataclass(frozen=True, kw_only=True, slots=True)
class OneHost:
    """Addresses, folders and passwords of one rig."""

    folder: Path
    members: tuple[str, ...]
    binaries: Path
    major: int
    passwords: Mapping[str, str] = field(repr=False)
    """By the name of the file that a pod has them in."""
    network: str = field(default_factory=_network)
    backup_ports: tuple[int, ...] = field(default_factory=_backup_ports)
    """Of the members' pgBackRest servers, in order."""
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

    @property
    def operations(self) -> Path:
        """Folder of the Jobs, with their certificate in ``tls`` and their files in ``config``."""
        return self.folder / "operations"

    def data(self, name: str) -> Path:
        """Data folder of a member."""
        return self.folder / name / "data"

    def paths(self, rendered: Mapping[str, str], home: str) -> dict[str, str]:
        """A pod's path → this host's, below the pod's own folder."""
        tls = str(self.certificate.parent)
        return {path: tls if key.endswith("tls") else f"{home}/{key}" for key, path in rendered.items()}

    def names_replaced(self, text: str) -> str:
        """DNS names of pods → addresses."""
        for name in self.members:
            text = re.sub(rf"\b{re.escape(name)}\.[a-z0-9.-]*[a-z]", self.member(name), text)
        for index in range(MEMBERS):
            text = re.sub(rf"\b[a-z0-9-]*etcd-{index}\.[a-z0-9.-]*[a-z]", self.etcd(index), text)
        return text


def map_to_one_host(rendered: Rendered, host: OneHost) -> Rendered:
    """The same files for one host; see the module's text for every difference."""
    return replace(
        rendered,
        patroni={name: _member(files, rendered, host, name) for name, files in rendered.patroni.items()},
        haproxy={mode: _haproxy(text, rendered, host) for mode, text in rendered.haproxy.items()},
        backup_jobs={name: _backup_job(text, rendered, host) for name, text in rendered.backup_jobs.items()},
        pgbouncer={mode: _pgbouncer(files, rendered, host) for mode, files in rendered.pgbouncer.items()},
    )


def etcd_arguments(rendered: Rendered, host: OneHost, index: int) -> list[str]:
    """How one member of etcd is started: as in its pod, but for what the module's text says."""
    own, home = f"{rendered.etcd_name}-{index}", str(host.folder / f"etcd-{index}")
    found = []
    for argument in rendered.etcd:
        text = host.names_replaced(argument.replace("$(POD_NAME)", own)).replace("0.0.0.0", host.etcd(index))  # noqa: S104
        found.append(_paths_replaced(text, host.paths(rendered.paths, home)))
    return [
        *(one for one in found if not one.startswith("--initial-cluster-state=")),
        "--initial-cluster-state=new", "--unsafe-no-fsync", "--log-level=warn",
    ]  # fmt: skip


def pooler_files(rendered: Rendered, host: OneHost, mode: str, index: int) -> dict[str, str]:
    """Files of one PgBouncer pod with its own address: mapped text → text."""
    address, folder = host.pooler(mode, index), str(host.folder / f"pgbouncer-{mode}-{index}")
    files = {"haproxy.cfg": rendered.haproxy[mode], **rendered.pgbouncer[mode]}
    return {name: text.replace("@ADDRESS@", address).replace("@FOLDER@", folder) for name, text in files.items()}


def _paths_replaced(text: str, paths: Mapping[str, str]) -> str:
    for path in sorted(paths, key=len, reverse=True):
        text = re.sub(rf"(?<![\w/@]){re.escape(path)}(?![\w-])", paths[path], text)
    return text


def _member(files: Mapping[str, str], rendered: Rendered, host: OneHost, name: str) -> dict[str, str]:
    paths = host.paths(rendered.paths, str(host.folder / name))
    found = {}
    for file, text in files.items():
        mapped = _paths_replaced(host.names_replaced(text), paths)
        if file == "patroni.yml":
            mapped = _patroni(mapped, host, name)
        elif file == "pgbackrest.conf":
            mapped = _pgbackrest(mapped, host)
        elif file == "pgbackrest-server.conf":
            port = host.backup_ports[host.members.index(name)]
            mapped = _locked(mapped, host).replace("tls-server-address=*", f"tls-server-address={LOOPBACK}")
            mapped = re.sub(r"(?m)^tls-server-port=.*$", f"tls-server-port={port}", mapped)
        found[file] = mapped
    return found


def _pgbackrest(text: str, host: OneHost) -> str:
    """A repository on disk instead of object storage, without what this version does not know."""
    text = re.sub(r"(?m)^repo1-(type|s3-\S+?|path)=.*\n", "", text)
    for option in TOO_NEW["pgbackrest"]:
        text = re.sub(rf"(?m)^{option}=.*\n", "", text)
    text = text.replace("backup-standby=prefer\n", "backup-standby=y\n")
    return _locked(text, host).replace(
        "[global]\n", f"[global]\nrepo1-type=posix\nrepo1-path={host.folder}/repository\n", 1
    )


def _backup_job(text: str, rendered: Rendered, host: OneHost) -> str:
    """``pgN-…`` beside ``pgN-host`` is of the member N, but for the certificate; everything else is the Job's own."""
    home = str(host.operations)
    if "pg1-host=" in text:
        for number, (name, port) in enumerate(zip(host.members, host.backup_ports, strict=True), start=1):
            paths = host.paths(rendered.paths, str(host.folder / name)) | {rendered.paths["tls"]: f"{home}/tls"}
            lines = re.findall(rf"(?m)^pg{number}-.*$", text)
            for line in lines:
                text = text.replace(line, _paths_replaced(line, paths))
            text = re.sub(rf"(?m)^pg{number}-host=.*$", f"pg{number}-host=localhost", text)
            text = re.sub(rf"(?m)^pg{number}-host-port=.*$", f"pg{number}-host-port={port}", text)
    text = _paths_replaced(text, {path: f"{home}/{key}" for key, path in rendered.paths.items()})
    text = re.sub(r"/usr/lib/postgresql/\d+/bin", str(host.binaries), text)
    text = re.sub(r"(--host|unix_socket_directories)=/tmp\b", rf"\1={home}/run", text)
    return _pgbackrest(text, host) if text.startswith("[global]") else text


def _locked(text: str, host: OneHost) -> str:
    return re.sub(r"(?m)^lock-path=.*$", f"lock-path={host.folder}/backup-lock", text)


def _patroni(text: str, host: OneHost, name: str) -> str:
    data: dict[str, Any] = yaml.safe_load(text)
    address = host.member(name)
    data["name"] = name
    rest, dcs, local = data["restapi"], data["bootstrap"]["dcs"], data["postgresql"]
    rest |= {"listen": f"{address}:{REST_PORT}", "connect_address": f"{address}:{REST_PORT}"}
    rest["authentication"]["password"] = host.passwords["restapi"]
    data["etcd3"]["password"] = host.passwords["etcd"]
    dcs.update(host.dcs)
    for section in (dcs["postgresql"], local):
        _postgres_section(section, host)
    local |= {"listen": f"{address}:{POSTGRES_PORT}", "connect_address": f"{address}:{POSTGRES_PORT}",
              "bin_dir": str(host.binaries), "pgpass": str(host.folder / name / "pgpass")}  # fmt: skip
    for role, login in local["authentication"].items():
        login["password"] = host.passwords[role]
    data["bootstrap"]["initdb"] = [_initdb(item) for item in data["bootstrap"]["initdb"]]
    data["log"] = {"level": "INFO"}
    return yaml.safe_dump(data, sort_keys=False, width=1000)


def _initdb(item: Any) -> Any:
    return (
        {key: "scram-sha-256" if value == "peer" else value for key, value in item.items()}
        if isinstance(item, dict)
        else item
    )


def _postgres_section(section: dict[str, Any], host: OneHost) -> None:
    parameters = section.get("parameters", {})
    for release, options in TOO_NEW["postgres"].items():  # type: ignore[attr-defined]
        for option in options if host.major < release else ():
            parameters.pop(option, None)
    parameters.update({key: value for key, value in SMALL.items() if key in parameters})
    if "pg_hba" in section:
        rules = [re.sub(r"\b(?:\d+\.){3}\d+/\d+", NETWORK, rule) for rule in section["pg_hba"]]
        section["pg_hba"] = [re.sub(r"\bpeer\b.*", "scram-sha-256", rule) for rule in rules]


def _haproxy(text: str, rendered: Rendered, host: OneHost) -> str:
    text = _paths_replaced(host.names_replaced(text), host.paths(rendered.paths, "@FOLDER@"))
    text = re.sub(r"(?m)^(\s*bind\s+)[^\s:]*:(\d+)", r"\1@ADDRESS@:\2", text)
    # HAProxy compares names only, and the certificate names localhost.
    return re.sub(r"(verifyhost|check-sni) 127\.\S+", r"\1 localhost", text)


def _pgbouncer(files: Mapping[str, str], rendered: Rendered, host: OneHost) -> dict[str, str]:
    paths = host.paths(rendered.paths, "@FOLDER@") | dict.fromkeys(
        (rendered.paths["config"], rendered.paths["pooler_run"]), "@FOLDER@"
    )
    found = {}
    for name, content in files.items():
        text = _paths_replaced(content, paths)
        if name.endswith(".ini"):
            for option in TOO_NEW["pgbouncer"]:
                text = re.sub(rf"(?m)^\s*{option}\s*=.*\n|\s{option}=\S+", "", text)
            text = re.sub(r"(?m)^(listen_addr\s*=).*", r"\1 @ADDRESS@", text)
            text = re.sub(r"\bhost=\S+", "host=@ADDRESS@", text)
            text = re.sub(r"(?m)^(unix_socket_dir\s*=).*", r"\1", text)
            # One host has no peers: a cancel request arrives where its query runs.
            text = re.sub(r"(?m)^%include.*\n", "", text)
        found[name] = text
    return found
