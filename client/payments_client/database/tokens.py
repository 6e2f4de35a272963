"""Read your own writes: a write returns a token, and a read that carries it sees at least that write."""

import re
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

T = TypeVar("T")
_FORM = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})", re.IGNORECASE)
_PRIMARY = "primary"


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A position in the write-ahead log (bytes), or ``None``: only the primary is known to have the write.

    Hand it to the next request of the same user (cookie, header) as ``str(token)``; ``Token.parse`` reads it.
    """

    lsn: int | None

    def __str__(self) -> str:
        return _PRIMARY if self.lsn is None else f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``16/B374D848`` or ``primary``. Raises ``ValueError``."""
        if text == _PRIMARY:
            return cls(lsn=None)
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"'{text[:40]}' is no token; expected for example 16/B374D848, or {_PRIMARY}")
        return cls(lsn=(int(found[1], 16) << 32) + int(found[2], 16))

    def seen_at(self, position: str | None, *, in_recovery: bool) -> bool:
        """Whether a server that has replayed up to ``position`` has the write. A primary always has."""
        if not in_recovery:
            return True
        if self.lsn is None or position is None:
            return False
        replayed = type(self).parse(position).lsn
        return replayed is not None and replayed >= self.lsn


@dataclass(frozen=True, kw_only=True, slots=True)
class Written(Generic[T]):
    """What a committed transaction returned, and the token for reads that must see it."""

    value: T
    token: Token
