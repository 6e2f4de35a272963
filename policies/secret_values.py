"""No password, key, token or card number where everyone who may read a Deployment or ConfigMap can read it.

The rules read values and never repeat them: a message names the object and the field only.
The module is not called `secrets` because the pack's folder is on the module path of its process, where that
name would hide the standard library's.

Not determinable here: whether the data of a Secret object was given as a Pulumi secret. The SDK hands plain
text to a validation; pulumi_kubernetes itself marks `data` and `stringData` as secret, whatever the program
passes.
"""

import re
from collections.abc import Iterator

from pulumi_policy import ResourceValidationPolicy, Severity

from policies.objects import POD_KINDS, KubernetesObject, containers
from policies.rules import About, Config, object_policy
from policies.values import UNKNOWN, elements, fields, read, show, text

_SECRET_WORDS = frozenset(
    {
        "apikey", "credential", "credentials", "passphrase", "passwd", "password", "pwd", "secret", "secrets",
        "token",
    }
)  # fmt: skip
_KEY_WORDS = frozenset({"key", "keys"})
# Keys that identify instead of unlock.
_PUBLIC_KEYS = frozenset(
    {
        "cache", "foreign", "hash", "idempotency", "message", "partition", "primary", "public", "routing",
        "shard", "sort",
    }
)  # fmt: skip
# A name that ends so describes a secret (where it lies, how long it lives) and does not hold one.
_DESCRIBING_WORDS = frozenset(
    {
        "algorithm", "audience", "class", "count", "days", "dir", "enabled", "encryption", "file", "header",
        "hours", "issuer", "length", "method", "minutes", "mode", "ms", "name", "names", "path", "policy",
        "prefix", "provider", "ref", "required", "rotation", "scope", "seconds", "size", "ttl", "type", "uri",
        "url", "version",
    }
)  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ASSIGNMENT = re.compile(r"([A-Za-z][\w.\-]*)[\"']?[ \t]*[:=][ \t]*(?:\"([^\"\n]*)\"|'([^'\n]*)'|([^\s\"',;}\]]*))")
# References that are resolved at run time, and ways to say "none".
_NO_LITERAL = re.compile(r"|\$.*|%[({].*|\{\{.*|<.*>|null|None|none|true|false|[{\[].*")
_SHAPES = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a cloud access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a signed token", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*")),
    ("a URL with a password", re.compile(r"\b[a-z][a-z0-9+.\-]*://[^/\s:@]*:(?![${%<])[^/\s@]+@")),
)
_CARD = re.compile(r"(?<![\w.\-])\d(?:[ \-]?\d){12,18}(?![\w\-])")
# Issuer ranges with their lengths: a timestamp or an order number of the same length does not start like
# this.
_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12}(?:\d{3})?|35\d{14}"
)
_REMEDIATION = (
    "Put the value into a Secret (from Pulumi's secret config or an external store) and reference it by name."
)


def secret_word(name: str) -> str | None:
    """Return the word by which a field of this name is meant to hold a secret, such as password or key; or None."""
    words = [found.group().lower() for found in _WORD.finditer(name)]
    if not words or words[-1] in _DESCRIBING_WORDS:
        return None
    for word in words:
        if word in _SECRET_WORDS:
            return word
        if word.endswith("password"):  # PGPASSWORD
            return "password"
    is_key = words[-1] in _KEY_WORDS and len(words) > 1 and words[-2] not in _PUBLIC_KEYS
    return "key" if is_key else None


def is_card_number(digits: str) -> bool:
    """Tell whether a run of digits is a card number: an issuer's range and the Luhn check sum."""
    if _ISSUERS.fullmatch(digits) is None:
        return False
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - the sum of the two digits
    return total % 10 == 0


def secret_in_text(content: str) -> str | None:
    """Return what kind of secret a text holds, or None. Never returns a part of the text."""
    for kind, shape in _SHAPES:
        if shape.search(content):
            return kind
    for found in _CARD.finditer(content):
        if is_card_number(re.sub(r"[ \-]", "", found.group())):
            return "a card number"
    for found in _ASSIGNMENT.finditer(content):
        value = next((part for part in found.groups()[1:] if part is not None), "")
        word = secret_word(found.group(1))
        if word is not None and _is_literal(value):
            return f"a value for a {word}"
    return None


def _is_literal(value: str) -> bool:
    return _NO_LITERAL.fullmatch(value.strip()) is None


def no_secrets_in_pods() -> ResourceValidationPolicy:
    """Environment values and arguments are readable by everyone who may read the workload."""
    about = About(
        name="no-secrets-in-pods",
        display_name="No secrets in pods",
        description=("Environment values, commands and arguments of containers hold no secret and no card number."),
        severity=Severity.CRITICAL,
        remediation=_REMEDIATION,
        tags=("secrets",),
        pci="8.6.2",
        pci_text="Passwords of application and system accounts are not hard coded",
    )
    return object_policy(about, _check_pods, POD_KINDS)


def _check_pods(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    for container in containers(subject.pod_spec):
        for variable in elements(read(container.spec, "env")):
            name, value = text(read(variable, "name")), text(read(variable, "value"))
            if name is None or not value:
                continue
            kind = "a literal secret" if secret_word(name) and _is_literal(value) else secret_in_text(value)
            if kind is not None:
                yield (
                    f"{container.title}: environment variable {show(name)} holds {kind}. Allowed: valueFrom"
                    " a Secret."
                    " Fix: reference it with secretKeyRef."
                )
        for field in ("command", "args"):
            words = [text(word) or "" for word in elements(read(container.spec, field))]
            kind = secret_in_text("\n".join(words))
            if kind is not None:
                yield (
                    f"{container.title}: {field} holds {kind}. Allowed: no secret on a command line."
                    " Fix: mount a Secret and pass its path."
                )


def no_secrets_in_config_maps() -> ResourceValidationPolicy:
    """A ConfigMap is neither encrypted nor guarded by its own permission."""
    about = About(
        name="no-secrets-in-config-maps",
        display_name="No secrets in ConfigMaps",
        description="The data of a ConfigMap holds no secret and no card number.",
        severity=Severity.CRITICAL,
        remediation=_REMEDIATION,
        tags=("secrets",),
        pci="8.6.2",
        pci_text="Passwords of application and system accounts are not hard coded (card numbers: 3.5.1)",
    )
    return object_policy(about, _check_config_maps, frozenset({"ConfigMap"}))


def _check_config_maps(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    for key, value in fields(read(subject.props, "data")).items():
        content = text(value)
        if value is UNKNOWN or not content:
            continue
        kind = "a literal secret" if secret_word(key) and _is_literal(content) else secret_in_text(content)
        if kind is not None:
            yield f"key {show(key)} holds {kind}. Allowed: configuration only. Fix: move it to a Secret."


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [no_secrets_in_pods(), no_secrets_in_config_maps()]
