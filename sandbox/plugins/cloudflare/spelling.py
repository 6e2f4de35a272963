"""Between the provider's spelling of a property (``edgeTtl``) and the API's (``edge_ttl``)."""

import re
from collections.abc import Callable
from typing import Any, Final

_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_UNDERSCORE = re.compile(r"_([a-z0-9])")
# Below these the keys are data: names of headers, and the value of a setting as the API wants it.
_DATA: Final = frozenset({"headers", "value"})
# Directives of Cache-Control are written as in the header.
_DIRECTIVES: Final = {
    "maxAge": "max-age", "mustRevalidate": "must-revalidate", "mustUnderstand": "must-understand",
    "noCache": "no-cache", "noStore": "no-store", "noTransform": "no-transform",
    "proxyRevalidate": "proxy-revalidate", "sMaxage": "s-maxage", "staleIfError": "stale-if-error",
    "staleWhileRevalidate": "stale-while-revalidate",
}  # fmt: skip
# The SDK writes lists in the plural.
_PLURALS: Final = {"statusCodeTtls": "status_code_ttl"}
_BY_API: Final = {api: ours for ours, api in (*_DIRECTIVES.items(), *_PLURALS.items())}


def to_api(value: Any) -> Any:
    """The value with the API's keys; nulls are left out."""
    return _spelt(value, _api_key)


def from_api(value: Any) -> Any:
    """The value with the provider's keys."""
    return _spelt(value, _our_key)


def _spelt(value: Any, key: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {
            key(name): part if name in _DATA and isinstance(part, dict) else _spelt(part, key)
            for name, part in value.items()
            if part is not None
        }
    if isinstance(value, list):
        return [_spelt(part, key) for part in value]
    return value


def _api_key(name: str) -> str:
    return _DIRECTIVES.get(name) or _PLURALS.get(name) or _HUMP.sub(r"\1_\2", name).lower()


def _our_key(name: str) -> str:
    return _BY_API.get(name) or _UNDERSCORE.sub(lambda found: found[1].upper(), name)
