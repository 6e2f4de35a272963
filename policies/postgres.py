"""The database's configuration: no acknowledged row is lost, and nobody comes in without a password over TLS."""

from collections.abc import Iterator, Mapping

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.objects import POD_KINDS, KubernetesObject, containers
from policies.postgres_files import POOLER_FILE, config_files, parse_pooler
from policies.rules import About, Config, object_policy
from policies.values import elements, number, read, show, text

_CONFIG_MAP = frozenset({"ConfigMap"})
_SYNCHRONOUS = ("quorum", "on", "True")
_SAFE_METHODS = ("scram-sha-256", "cert", "reject")
_CLIENT_TLS = ("require", "verify-ca", "verify-full")
_USER_VARIABLES = ("DB_USER", "DATABASE_USER", "PGUSER", "POSTGRES_USER")
_LOCAL_FIELDS = 4  # local DATABASE USER METHOD
_HOST_FIELDS = 5  # host DATABASE USER ADDRESS METHOD


def database_failover_settings() -> ResourceValidationPolicy:
    """With an asynchronous replica a failover forgets payments that clients were told of."""
    about = About(
        name="database-failover-settings",
        display_name="Database failover settings",
        description="Patroni replicates synchronously and strictly, outlives etcd, and its lease has a margin.",
        severity=Severity.CRITICAL,
        remediation="Set synchronous_mode quorum, synchronous_mode_strict, failsafe_mode, and timers within the lease.",
        tags=("database", "availability"),
        schema=PolicyConfigSchema(
            properties={"marginSeconds": {"type": "integer", "minimum": 0, "maximum": 60, "default": 5}}
        ),
    )
    return object_policy(about, _check_failover, _CONFIG_MAP)


def _check_failover(subject: KubernetesObject, config: Config) -> Iterator[str]:
    margin = number(read(config, "marginSeconds")) or 0
    for file in config_files(subject):
        if file.dynamic is not None:
            for message in (*_loses_no_row(file.dynamic), *_keeps_its_lease(file.dynamic, margin)):
                yield f"{file.name}: {message}"


def _loses_no_row(dynamic: Mapping[str, object]) -> Iterator[str]:
    mode = dynamic.get("synchronous_mode", False)
    if str(mode) not in _SYNCHRONOUS:
        yield (
            f"synchronous_mode is {show(mode)}: a failover loses acknowledged rows. Allowed: quorum or on."
            " Fix: set quorum."
        )
    if dynamic.get("synchronous_mode_strict") is not True:
        yield (
            "synchronous_mode_strict is not true: without a replica the primary acknowledges rows that stand on one"
            " disk. Allowed: true. Fix: set it."
        )
    if dynamic.get("failsafe_mode") is not True:
        yield "failsafe_mode is not true: a loss of etcd stops the primary. Allowed: true. Fix: set it."
    commit = read(dynamic, "postgresql", "parameters", "synchronous_commit")
    if commit not in (None, "on", True, "remote_apply"):
        yield f"synchronous_commit is {show(commit)}. Allowed: on or remote_apply. Fix: set on."


def _keeps_its_lease(dynamic: Mapping[str, object], margin: float) -> Iterator[str]:
    ttl, loop, retry = (number(dynamic.get(name)) for name in ("ttl", "loop_wait", "retry_timeout"))
    if ttl is None or loop is None or retry is None:
        yield "ttl, loop_wait or retry_timeout is not set. Allowed: all three in seconds. Fix: set them."
    elif loop + 2 * retry + margin > ttl:
        yield (
            f"loop_wait {show(loop)} + 2 * retry_timeout {show(retry)} + {show(margin)} is more than ttl {show(ttl)}."
            " Allowed: at most ttl, or a primary that waits for etcd loses its lease. Fix: raise ttl."
        )


def database_access_rules() -> ResourceValidationPolicy:
    """Whoever reaches the port must prove who they are, and the superuser does not come over the network."""
    about = About(
        name="database-access-rules",
        display_name="Database access rules",
        description="pg_hba asks for TLS and SCRAM, admits replication by name, and keeps superusers on the socket.",
        severity=Severity.CRITICAL,
        remediation="Use hostssl with scram-sha-256 for named networks, and reject the rest.",
        tags=("database", "network"),
        pci="8.3.2",
        pci_text="Strong cryptography renders authentication factors unreadable during transmission",
        schema=PolicyConfigSchema(
            properties={
                "superusers": {"type": "array", "items": {"type": "string"}, "default": ["postgres"]},
            }
        ),
    )
    return object_policy(about, _check_access, _CONFIG_MAP)


def _check_access(subject: KubernetesObject, config: Config) -> Iterator[str]:
    superusers = [text(name) or "" for name in elements(read(config, "superusers"))]
    for file in config_files(subject):
        rules = read(file.dynamic, "postgresql", "pg_hba")
        lines = [text(rule) or "" for rule in elements(rules)]
        for line in lines:
            problem = _rule_problem(line.split())
            if problem is not None:
                yield f"{file.name}: pg_hba rule '{line}' {problem}"
        for name in superusers if lines else []:
            if not _is_kept_out(lines, name):
                yield (
                    f"{file.name}: pg_hba admits the superuser {name} over the network. Allowed: the socket only."
                    f" Fix: put 'hostssl all {name} all reject' before the rules that admit others."
                )


