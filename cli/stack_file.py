"""Stack files as Pulumi keeps them, read without the engine."""

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from settings.problems import Problem, SettingsError

PROJECT = "payments"
PLATFORM_KEY = f"{PROJECT}:platform"


class _UniqueKeys(yaml.SafeLoader):
    """The engine refuses a key that stands twice; PyYAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT002
        """A mapping whose keys are text and stand once."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands twice", key_node.start_mark)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is not text; write it in quotes", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


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
        """Full names of the keys whose values are encrypted, in whole or in part."""
        return frozenset(key for key, value in self.config.items() if _holds_secret(value))

    def as_engine_config(self) -> dict[str, str]:
        """Configuration as the engine hands it to a program: text, objects as JSON, secrets as a placeholder."""
        return {key: self._text(key, value) for key, value in self.config.items()}

    def _text(self, key: str, value: object) -> str:
        if key in self.secret_keys:
            return "[secret]"
        return value if isinstance(value, str) else json.dumps(value)


def read_stack_file(path: Path, stack: str) -> StackFile:
    """Read a stack file. Raises ``SettingsError`` for a missing, unreadable or misspelt file."""
    source = path.name
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 # a SafeLoader
    except FileNotFoundError:
        stacks = sorted(file.name.split(".")[1] for file in path.parent.glob("Pulumi.*.yaml"))
        raise _unreadable(
            source,
            path=source,
            allowed=f"an existing file; stacks here: {', '.join(stacks) or 'none'}",
            fix="name an existing stack with --stack, or a file with --config-file",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        detail = " ".join(str(error).split())
        raise _unreadable(source, path=source, allowed=f"a YAML file ({detail})", fix="correct it") from None
    config = document.get("config") if isinstance(document, Mapping) else None
    if not isinstance(config, Mapping):
        raise _unreadable(
            source,
            path="config",
            allowed="a mapping of configuration keys",
            fix=f"add 'config:' with '{PLATFORM_KEY}:'; payctl config template prints one",
        )
    problems = [problem for key, value in config.items() if (problem := _unknown_key(str(key), value)) is not None]
    if problems:
        raise SettingsError(source, problems)
    return StackFile(stack=stack, source=source, config=config)


def _unreadable(source: str, *, path: str, allowed: str, fix: str) -> SettingsError:
    return SettingsError(source, [Problem(path=path, has_value=False, allowed=allowed, fix=fix)])


def _unknown_key(key: str, value: object) -> Problem | None:
    """Our own keys are the platform's and encrypted secrets; the program would silently ignore any other."""
    if not key.startswith(f"{PROJECT}:") or key == PLATFORM_KEY:
        return None
    if isinstance(value, Mapping) and "secure" in value:
        return None
    close = get_close_matches(key.removeprefix(f"{PROJECT}:"), [PLATFORM_KEY.removeprefix(f"{PROJECT}:")], n=1)
    fix = (
        f"did you mean '{PLATFORM_KEY}'?"
        if close
        else f"move it under '{PLATFORM_KEY}', or encrypt it if it is a secret"
    )
    allowed = f"unknown key; known are {PLATFORM_KEY} and encrypted secrets"
    return Problem(path=f"config.{key}", has_value=False, allowed=allowed, fix=fix, broken_rule=True)


def _holds_secret(value: object) -> bool:
    """The engine treats a key as secret when anything below it is encrypted."""
    if isinstance(value, Mapping):
        return "secure" in value or any(_holds_secret(part) for part in value.values())
    return isinstance(value, list) and any(_holds_secret(part) for part in value)
