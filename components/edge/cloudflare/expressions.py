"""Expressions of Cloudflare's Rules language, built from parts that cannot break out of their quotes.

Reference: developers.cloudflare.com/ruleset-engine/rules-language. Only what this project needs; the policy pack
has an evaluator for the same subset.
"""

from collections.abc import Iterable

PATH = "http.request.uri.path"
RAW_PATH = "raw.http.request.uri.path"
HOST = "http.host"
METHOD = "http.request.method"
COOKIE = "http.cookie"
CODE = "http.response.code"
MEDIA_TYPE = "http.response.content_type.media_type"
_REQUEST_HEADER_NAMES = "http.request.headers.names"
_RESPONSE_HEADER_NAMES = "http.response.headers.names"


def text(value: str) -> str:
    """A quoted string. Raises ``ValueError`` for control characters, which no name or path of ours has."""
    if not value.isprintable():
        message = f"{value!r} cannot stand in an expression"
        raise ValueError(message)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def equals(field: str, value: str) -> str:
    """The field is exactly this text."""
    return f"{field} eq {text(value)}"


def one_of(field: str, values: Iterable[str]) -> str:
    """The field is one of these texts."""
    return f"{field} in {{{' '.join(text(value) for value in values)}}}"


def contains(field: str, part: str) -> str:
    """The field has this text somewhere."""
    return f"{field} contains {text(part)}"


def below(path: str) -> str:
    """The path lies below ``path``: ``/docs`` holds ``/docs/a`` and neither ``/docs`` nor ``/docsets``."""
    return f"starts_with({PATH}, {text(f'{path}/')})"


def has_request_header(name: str) -> str:
    """The request has the header, with whatever value. Names are compared in lower case."""
    return f"any(lower({_REQUEST_HEADER_NAMES}[*])[*] eq {text(name.lower())})"


def has_response_header(name: str) -> str:
    """The response has the header, with whatever value. Names are compared in lower case."""
    return f"any(lower({_RESPONSE_HEADER_NAMES}[*])[*] eq {text(name.lower())})"


def status_at_least(code: int) -> str:
    """The response's status code is this or higher."""
    return f"{CODE} ge {code}"


def both(*parts: str) -> str:
    """All of the parts hold."""
    return " and ".join(_grouped(part) for part in parts)


def either(*parts: str) -> str:
    """At least one of the parts holds."""
    return " or ".join(_grouped(part) for part in parts)


def negated(part: str) -> str:
    """The part does not hold."""
    return f"not {_grouped(part)}"


def _grouped(part: str) -> str:
    """Parentheses around every combination, so that no reader needs to know which operator binds tighter."""
    return f"({part})" if any(word in part for word in (" and ", " or ", "not ")) else part
