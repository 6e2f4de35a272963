"""The verifier of a password that PostgreSQL stores: who knows it can check a password and cannot log in with it."""

import base64
import hashlib
import hmac
import secrets

_ITERATIONS = 4096  # PostgreSQL's own number; more would slow every new connection
_SALT_BYTES = 16


def verifier(password: str, salt: bytes | None = None) -> str:
    """``SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`` as in RFC 5803.

    Raises ``ValueError`` for an empty password and for characters that would have to be normalised first.
    """
    if not password or not password.isascii() or not password.isprintable():
        raise ValueError("a password has at least one character, and printable ASCII characters only")
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(_hmac(salted, b'Server Key'))}"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
