"""What no resource of a database may be: a power too many, a door for everybody, a password that can be read."""

import re
from collections.abc import Callable, Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.database_objects import DatabaseObject, is_loopback, parse_database
from policies.rules import About, Config, subject_policy
from policies.values import UNKNOWN, elements, read, show, text

_PUBLIC = "public"
# The owner, for whoever migrates, and reading the server's figures. The server's other roles run its programs, read and
# write its files, or see every row: what a superuser could do, without the flag.
_GRANTED = ("payments_owner", "pg_monitor")
_POWERS = ("superuser", "createRole", "createDatabase", "replication", "bypassRowLevelSecurity")
_GRANTS = frozenset({"Grant", "DefaultPrivileges"})
_PARTITION = re.compile(r"_(?:p\d{4}_\d{2}|h\d+)$")
_VERIFIER = re.compile(r"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")
# What a run without the engine has in a secret's place: the value is checked in the run that has it.
_NOT_SHOWN = "[secret]"
# Trusted ones: they need no superuser and open no way out of the database.
_TRUSTED = ("btree_gin", "btree_gist", "citext", "fuzzystrmatch", "pg_trgm", "pgcrypto", "unaccent")
_PROVIDER = "postgresql"  # the last part of its type; the others' is their kind
_TAGS = ("database",)


def _policy(
    about: About, check: Callable[[DatabaseObject, Config], Iterator[str]], *kinds: str
) -> ResourceValidationPolicy:
    return subject_policy(about, check, frozenset(kinds), parse_database)


def roles_limited() -> ResourceValidationPolicy:
    """A superuser passes every grant, every row policy and every audit of them."""
    about = About(
        name="database-roles-limited",
        display_name="Database roles are limited",
        description="No role, the provider's included, is a superuser, may make roles, copy or go around policies, or "
        "is a member of a role that `mayBeGranted` does not list.",
        severity=Severity.CRITICAL,
        remediation="Take the power away; what needs it is done by a migration as the owner, or by an administrator.",
        tags=_TAGS,
        pci="7.2.2",
        pci_text="Access is assigned to users based on job classification and least privileges",
        schema=PolicyConfigSchema(
            properties={"mayBeGranted": {"type": "array", "items": {"type": "string"}, "default": list(_GRANTED)}}
        ),
    )
    # The provider believes that it is a superuser unless it is told otherwise.
    return _policy(about, _check_powers, "Role", "GrantRole", _PROVIDER)


def _check_powers(subject: DatabaseObject, config: Config) -> Iterator[str]:
    if subject.kind == "Provider":
        given = subject.value("superuser")
        if given not in (False, "false", UNKNOWN):
            yield f"superuser is {show(given)}. Allowed: false. Fix: connect as a role with CREATEROLE and CREATEDB."
        return
    for power in _POWERS:
        if subject.is_on(power) is True:
            yield f"{power} is true. Allowed: false. Fix: remove it."
    yield from _check_membership(subject, config)


def _check_membership(subject: DatabaseObject, config: Config) -> Iterator[str]:
    groups = elements(read(subject.props, "roles")) if subject.kind == "Role" else [subject.value("grantRole")]
    allowed = elements(read(config, "mayBeGranted"))
    for group in groups:
        if group is not UNKNOWN and group not in allowed:
            listed = ", ".join(str(one) for one in allowed)
            yield f"makes a role a member of {show(group)}. Allowed: {listed}. Fix: grant what it needs by name."
    if subject.is_on("withAdminOption") is True:
        yield "withAdminOption is true. Allowed: false. Fix: grant each membership here."


def no_public_grants() -> ResourceValidationPolicy:
    """PUBLIC is everybody who can connect, today's roles and tomorrow's."""
    about = About(
        name="database-no-public-grants",
        display_name="Nothing is granted to PUBLIC",
        description="Grants and default privileges name a role; PUBLIC only appears to have everything revoked.",
        severity=Severity.CRITICAL,
        remediation="Grant to the role that needs it.",
        tags=_TAGS,
        pci="7.3.3",
        pci_text="The access control system is set to deny all by default",
    )
    return _policy(about, _check_public, *_GRANTS)


