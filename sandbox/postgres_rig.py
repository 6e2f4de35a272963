"""Three etcd, three PostgreSQL under Patroni, and PgBouncer with its HAProxy, as processes of one host."""

import base64
import functools
import json
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import yaml

from sandbox.certificates import KeyPair, self_signed, signed_by
from sandbox.errors import SandboxError, tail
from sandbox.postgres_binaries import PostgresBinaries, hand_over, postgres_binaries, reachable, unprivileged
from sandbox.postgres_mapping import (
    ETCD_PORT,
    MEMBERS,
    POSTGRES_PORT,
    REST_PORT,
    OneHost,
    Rendered,
    etcd_arguments,
    map_to_one_host,
    pooler_files,
)

PASSWORDS = (
    "superuser", "replication", "rewind", "restapi", "etcd", "admin", "pooler", "monitoring", "backup",
    "app", "etcd-root",
)  # fmt: skip
"""Names of the files that the pods have them in; the last two are the rig's own."""
START_SECONDS = 180
_POLL_SECONDS = 0.1
_REST_SECONDS = 3
_PRE_STOP_SECONDS = 0.5


@dataclass(kw_only=True)
class Rig:
    """A whole database of one shard. ``with Rig.start(...)`` ends and removes everything."""

    host: OneHost
    binaries: PostgresBinaries
    files: Rendered
    etcd: Path
    poolers: Mapping[str, int]
    dbname: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    """Addresses of poolers that end: the Service leads nobody there any more."""

    @classmethod
    def start(
        cls, rendered: Rendered, etcd: Path, *, dbname: str, dcs: Mapping[str, Any] | None = None,
        poolers: Mapping[str, int] | None = None,
    ) -> "Rig":  # fmt: skip
        """Write the mapped files, start everything and wait until the poolers answer. Raises ``SandboxError``."""
        folder = Path(tempfile.mkdtemp(prefix="payments-postgres-"))
        folder.chmod(0o755)
        binaries = reachable(postgres_binaries(), folder / "programs")
        passwords = {user: secrets.token_urlsafe(18) for user in PASSWORDS}
        host = OneHost(folder=folder, members=tuple(rendered.patroni), binaries=binaries.postgres,
                       major=binaries.major, passwords=passwords, dcs=dcs or {})  # fmt: skip
        rig = cls(host=host, binaries=binaries, files=map_to_one_host(rendered, host), etcd=etcd, dbname=dbname,
                  poolers=poolers or {"rw": 2, "ro": 1})  # fmt: skip
        try:
            rig.bring_up()
        except BaseException:
            rig.stop()
            raise
        return rig

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- life ------------------------------------------------------------------------------------------------------

    def bring_up(self) -> None:
        """Everything, in order."""
        self._write_certificates()
        for index in range(MEMBERS):
            self.start_etcd(index)
        self._secure_etcd()
        (self.host.folder / "repository").mkdir()
        hand_over(self.host.folder / "repository")
        for name in self.host.members:
            self._write_member(name)
            self.start_member(name)
        self.wait_healthy()
        self._prepare_database()
        for mode, count in self.poolers.items():
            for index in range(count):
                self.start_pooler(mode, index)

    def stop(self) -> None:
        """End every process of this rig and remove its folder."""
        for name in self.host.members:
            self.signal_member(name, signal.SIGKILL)
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(30)
        shutil.rmtree(self.host.folder, ignore_errors=True)

    def start_etcd(self, index: int) -> None:
        """Start or restart one etcd member on its data."""
        (self.host.folder / f"etcd-{index}").mkdir(exist_ok=True)
        self._launch(f"etcd-{index}", [self.etcd, *etcd_arguments(self.files, self.host, index)])

    def start_member(self, name: str) -> None:
        """Start Patroni, which starts PostgreSQL."""
        home = self.host.folder / name
        self._launch(name, unprivileged(["patroni", home / "config" / "patroni.yml"]), folder=home)

    def start_pooler(self, mode: str, index: int) -> None:
        """One pod: HAProxy and PgBouncer. Waits until a login works."""
        folder = self.host.folder / f"pgbouncer-{mode}-{index}"
        folder.mkdir(exist_ok=True)
        for name, text in pooler_files(self.files, self.host, mode, index).items():
            (folder / name).write_text(text, encoding="utf-8")
        lines = [f'"{self.files.users[file]}" "{self.host.passwords[file]}"\n' for file in ("pooler", "monitoring")]
        (folder / "users.txt").write_text("".join(lines), encoding="utf-8")
        hand_over(folder)
        self._launch(f"haproxy-{mode}-{index}", [self.binaries.program("haproxy"), "-db", "-f", folder / "haproxy.cfg"])
        self._launch(
            f"pgbouncer-{mode}-{index}", unprivileged([self.binaries.program("pgbouncer"), folder / "pgbouncer.ini"])
        )
        self.wait(
            lambda: self._logs_in(mode, index), f"pgbouncer-{mode}-{index}", f"haproxy-{mode}-{index}", seconds=60
        )
        self.leaving.discard(self.host.pooler(mode, index))

    def start_backup_servers(self) -> None:
        """What runs beside each member for the backup Jobs, without the store's passphrase, as in the pods."""
        home = self.host.operations
        for part in ("config", "run", "tls"):
            (home / part).mkdir(parents=True)
        for file, text in self.files.backup_jobs.items():
            (home / "config" / file).write_text(text, encoding="utf-8")
        authority = self.host.certificate.read_text(encoding="utf-8")
        self._write_pair(home / "tls", authority, signed_by(
            authority, self.host.key.read_text(encoding="utf-8"), common_name=self.files.operations))  # fmt: skip
        hand_over(home)
        for name in self.host.members:
            config = self.host.folder / name / "config" / "pgbackrest-server.conf"
            command = unprivileged([self.binaries.program("pgbackrest"), f"--config={config}"])
            # Peer authentication became a password.
            environment = {**self.binaries.environment, "PGPASSWORD": self.host.passwords["superuser"]}
            self._launch(f"backup-{name}", [*command, "server"], environment=environment)
            ping = functools.partial(self._answers_ping, command, environment)
            self.wait(ping, f"backup-{name}", seconds=30)

    def _answers_ping(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """The readiness probe."""
        answer = subprocess.run(
            [*command, "server-ping", "localhost"], env=environment, capture_output=True, timeout=30, check=False
        )
        return answer.returncode == 0

    def drain_pooler(self, mode: str, index: int, seconds: float = 60) -> None:
        """As a pod begins to end: no new client is led to it, and it waits until those that it has have left.

        Since 1.23 that is PgBouncer's own answer to SIGTERM; the rig waits for 1.18, which ends at once.
        """
        address = self.host.pooler(mode, index)
        self.leaving.add(address)
        time.sleep(_PRE_STOP_SECONDS)
        name = f"pgbouncer-{mode}-{index}"
        self.wait(lambda: not self._clients(name, address), name, seconds=seconds)

    def _clients(self, name: str, address: str) -> int:
        connections = psutil.Process(self.processes[name].pid).net_connections(kind="tcp")
        established = [one for one in connections if one.status == psutil.CONN_ESTABLISHED]
        return sum(one.laddr == (address, self.pooler_port) for one in established)

    def stop_pooler(self, mode: str, index: int) -> None:
        """As a pod ends: PgBouncer finishes the transactions in flight, then HAProxy ends.

        SIGINT is the end of PgBouncer 1.18 that finishes transactions; without ``drain_pooler`` before it, clients
        between two of them are cut.
        """
        bouncer = self.processes.pop(f"pgbouncer-{mode}-{index}")
        bouncer.send_signal(signal.SIGINT)
        try:
            bouncer.wait(30)
        except subprocess.TimeoutExpired:
            bouncer.kill()
            bouncer.wait(10)
        proxy = self.processes.pop(f"haproxy-{mode}-{index}")
        proxy.kill()
        proxy.wait(10)

    # -- faults ----------------------------------------------------------------------------------------------------

    def member_processes(self, name: str) -> list[psutil.Process]:
        """Patroni, the postmaster and its children."""
        found: dict[int, psutil.Process] = {}
        roots = [self.processes[name].pid] if name in self.processes else []
        postmaster = self.postmaster(name)
        for pid in [*roots, *([postmaster] if postmaster else [])]:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
        return list(found.values())

    def signal_member(self, name: str, number: signal.Signals) -> None:
        """The same signal to every process of a member."""
        for process in self.member_processes(name):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def postmaster(self, name: str) -> int | None:
        """Process id of a member's postmaster, if one runs on its data."""
        try:
            pid = int((self.host.data(name) / "postmaster.pid").read_text(encoding="utf-8").split()[0])
            return pid if str(self.host.data(name)) in " ".join(psutil.Process(pid).cmdline()) else None
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None

    # -- what it says ----------------------------------------------------------------------------------------------

    @property
    def tls(self) -> ssl.SSLContext:
        """For Patroni and etcd, with a client certificate."""
        context = ssl.create_default_context(cafile=str(self.host.certificate))
        context.load_cert_chain(self.host.certificate, self.host.key)
        return context

    def rest(self, name: str, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        """Ask Patroni's REST API of a member: status and JSON or text. Raises ``OSError`` when it does not answer."""
        login = base64.b64encode(f"{self._rest_user}:{self.host.passwords['restapi']}".encode()).decode()
        request = urllib.request.Request(
            f"https://{self.host.member(name)}:{REST_PORT}{path}",
            data=None if body is None else json.dumps(body).encode(), method=method,
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(  # noqa: S310 # https, an address of the rig
                request, timeout=_REST_SECONDS if body is None else 60, context=self.tls
            ) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def states(self) -> dict[str, dict[str, Any]]:
        """``/cluster`` by member name, from the first member that answers."""
        for name in self.host.members:
            with suppress(OSError):
                status, answer = self.rest(name, "/cluster")
                if status == 200 and isinstance(answer, dict):  # noqa: PLR2004 # HTTP's OK
                    return {member["name"]: member for member in answer["members"]}
        return {}

    def primary(self) -> str | None:
        """The member that says of itself that it is the primary and holds the lock."""
        for name in self.host.members:
            with suppress(OSError):
                if self.rest(name, "/primary")[0] == 200:  # noqa: PLR2004 # HTTP's OK
                    return name
        return None

    def healthy(self) -> bool:
        """One primary; the others stream and count for its quorum.

        One that has just come back streams for up to a loop of Patroni before it counts. Who then takes the primary
        over has nobody to confirm its writes for as long.
        """
        states = self.states()
        primary = self.primary()
        others = [member for member in states.values() if member["role"] != "leader"]
        whole = len(states) == len(self.host.members) == len(others) + 1
        counts = all((member["state"], member["role"]) == ("streaming", "quorum_standby") for member in others)
        return whole and counts and primary is not None and states[primary]["state"] == "running"

    def wait_healthy(self, seconds: float = START_SECONDS) -> None:
        """Wait for ``healthy``. Raises ``SandboxError`` with the logs."""
        self.wait(self.healthy, *self.host.members, seconds=seconds)

    def wait(self, condition: Callable[[], bool], *logs: str, seconds: float = START_SECONDS) -> None:
        """Wait for a condition. Raises ``SandboxError`` with the last lines of the named logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                lines = "\n".join(f"{name}: {line}" for name in logs for line in tail(self.log(name), 15))
                raise SandboxError(
                    f"not ready after {seconds} s\n{lines}", next_step="run it again on a quieter machine"
                )
            time.sleep(_POLL_SECONDS)

    def log(self, name: str) -> Path:
        """What a process says."""
        return self.host.folder / f"{name}.log"

    def conninfo(self, address: str, user: str = "app", password: str | None = None, dbname: str | None = None) -> str:
        """To a pooler, for psycopg: TLS, verified. ``address`` may be a list with commas."""
        return psycopg.conninfo.make_conninfo(
            host=address, port=self.pooler_port, user=user, password=password or self.host.passwords["app"],
            dbname=dbname or self.dbname, sslmode="verify-full", sslrootcert=str(self.host.certificate),
            connect_timeout=3, tcp_user_timeout=5000,
        )  # fmt: skip

    def service(self, mode: str) -> str:
        """Every PgBouncer pod of a kind: what the Service balances over; libpq goes to the next when one refuses."""
        addresses = [self.host.pooler(mode, index) for index in range(self.poolers[mode])]
        return ",".join(address for address in addresses if address not in self.leaving)

    @property
    def pooler_port(self) -> int:
        """Where every PgBouncer listens."""
        found = re.search(r"(?m)^listen_port\s*=\s*(\d+)", self.files.pgbouncer["rw"]["pgbouncer.ini"])
        assert found is not None  # noqa: S101 - PgBouncer would not have started
        return int(found[1])

    def superuser(self, name: str, dbname: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """On a member's socket, the only way that its access rules leave to the superuser."""
        return psycopg.connect(
            host=str(self.host.folder / name / "run"), port=POSTGRES_PORT, user="postgres", dbname=dbname,
            password=self.host.passwords["superuser"], autocommit=True, connect_timeout=5,
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """Of every process; the pods have the backup's passphrase from their Secret as well."""
        return {**self.binaries.environment, "PGBACKREST_REPO1_CIPHER_PASS": self.host.passwords["backup"]}

    @property
    def ttl_seconds(self) -> int:
        """Of the lease."""
        return int(self._configuration["bootstrap"]["dcs"]["ttl"])

    @property
    def scope(self) -> str:
        """Name of the shard for Patroni, for etcd and for backups."""
        return str(self._configuration["scope"])

    # -- parts -----------------------------------------------------------------------------------------------------

    @property
    def _configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.files.patroni[self.host.members[0]]["patroni.yml"])
        return found

    @property
    def _rest_user(self) -> str:
        return str(self._configuration["restapi"]["authentication"]["username"])

    def _write_member(self, name: str) -> None:
        home = self.host.folder / name
        for part in ("config", "passwords", "run"):
            (home / part).mkdir(parents=True)
        for file, text in self.files.patroni[name].items():
            (home / "config" / file).write_text(text, encoding="utf-8")
        for file, password in self.host.passwords.items():
            (home / "passwords" / file).write_text(password, encoding="utf-8")
        hand_over(home)
        (home / "config").chmod(0o700)
        (home / "passwords").chmod(0o700)

    def _launch(
        self, name: str, command: Sequence[str | Path], folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=folder or self.host.folder, env=environment or self.environment, start_new_session=True,
            )  # fmt: skip

    def _write_certificates(self) -> None:
        pair = self_signed("postgres-trials", self.host.addresses)
        folder = self.host.certificate.parent
        folder.mkdir()
        self._write_pair(folder, pair.certificate, pair)
        hand_over(folder)

    def _write_pair(self, folder: Path, authority: str, pair: KeyPair) -> None:
        (folder / "tls.crt").write_text(pair.certificate, encoding="utf-8")
        (folder / "ca.crt").write_text(authority, encoding="utf-8")
        (folder / "tls.key").write_text(pair.key, encoding="utf-8")
        (folder / "tls.key").chmod(0o600)

    def _secure_etcd(self) -> None:
        """Users and roles as in the cluster: Patroni's own user reaches the prefix of its scope and nothing else."""
        self.wait(lambda: self._etcd("/v3/maintenance/status", {}) is not None, "etcd-0", "etcd-1", "etcd-2")
        settings = self._configuration
        user, scope = settings["etcd3"]["username"], f"{settings['namespace']}{settings['scope']}/"
        prefix = base64.b64encode(scope.encode()).decode()
        end = base64.b64encode(f"{scope[:-1]}0".encode()).decode()
        for path, body in (
            ("user/add", {"name": "root", "password": self.host.passwords["etcd-root"]}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": user, "password": self.host.passwords["etcd"]}),
            ("role/add", {"name": user}),
            ("role/grant", {"name": user, "perm": {"permType": "READWRITE", "key": prefix, "range_end": end}}),
            ("user/grant", {"user": user, "role": user}),
            ("auth/enable", {}),
        ):
            address = f"/v3/auth/{path.removeprefix('auth/')}"
            done = functools.partial(self._etcd_does, address, body)
            self.wait(done, "etcd-0", seconds=30)

    def _etcd_does(self, path: str, body: Mapping[str, Any]) -> bool:
        return self._etcd(path, body) is not None

    def _etcd(self, path: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"https://{self.host.etcd(0)}:{ETCD_PORT}{path}", data=json.dumps(body).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=_REST_SECONDS, context=self.tls) as answer:  # noqa: S310 # likewise
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # Asked again after a lost answer: it is there already.
            text = error.read().decode()
            return {} if "already exist" in text or "already enabled" in text else None
        except OSError:
            return None

    def _prepare_database(self) -> None:
        primary = self.primary()
        assert primary is not None  # noqa: S101 - wait_healthy saw it
        with self.superuser(primary) as connection:
            connection.execute(f"CREATE DATABASE {self.dbname}")
            definition = connection.execute("SELECT pg_get_functiondef('pgbouncer.get_auth'::regproc)").fetchone()
        assert definition is not None  # noqa: S101 - a function has a definition
        with self.superuser(primary, self.dbname) as connection:
            # Debian's PgBouncer knows no auth_dbname: it looks passwords up in the database that a client asks for.
            connection.execute("CREATE SCHEMA pgbouncer")
            connection.execute(definition[0])
            connection.execute("REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC")
            connection.execute("GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth")
            connection.execute("GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer_auth")
            connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{self.host.passwords['app']}'")
            connection.execute(f"GRANT CONNECT ON DATABASE {self.dbname} TO app")
            connection.execute("GRANT USAGE, CREATE ON SCHEMA public TO app")

    def _logs_in(self, mode: str, index: int) -> bool:
        try:
            with psycopg.connect(self.conninfo(self.host.pooler(mode, index))) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False
