"""What the real controller says about each sync: its log, one JSON object a line, with times to the microsecond."""

import json
import re
import threading
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_TARGET = re.compile(r"for Deployment/([^/]+)/[^:]+: (.*)", re.DOTALL)


class Said(StrEnum):
    """The lines that matter."""

    PROPOSED = "proposed"
    """What the metrics ask for, before windows, paces and bounds."""
    RESCALED = "rescaled"
    KEPT = "kept"
    FAILED = "failed"
    """No count could be computed: the scale stays."""


ENDS = frozenset({Said.RESCALED, Said.KEPT, Said.FAILED})
"""Each sync ends with exactly one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line about one autoscaler."""

    said: Said
    namespace: str
    at_seconds: float
    """Unix time."""
    replicas: int | None = None
    current: int | None = None
    text: str = ""


class ControllerLog:
    """Reads on from where it stopped; safe for many threads."""

    def __init__(self, path: Path) -> None:
        """``path`` is the controller manager's log, with ``--logging-format=json -v=4``."""
        self._path = path
        self._offset = 0
        self._lines: dict[str, list[Line]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, namespace: str) -> list[Line]:
        """Everything said about a namespace since the last call."""
        with self._lock:
            self._read_on()
            return self._lines.pop(namespace, [])

    def _read_on(self) -> None:
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            complete, newline, _ = stream.read().rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        for raw in complete.splitlines():
            line = _parse(raw)
            if line is not None:
                self._lines[line.namespace].append(line)


def _parse(raw: bytes) -> Line | None:
    if not raw.startswith(b"{"):
        return None
    entry: dict[str, Any] = json.loads(raw)
    at_seconds, message = float(entry.get("ts", 0)) / 1000, entry.get("msg", "")
    if message.startswith("Proposing desired replicas"):
        return _line(Said.PROPOSED, entry["scaleTarget"], at_seconds, entry, text=entry.get("metric", ""))
    if message == "Decided not to scale":
        return _line(Said.KEPT, entry["scaleTarget"], at_seconds, entry)
    if message == "Successfully rescaled":
        namespace = entry["HPA"]["namespace"]
        current, desired = int(entry["currentReplicas"]), int(entry["desiredReplicas"])
        return Line(
            said=Said.RESCALED,
            namespace=namespace,
            at_seconds=at_seconds,
            replicas=desired,
            current=current,
            text=entry.get("reason", ""),
        )
    found = _TARGET.search(str(entry.get("err", ""))) if message == "Unhandled Error" else None
    if found and "failed to compute desired number of replicas" in entry["err"]:
        return Line(said=Said.FAILED, namespace=found.group(1), at_seconds=at_seconds, text=found.group(2))
    return None


def _line(said: Said, target: str, at_seconds: float, entry: dict[str, Any], *, text: str = "") -> Line:
    """``target`` is written ``Deployment/NAMESPACE/NAME``."""
    namespace = target.split("/")[1]
    return Line(
        said=said, namespace=namespace, at_seconds=at_seconds, replicas=int(entry["desiredReplicas"]), text=text
    )
