"""etcd's JSON gateway: every key and value in base64, errors as gRPC codes (etcd.io, "gRPC gateway")."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .requests import Client, RequestError

ROOT = "root"


@dataclass(frozen=True, slots=True)
class Etcd:
    """A cluster that is reached through whichever member answers."""

    client: Client
    urls: Sequence[str]

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call; a refusal is final, a member that does not answer is passed over."""
        last: RequestError | None = None
        for url in self.urls:
            try:
                answer: dict[str, Any] = self.client.send("POST", f"{url}/v3/{path}", dict(body or {}))
            except RequestError as error:
                if error.status and error.status < 500:  # noqa: PLR2004 # a refusal
                    raise
                last = error
            else:
                return answer
        message = f"no member of etcd answers {path}; the last one said: {last}"
        raise RequestError(message)

    def logged_in(self, user: str, phrase: str) -> "Etcd":
        """The same cluster as a user, whose token every further call carries."""
        answer = self.call("auth/authenticate", credentials(user, phrase))
        return Etcd(self.client.with_header("Authorization", str(answer["token"])), self.urls)

    def is_guarded(self) -> bool:
        """Whether users are asked for their password."""
        try:
            return bool(self.call("auth/status").get("enabled", False))
        except RequestError as error:
            if "user name is empty" in str(error):
                return True
            raise


def credentials(user: str, phrase: str) -> dict[str, str]:
    """A user's name and password as the gateway takes them."""
    body = {"name": user}
    body["password"] = phrase
    return body


def prefix_range(prefix: str) -> dict[str, str]:
    """All keys that begin with ``prefix``, as the gateway writes a range: the end is the next prefix."""
    end = prefix.encode()[:-1] + bytes([prefix.encode()[-1] + 1])
    return {"key": encoded(prefix.encode()), "range_end": encoded(end)}


def encoded(value: bytes) -> str:
    """Bytes as the gateway takes them."""
    return base64.b64encode(value).decode()
