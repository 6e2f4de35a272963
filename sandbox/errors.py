"""The one exception that this room raises for what a person can act on."""

from collections import deque
from pathlib import Path

LOG_TAIL_LINES = 20


class SandboxError(Exception):
    """A failure with the next thing to try and, where a log exists, its last lines.

    ``str(error)`` is the whole message, ready to be printed without a traceback.
    """

    def __init__(self, what: str, *, next_step: str, log: Path | None = None) -> None:
        self.what = what
        self.next_step = next_step
        self.log = log
        self.log_tail = tail(log) if log is not None else []
        self.shown = False
        """Whether a progress report has printed the message already."""
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.log is not None:
            lines.append(f"last lines of {self.log}:" if self.log_tail else f"{self.log} is empty")
            lines.extend(f"  | {line}" for line in self.log_tail)
        lines.append(f"Next: {self.next_step}")
        return "\n".join(lines)


def tail(path: Path, lines: int = LOG_TAIL_LINES) -> list[str]:
    """The last lines of a log; none when it does not exist."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return [line.rstrip("\n") for line in deque(stream, maxlen=lines)]
    except FileNotFoundError:
        return []