def _check_public(subject: DatabaseObject, _config: Config) -> Iterator[str]:
    given = [part for part in elements(read(subject.props, "privileges")) if part is not UNKNOWN]
    if str(subject.value("role")).lower() == _PUBLIC and given:
        words = ", ".join(show(part) for part in given)
        yield f"gives {words} to PUBLIC. Allowed: an empty list, which revokes. Fix: name the role that needs it."


def grants_explicit() -> ResourceValidationPolicy:
    """ALL means more on a newer server, ALL TABLES means others next month, and a grant option means anybody."""
    about = About(
        name="database-grants-explicit",
        display_name="Database grants are explicit",
        description="Grants name each privilege and each object, partitions' parents only, and cannot be handed on.",
        severity=Severity.HIGH,
        remediation="List the privileges; grant on tables in the migration that makes them.",
        tags=_TAGS,
        pci="7.2.5",
        pci_text="Application and system accounts and related privileges are assigned with least privileges",
    )
    return _policy(about, _check_grants, *_GRANTS)


def _check_grants(subject: DatabaseObject, _config: Config) -> Iterator[str]:
    if any((text(part) or "").upper().startswith("ALL") for part in elements(read(subject.props, "privileges"))):
        yield "gives 'ALL'. Allowed: privileges by name. Fix: list those that are needed."
    if subject.is_on("withGrantOption") is True:
        yield "withGrantOption is true. Allowed: false. Fix: grant to each role here."
    if subject.kind != "Grant":
        return
    objects = read(subject.props, "objects")
    if subject.value("objectType") in ("table", "sequence", "function") and objects is not UNKNOWN:
        if not elements(objects):
            kind = show(subject.value("objectType"))
            yield f"is on every {kind} of a schema: next month has others. Allowed: named objects. Fix: name them."
        for name in elements(objects):
            if _PARTITION.search(text(name) or ""):
                yield f"is on partition {show(name)}. Allowed: its parent, which is enough. Fix: grant on the parent."


def connections_encrypted() -> ResourceValidationPolicy:
    """Without a verified certificate the administrator's password goes to whoever answers."""
    about = About(
        name="database-connections-encrypted",
        display_name="Connections to databases are encrypted",
        description="The provider verifies the server's certificate and name; loopback may be excepted.",
        severity=Severity.CRITICAL,
        remediation="Set sslmode to verify-full, and sslrootcert where a private authority signed the certificate.",
        tags=("database", "network"),
        pci="8.3.2",
        pci_text="Strong cryptography renders authentication factors unreadable during transmission",
        schema=PolicyConfigSchema(properties={"plainLoopback": {"type": "boolean", "default": False}}),
    )
    return _policy(about, _check_encryption, _PROVIDER)


def _check_encryption(subject: DatabaseObject, config: Config) -> Iterator[str]:
    mode, host = subject.value("sslmode"), subject.value("host")
    if mode in ("verify-full", UNKNOWN) or host is UNKNOWN:
        return
    if read(config, "plainLoopback") is True and is_loopback(host):
        return
    yield f"sslmode to {show(host)} is {show(mode)}. Allowed: verify-full. Fix: set it."


def extensions_allowed() -> ResourceValidationPolicy:
    """Some extensions read files, open connections or run other languages, with the server's rights."""
    about = About(
        name="database-extensions-allowed",
        display_name="Database extensions are allowed ones",
        description="Only extensions that `allowed` lists are installed, each without what it would pull in or drop.",
        severity=Severity.HIGH,
        remediation="Use an allowed extension, or have the list of this pack changed.",
        tags=_TAGS,
        pci="2.2.4",
        pci_text="Only necessary services, protocols, daemons and functions are enabled",
        schema=PolicyConfigSchema(
            properties={"allowed": {"type": "array", "items": {"type": "string"}, "default": list(_TRUSTED)}}
        ),
    )
    return _policy(about, _check_extension, "Extension")


