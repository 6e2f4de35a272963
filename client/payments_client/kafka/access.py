"""Who a service is to the brokers: read from what the platform mounts in its pod."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from payments_client.kafka.contract import AUTHORITY_VARIABLE, PASSWORD_VARIABLE, USER_VARIABLE
from payments_client.kafka.errors import AccessError


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A user of the brokers and the authority that signs the brokers' certificates."""

    username: str
    password: str = field(repr=False)
    authority_file: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read ``KAFKA_USERNAME`` and the files that ``KAFKA_PASSWORD_FILE`` and ``KAFKA_CA_FILE`` name.

        Raises ``AccessError`` with everything that is missing.
        """
        wanted = (USER_VARIABLE, f"{PASSWORD_VARIABLE}_FILE", f"{AUTHORITY_VARIABLE}_FILE")
        missing = [name for name in wanted if not environment.get(name)]
        if missing:
            raise AccessError(f"the environment lacks {', '.join(missing)}; the platform sets them for users of Kafka")
        user, password, authority = (environment[name] for name in wanted)
        unreadable = [path for path in (password, authority) if not Path(path).is_file()]
        if unreadable:
            raise AccessError(f"no such file: {', '.join(unreadable)}; look at the pod's mounted secrets")
        text = Path(password).read_text(encoding="utf-8").rstrip("\n")
        return cls(username=user, password=text, authority_file=Path(authority))
