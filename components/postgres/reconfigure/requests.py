"""JSON over HTTPS with a verified server; errors name the address and the answer, never a header."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 10.0
_SHOWN_CHARACTERS = 200


class RequestError(Exception):
    """A request that was not answered, or was refused; ``status`` is 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Client:
    """How requests are made: whom to trust, who one is."""

    context: ssl.SSLContext
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, *, ca_file: str, cert_file: str | None = None, key_file: str | None = None) -> "Client":
        """Trusts one authority; shows a certificate where one is given."""
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file)
        return cls(context)

    def with_login(self, user: str, phrase: str) -> "Client":
        """Log in with HTTP's basic scheme."""
        basic = base64.b64encode(f"{user}:{phrase}".encode()).decode()
        return self.with_header("Authorization", f"Basic {basic}")

    def with_header(self, name: str, value: str) -> "Client":
        """Send a header with each request."""
        return Client(self.context, {**self.headers, name: value})

    def send(self, method: str, url: str, body: object = None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
        """The answer as JSON, or as text where it is none. Raises ``RequestError``."""
        with self.open(method, url, body, timeout_seconds=timeout_seconds) as answer:
            content = answer.read()
        try:
            return json.loads(content or b"null")
        except ValueError:
            return content.decode(errors="replace")

    def open(self, method: str, url: str, body: object = None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
        """The open answer, for one that does not fit into memory."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 # https only
        try:
            return urllib.request.urlopen(request, timeout=timeout_seconds, context=self.context)  # noqa: S310
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:_SHOWN_CHARACTERS]
            message = f"{method} {url}: {error.code} {said}"
            raise RequestError(message, error.code) from None
        except (OSError, ValueError) as error:
            message = f"{method} {url}: {type(error).__name__}: {error}"
            raise RequestError(message) from None


def read_password(path: str) -> str:
    """A password from its file, without the line's end."""
    return Path(path).read_text(encoding="utf-8").rstrip("\n")