def _rule_problem(words: list[str]) -> str | None:
    if not words:
        return None
    method = words[3] if words[0] == "local" and len(words) >= _LOCAL_FIELDS else words[-1]
    if len(words) >= _HOST_FIELDS and words[0] != "local":
        method = words[4]
    allowed = (*_SAFE_METHODS, "peer") if words[0] == "local" else _SAFE_METHODS
    if method not in allowed:
        return f"uses the method {method}. Allowed: {', '.join(allowed)}. Fix: use scram-sha-256."
    if words[0] != "local" and method != "reject":
        if words[0] != "hostssl":
            return "admits connections without TLS. Allowed: hostssl. Fix: write hostssl."
        if words[1] == "replication" and words[2] == "all":
            return "lets every user replicate. Allowed: the replication user. Fix: name it."
    return None


def _is_kept_out(lines: list[str], user: str) -> bool:
    """Whether the first network rule that matches the user for ordinary databases rejects it."""
    for line in lines:
        words = line.split()
        if (
            len(words) >= _HOST_FIELDS
            and words[0].startswith("host")
            and words[1] == "all"
            and words[2] in ("all", user)
        ):
            return words[4] == "reject"
    return True


def database_pooler() -> ResourceValidationPolicy:
    """A pooler that cancels a commit, speaks plaintext or has no bound undoes what the servers promise."""
    about = About(
        name="database-pooler",
        display_name="Database pooler",
        description="PgBouncer pools transactions within a bound, over verified TLS, and cancels no commit.",
        severity=Severity.HIGH,
        remediation="Declare the poolers through components/postgres, which derives the configuration.",
        tags=("database",),
        pci="4.2.1",
        pci_text="Strong cryptography safeguards data during transmission",
    )
    return object_policy(about, _check_pooler, _CONFIG_MAP)


def _check_pooler(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    content = text(read(subject.props, "data", POOLER_FILE))
    if content is None:
        return
    file = parse_pooler(content)
    options = file.options
    if options.get("query_timeout", "0") not in ("0", "0.0"):
        yield (
            f"{POOLER_FILE}: query_timeout cancels a commit that waits for its replica: the row stays, and nobody was"
            " told. Allowed: 0. Fix: remove it; the application sets statement_timeout."
        )
    for option, allowed in (
        ("pool_mode", ("transaction",)),
        ("server_tls_sslmode", ("verify-full",)),
        ("client_tls_sslmode", _CLIENT_TLS),
        ("auth_type", ("scram-sha-256", "hba", "cert")),
    ):
        value = options.get(option)
        if value not in allowed:
            yield f"{POOLER_FILE}: {option} is {show(value)}. Allowed: {', '.join(allowed)}. Fix: set {allowed[0]}."
    for name, database in file.databases.items():
        if "," in database.get("host", ""):
            yield f"{POOLER_FILE}: {name} has several hosts; a dead one blocks it. Allowed: one. Fix: name one."
        if not (number(database.get("max_db_connections", options.get("max_db_connections"))) or 0) > 0:
            yield f"{POOLER_FILE}: {name} has no max_db_connections. Allowed: a number above 0. Fix: set it."


def database_application_users() -> ResourceValidationPolicy:
    """An application that is superuser turns every injected statement into the whole server."""
    about = About(
        name="database-application-users",
        display_name="Database application users",
        description="No pod logs in to the database as a superuser, as the replication user or as the administrator.",
        severity=Severity.CRITICAL,
        remediation="Give the service a user of its own.",
        tags=("database",),
        pci="7.2.5",
        pci_text="Application and system accounts are assigned and managed by least privilege",
        schema=PolicyConfigSchema(
            properties={
                "reserved": {
                    "type": "array",
                    "items": {"type": "string"},
                    "default": [
                        "postgres",
                        "replicator",
                        "rewind",
                        "payments_admin",
                        "payments_owner",
                        "pgbouncer_auth",
                    ],
                }
            }
        ),
    )
    return object_policy(about, _check_users, POD_KINDS)


def _check_users(subject: KubernetesObject, config: Config) -> Iterator[str]:
    reserved = [text(name) for name in elements(read(config, "reserved"))]
    for container in containers(subject.pod_spec):
        for variable in elements(read(container.spec, "env")):
            name, value = text(read(variable, "name")), text(read(variable, "value"))
            if name in _USER_VARIABLES and value in reserved:
                yield f"{container.title}: {name} is '{value}'. Allowed: a user of its own. Fix: name that."


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [
        database_failover_settings(),
        database_access_rules(),
        database_pooler(),
        database_application_users(),
    ]
