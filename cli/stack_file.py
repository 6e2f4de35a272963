"""Stack files as Pulumi keeps them, read without the engine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from settings.problems import Problem, SettingsError

PROJECT = "payments"
PLATFORM_KEY = f"{PROJECT}:platform"


@dataclass(frozen=True, kw_only=True, slots=True)
class StackFile:
    """The ``config`` part of one ``Pulumi.<stack>.yaml``."""

    stack: str
    source: str
    """File name as messages show it."""
    config: Mapping[str, Any]

    @property
    def platform(self) -> Any:
        """The object under ``payments:platform``, not validated yet."""
        return self.config.get(PLATFORM_KEY)

    @property
    def secret_keys(self) -> frozenset[str]:
        """Full names of the keys whose values are encrypted."""
        return frozenset(key for key, value in self.config.items() if isinstance(value, Mapping) and "secure" in value)

    def as_engine_config(self) -> dict[str, str]:
        """Configuration as the engine hands it to a program: text, objects as JSON, secrets as a placeholder."""
        return {key: self._text(key, value) for key, value in self.config.items()}

    def _text(self, key: str, value: object) -> str:
        if key in self.secret_keys:
            return "[secret]"
        return value if isinstance(value, str) else json.dumps(value)


def read_stack_file(path: Path, stack: str, *, referenced: frozenset[str] = frozenset()) -> StackFile:
    """Read a stack file. Raises ``SettingsError`` for a missing, unreadable or misspelt file.

    ``referenced`` names further ``payments:`` keys that are allowed (the stack's own secrets).
    """
    source = path.name
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        stacks = sorted(file.name.split(".")[1] for file in path.parent.glob("Pulumi.*.yaml"))
        problem = Problem(
            path=str(path), has_value=False, allowed=f"an existing file (stacks here: {', '.join(stacks) or 'none'})",
            fix="name an existing stack with --stack, or a file with --config-file",
        )  # fmt: skip
        raise SettingsError(source, [problem]) from None
    except yaml.YAMLError as error:
        problem = Problem(path=str(path), has_value=False, allowed=f"YAML ({error})", fix="correct the syntax")
        raise SettingsError(source, [problem]) from None
    config = document.get("config") if isinstance(document, Mapping) else None
    if not isinstance(config, Mapping):
        problem = Problem(
            path="config",
            has_value=False,
            allowed="a mapping of configuration keys",
            fix=f"add 'config:' with '{PLATFORM_KEY}:'",
        )
        raise SettingsError(source, [problem])
    _refuse_unknown_keys(source, config, referenced)
    return StackFile(stack=stack, source=source, config=config)


def _refuse_unknown_keys(source: str, config: Mapping[str, Any], referenced: frozenset[str]) -> None:
    problems = []
    for key, value in config.items():
        if not str(key).startswith(f"{PROJECT}:") or key == PLATFORM_KEY or key in referenced:
            continue
        if isinstance(value, Mapping) and "secure" in value:
            continue  # a secret of the stack; whether a service refers to it is the service's business
        close = get_close_matches(str(key), [PLATFORM_KEY], n=1)
        fix = f"did you mean '{PLATFORM_KEY}'?" if close else f"move it under '{PLATFORM_KEY}' or remove it"
        problems.append(
            Problem(
                path=f"config.{key}",
                has_value=False,
                allowed=f"unknown key; known is {PLATFORM_KEY}",
                fix=fix,
                broken_rule=True,
            )
        )
    if problems:
        raise SettingsError(source, problems)