def _check_extension(subject: DatabaseObject, config: Config) -> Iterator[str]:
    name, allowed = subject.value("name"), elements(read(config, "allowed"))
    if name is not UNKNOWN and name not in allowed:
        listed = ", ".join(sorted(str(one) for one in allowed))
        yield f"installs {show(name)}. Allowed: {listed}. Fix: use one of them."
    for key in ("createCascade", "dropCascade"):
        if subject.is_on(key) is True:
            yield f"{key} is true. Allowed: false. Fix: declare what it needs by name."


def passwords_unreadable() -> ResourceValidationPolicy:
    """The server logs the statement that sets a password, and the state keeps it: a verifier opens nothing."""
    about = About(
        name="database-passwords-unreadable",
        display_name="Database passwords are verifiers",
        description="A role's password is given as a SCRAM verifier or write-only, and a role that logs in has one.",
        severity=Severity.CRITICAL,
        remediation="Make a verifier with `payctl db verifier` and store it as a Pulumi secret.",
        tags=("database", "secrets"),
        pci="8.3.2",
        pci_text="Strong cryptography renders authentication factors unreadable during transmission and storage",
    )
    return _policy(about, _check_password, "Role")


def _check_password(subject: DatabaseObject, _config: Config) -> Iterator[str]:
    password, write_only = subject.value("password"), subject.value("passwordWo")
    if password is UNKNOWN or write_only is UNKNOWN:
        return
    if password is not None:
        if password != _NOT_SHOWN and not _VERIFIER.fullmatch(str(password)):
            yield "password is no SCRAM verifier. Allowed: SCRAM-SHA-256$… Fix: payctl db verifier makes one."
    elif write_only is None and subject.is_on("login") is True:
        yield "logs in without a password. Allowed: a verifier. Fix: set one, or set login to false."


def objects_protected() -> ResourceValidationPolicy:
    """A renamed key in a stack file must not drop a database of payments."""
    about = About(
        name="database-objects-protected",
        display_name="Databases and roles are protected",
        description="Where `required` is set (production), databases, schemas and roles are protected; none cascades.",
        severity=Severity.CRITICAL,
        remediation="Set protect (and retain_on_delete) on the resource.",
        tags=_TAGS,
        schema=PolicyConfigSchema(properties={"required": {"type": "boolean", "default": True}}),
    )
    return _policy(about, _check_protection, "Database", "Schema", "Role", "Publication")


def _check_protection(subject: DatabaseObject, config: Config) -> Iterator[str]:
    if subject.is_on("dropCascade") is True:
        yield "dropCascade is true, which drops what others made in it. Allowed: false. Fix: remove it."
    if read(config, "required") is True and not subject.protect and subject.kind != "Publication":
        yield "is not protected. Allowed: protected. Fix: set protect and retain_on_delete."


_FOREIGN = {
    "Function": "the provider cannot fix its search_path, so that a caller's schema could stand in for ours",
    "ReplicationSlot": "Patroni drops slots that it does not know, and a failover loses them",
    "PhysicalReplicationSlot": "Patroni drops slots that it does not know, and a failover loses them",
}
_ELSEWHERE = {
    "Function": "a migration",
    "ReplicationSlot": "Patroni's configuration (slots)",
    "PhysicalReplicationSlot": "Patroni's configuration (slots)",
}


def kinds_in_their_place() -> ResourceValidationPolicy:
    """What the provider can make and somebody else has to own."""
    about = About(
        name="database-kinds-in-their-place",
        display_name="Functions and slots are declared elsewhere",
        description="Functions belong to migrations and replication slots to Patroni, not to this program.",
        severity=Severity.HIGH,
        remediation="Declare a function in a migration and a slot in Patroni's configuration.",
        tags=_TAGS,
    )
    return _policy(about, _check_kind, *_FOREIGN)


def _check_kind(subject: DatabaseObject, _config: Config) -> Iterator[str]:
    where = _ELSEWHERE[subject.kind]
    yield f"is declared here: {_FOREIGN[subject.kind]}. Allowed: {where}. Fix: move it there."


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [
        roles_limited(),
        no_public_grants(),
        grants_explicit(),
        connections_encrypted(),
        extensions_allowed(),
        passwords_unreadable(),
        objects_protected(),
        kinds_in_their_place(),
    ]
