"""The limits of a stack: read from a file and merged with the policies' own defaults, as the engine does it.

The engine accepts a misspelt policy name in silence and then applies the defaults; here it is an error.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jsonschema
from pulumi_policy import EnforcementLevel

from policies.rules import Policy

_FOLDER = Path(__file__).resolve().parent / "config"
_LEVELS = {level.value: level for level in EnforcementLevel}
_ENGINE_KEYS = frozenset({"all", "environments"})


class PolicyConfigError(ValueError):
    """The pack's configuration cannot be used; the message holds every problem, one a line."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What one policy runs with: its level and its properties (schema defaults, then the file's)."""

    level: EnforcementLevel
    properties: Mapping[str, object]


def config_path(stack: str) -> Path:
    """Return the file that holds the pack's limits for a stack, such as `config/dev.json`."""
    return _FOLDER / f"{stack}.json"


def load_config(path: Path) -> Mapping[str, object]:
    """Read a config file. Raises PolicyConfigError if it is missing or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(found.name for found in path.parent.glob("*.json"))) or "none"
        message = f"policy config {path.name}: no such file. Beside it: {known}. Fix: name one, or create it."
        raise PolicyConfigError(message) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        message = f"policy config {path.name}: {where}: {error.msg}. Fix: correct the JSON."
        raise PolicyConfigError(message) from None
    if not isinstance(content, dict):
        message = f"policy config {path.name}: it must be an object with one entry per policy."
        raise PolicyConfigError(message)
    return content


def merge(policies: Sequence[Policy], config: Mapping[str, object]) -> dict[str, PolicySettings]:
    """Return the settings of each policy: its defaults, then `all`, then its own entry; all problems in one
    error.
    """
    problems = _unknown_names(policies, config)
    merged: dict[str, PolicySettings] = {}
    everywhere = config.get("all")
    for policy in policies:
        schema = policy.config_schema
        declared = {} if schema is None else schema.properties
        level = policy.enforcement_level or EnforcementLevel.ADVISORY
        properties: dict[str, object] = {key: value["default"] for key, value in declared.items() if "default" in value}
        for where, entry in (("all", everywhere), (policy.name, config.get(policy.name))):
            if entry is None:
                continue
            given, own, wrong = _entry(where, entry)
            problems += [problem for problem in wrong if problem not in problems]
            level = given or level
            properties |= own
        problems += _schema_problems(policy, properties)
        merged[policy.name] = PolicySettings(level, properties)
    if problems:
        raise PolicyConfigError("\n".join(problems))
    return merged


def _unknown_names(policies: Sequence[Policy], config: Mapping[str, object]) -> list[str]:
    names = [policy.name for policy in policies]
    problems = []
    for key in config:
        if key not in names and key not in _ENGINE_KEYS:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" Allowed: {', '.join(names)}."
            problems.append(f"policy config: there is no policy '{key}'.{hint}")
    return problems


def _entry(where: str, entry: object) -> tuple[EnforcementLevel | None, dict[str, object], list[str]]:
    """Take an entry apart: a level, or an object with a level and properties."""
    if not isinstance(entry, str | Mapping):
        return None, {}, [f"policy config: {where} must be a level or an object."]
    given: Mapping[object, object] = {"enforcementLevel": entry} if isinstance(entry, str) else entry
    properties = {str(key): value for key, value in given.items() if key != "enforcementLevel"}
    if where == "all":
        properties = {}  # the engine takes the level of `all` and nothing else
    written = given.get("enforcementLevel")
    if written is None or str(written) in _LEVELS:
        return _LEVELS.get(str(written)), properties, []
    problem = f"policy config: {where}: the level '{written}' does not exist. Allowed: {', '.join(_LEVELS)}."
    return None, properties, [problem]


def _schema_problems(policy: Policy, properties: Mapping[str, object]) -> list[str]:
    schema = policy.config_schema
    declared = {} if schema is None else schema.properties
    problems = [
        f"policy config: {policy.name}: there is no setting '{key}'. Allowed: {', '.join(declared) or 'none'}."
        for key in properties
        if key not in declared
    ]
    validator = jsonschema.Draft7Validator({"type": "object", "properties": declared})
    for error in validator.iter_errors(properties):
        path = ".".join(str(part) for part in error.absolute_path)
        problems.append(f"policy config: {policy.name}: {path}: {error.message}.")
    return problems
