"""etcd's users: one for each shard, which sees its own prefix only, and root for the snapshots and for this."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .etcd import ROOT, Etcd, credentials, prefix_range
from .requests import Client, RequestError, read_password
from .waiting import Deadline


@dataclass(frozen=True, slots=True)
class User:
    """A user with a password and the prefix that it reads and writes."""

    name: str
    prefix: str
    phrase: str


def main() -> None:
    """The command ``etcd-users``; ``PG_ETCD_USERS`` is ``name=prefix=password file``, separated by commas."""
    environment = os.environ
    etcd = Etcd(Client.of(ca_file=environment["PG_CA_FILE"]), environment["PG_ETCD"].split(","))
    users = []
    for text in environment["PG_ETCD_USERS"].split(","):
        name, prefix, file = text.split("=")
        users.append(User(name, prefix, read_password(file)))
    root = read_password(environment["PG_PASSWORD_FILE"])
    deadline = Deadline(float(environment["PG_DEADLINE_SECONDS"]))
    deadline.wait_for("etcd to answer", lambda: _answers(etcd))
    ensure_users(etcd, users, root)


def ensure_users(etcd: Etcd, users: list[User], root_phrase: str) -> None:
    """Make users, roles and permissions what they should be, then ask everybody for a password."""
    guarded = etcd.is_guarded()
    if guarded:
        etcd = etcd.logged_in(ROOT, root_phrase)
    for user in [User(ROOT, "", root_phrase), *users]:
        # The root role exists from the moment on when users are asked for.
        _ensure(etcd, "auth/role/add", {"name": user.name})
        if not _ensure(etcd, "auth/user/add", credentials(user.name, user.phrase)):
            etcd.call("auth/user/changepw", credentials(user.name, user.phrase))
            if guarded and user.name == ROOT:
                etcd = etcd.logged_in(ROOT, root_phrase)  # a changed password ends the session
        _ensure(etcd, "auth/user/grant", {"user": user.name, "role": user.name})
        if user.prefix:
            permission = {"permType": "READWRITE", **prefix_range(user.prefix)}
            etcd.call("auth/role/grant", {"name": user.name, "perm": permission})
    if not guarded:
        etcd.call("auth/enable")
    print(f"etcd-users: {', '.join(user.name for user in users)} as desired", flush=True)


def _ensure(etcd: Etcd, path: str, body: Mapping[str, object]) -> bool:
    """Whether it was made now; it may be there already."""
    try:
        etcd.call(path, body)
    except RequestError as error:
        if "already" not in str(error):
            raise
        return False
    return True


def _answers(etcd: Etcd) -> bool:
    try:
        etcd.is_guarded()
    except RequestError:
        return False
    return True
