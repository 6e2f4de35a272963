"""Forget a shard whose members are all gone: the next one that starts leads, whatever the last primary had."""

import os

from .etcd import Etcd, encoded, prefix_range
from .requests import Client, read_password
from .waiting import Deadline

_LEASE_SECONDS = 300.0
"""A lease, 20 to 120 s, and time for the last pod to end."""


def main() -> None:
    """The command ``etcd-forget``."""
    environment = os.environ
    etcd = Etcd(Client.of(ca_file=environment["PG_CA_FILE"]), environment["PG_ETCD"].split(","))
    etcd = etcd.logged_in(environment["PG_ETCD_USER"], read_password(environment["PG_PASSWORD_FILE"]))
    forget(etcd, environment["PG_ETCD_PREFIX"], Deadline(float(environment["PG_DEADLINE_SECONDS"])))


def forget(etcd: Etcd, prefix: str, deadline: Deadline) -> int:
    """Delete all keys below ``prefix``, once no member keeps one there; how many there were.

    Raises ``DeadlineError`` while a member still runs: it would write its keys again.
    """
    print(f"etcd-forget: wait until nobody holds a lease below {prefix}", flush=True)
    deadline.wait_for("all members to be gone", lambda: not _held(etcd, prefix), at_most_seconds=_LEASE_SECONDS)
    gone = int(etcd.call("kv/deleterange", prefix_range(prefix)).get("deleted", 0))
    print(f"etcd-forget: {gone} keys deleted", flush=True)
    return gone


def _held(etcd: Etcd, prefix: str) -> bool:
    """Whether a key is there that ends with its member's lease: of the primary, or of any member."""
    wanted = ({"key": encoded(f"{prefix}leader".encode())}, prefix_range(f"{prefix}members/"))
    return any(int(etcd.call("kv/range", {**one, "count_only": True}).get("count", 0)) for one in wanted)
