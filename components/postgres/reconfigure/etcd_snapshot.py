"""A copy of etcd's keys with its own checksum verified, and only the newest ones kept."""

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import BinaryIO

from .etcd import ROOT, Etcd
from .requests import Client, RequestError, read_password

_HASH_BYTES = 32
_PAGE_BYTES = 512


def main() -> None:
    """The command ``etcd-snapshot``."""
    environment = os.environ
    etcd = Etcd(Client.of(ca_file=environment["PG_CA_FILE"]), environment["PG_ETCD"].split(","))
    etcd = etcd.logged_in(ROOT, read_password(environment["PG_PASSWORD_FILE"]))
    name = time.strftime("snapshot-%Y%m%dT%H%M%SZ.db", time.gmtime())
    path = save(etcd, Path(environment["PG_SNAPSHOT_FOLDER"]), name)
    gone = prune(path.parent, int(environment["PG_SNAPSHOTS_KEPT"]))
    print(f"etcd-snapshot: {path.name}, {path.stat().st_size} bytes; removed {len(gone)}", flush=True)


def save(etcd: Etcd, folder: Path, name: str) -> Path:
    """Stream the snapshot to a file that gets its name only when its checksum is right."""
    partial = folder / f"{name}.part"
    try:
        with partial.open("wb") as file:
            _copy(etcd, file)
        verify(partial)
        return partial.rename(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def _copy(etcd: Etcd, file: BinaryIO) -> None:
    last: RequestError | None = None
    for url in etcd.urls:
        try:
            answer = etcd.client.open("POST", f"{url}/v3/maintenance/snapshot", {}, timeout_seconds=60.0)
        except RequestError as error:
            last = error
            continue
        with answer:
            for line in answer:
                part = json.loads(line)
                if "error" in part:
                    message = f"etcd ended the snapshot: {part['error'].get('message', 'no reason given')}"
                    raise RequestError(message)
                file.write(base64.b64decode(part["result"].get("blob", "")))
        return
    message = f"no member of etcd gives a snapshot; the last one said: {last}"
    raise RequestError(message)


def verify(path: Path) -> None:
    """A snapshot ends with the SHA-256 of all that stands before it (etcd's ``snapshot restore`` asks the same)."""
    size = path.stat().st_size
    if size <= _HASH_BYTES or size % _PAGE_BYTES != _HASH_BYTES:
        message = f"the snapshot is cut off: {size} bytes"
        raise RequestError(message)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = size - _HASH_BYTES
        while left:
            part = file.read(min(left, 2**20))
            digest.update(part)
            left -= len(part)
        if file.read() != digest.digest():
            message = "the snapshot's checksum is wrong"
            raise RequestError(message)


def prune(folder: Path, kept: int) -> list[Path]:
    """Remove all but the newest; names sort by time."""
    old = sorted(folder.glob("snapshot-*.db"))[:-kept]
    for path in old:
        path.unlink()
    return old
