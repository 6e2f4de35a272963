"""From a stack's raw configuration to ``Settings``: one place, every problem at once."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from settings.platform import Settings
from settings.problems import CrossFieldError, Problem, RuleError, SettingsError

_SHOWN_VALUE_CHARACTERS = 80
_NAMES_USERS = ("cache.users.", "kafka.users.", "loadtest.targets.", "postgres.users.")
_NAMES_A_SERVICE = re.compile(r"capacity\.entry_service|observability\.objectives\.[^.]+|edge\.routes\.[^.]+\.service")
Location = tuple[int | str, ...]
_LENGTHS = {
    "string_too_short": ("at least", "min_length", "characters"),
    "string_too_long": ("at most", "max_length", "characters"),
    "too_short": ("at least", "min_length", "entries"),
}


def load(raw: Mapping[str, Any] | None, *, source: str) -> Settings:
    """Validate the object that stands under ``payments:platform``.

    ``source`` names the stack file in messages. Raises ``SettingsError`` with every problem that can be told
    from what is valid: rules between parts are tried on the services that are valid by themselves.
    """
    if not isinstance(raw, Mapping):
        problem = Problem(
            path="payments:platform",
            value=raw,
            has_value=raw is not None,
            allowed="a mapping with environment, cluster, services, …",
            fix="start from the template: payctl config template",
        )
        raise SettingsError(source, [problem])
    try:
        return _validate(raw)
    except ValidationError as error:
        problems = [problem for details in error.errors() for problem in _problems(details)]
        problems += _problems_between_parts(raw, error)
        raise SettingsError(source, problems) from None


def _validate(raw: Mapping[str, Any]) -> Settings:
    # JSON mode: strict, and yet an enum may be written as its text, as YAML has to.
    return Settings.model_validate_json(json.dumps(raw, default=str))


def _problems_between_parts(raw: Mapping[str, Any], error: ValidationError) -> Sequence[Problem]:
    """The cross-field rules once more without what failed, so that nothing waits for a second try.

    Unknown keys and whole services can be left out without making the rest invalid; other mistakes cannot.
    """
    remaining = json.loads(json.dumps(raw, default=str))
    for details in error.errors():
        if not _leave_out(remaining, details):
            return []
    try:
        _validate(remaining)
    except ValidationError as second:
        between = [d for d in second.errors() if isinstance(d.get("ctx", {}).get("error"), CrossFieldError)]
        # A service that was left out is not missing.
        found = [problem for details in between for problem in _problems(details)]
        return [p for p in found if not _NAMES_A_SERVICE.fullmatch(p.path) and not p.path.startswith(_NAMES_USERS)]
    return []


def _leave_out(document: dict[str, Any], details: ErrorDetails) -> bool:
    """Remove what an error is about; whether that was possible."""
    location = details["loc"]
    if details["type"] != "extra_forbidden":
        if location[:1] != ("services",) or len(location) < 2:  # noqa: PLR2004 # services.NAME
            return False
        location = location[:2]
    node: Any = document
    for part in location[:-1]:
        if isinstance(node, dict) and part not in node:
            return True  # it went with its service already
        node = node[part]
    node.pop(location[-1], None)
    return True


def _problems(details: ErrorDetails) -> Sequence[Problem]:
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, CrossFieldError):
        return cause.problems
    location = tuple(part for part in details["loc"] if part != "[key]")
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return [_wrong_kind(details, location)]
    path = format_path(_without_tags(location))
    if isinstance(cause, RuleError):
        return [Problem(path=path, has_value=False, allowed=cause.why, fix=cause.fix, broken_rule=True)]
    if details["type"] == "missing":
        return [_missing(path, location)]
    if details["type"] == "extra_forbidden":
        return [_unknown_key(path, location)]
    allowed = _allowed(details, location)
    return [Problem(path=path, value=_shown(details["input"]), allowed=allowed, fix=_fix(details))]


def _wrong_kind(details: ErrorDetails, location: Location) -> Problem:
    """An entry whose ``kind`` chooses none of the models."""
    choices = [str(_kind_of(model)) for model in _models_at(location)]
    kind = details["ctx"].get("tag")
    close = get_close_matches(str(kind), choices, n=1)
    return Problem(
        path=format_path((*location, "kind")),
        value=kind,
        has_value=kind is not None,
        allowed=f"one of {', '.join(choices)}",
        fix=f"did you mean '{close[0]}'?" if close else "say which kind it is",
    )


def _without_tags(location: Location) -> Location:
    """Without the kind that pydantic adds behind an entry's position: it is no key of the stack file."""
    kept: list[int | str] = []
    for index, part in enumerate(location):
        is_kind = any(_kind_of(model) == part for model in _models_at(location[:index]))
        if not is_kind:
            kept.append(part)
    return tuple(kept)


def format_path(location: Location) -> str:
    """``("services", "payment-service", "egress_to", 0)`` → ``services.payment-service.egress_to[0]``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "payments:platform"


def _missing(path: str, location: Location) -> Problem:
    description = _description(location) or "a value"
    return Problem(path=path, has_value=False, allowed=f"required: {description}", fix=f"add '{location[-1]}'")


def _unknown_key(path: str, location: Location) -> Problem:
    model = _model_at(location[:-1])
    known = sorted(model.model_fields) if model else []
    close = get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    fix = f"did you mean '{close[0]}'?" if close else "remove it"
    return Problem(
        path=path, has_value=False, allowed=f"unknown key; known are {', '.join(known)}", fix=fix, broken_rule=True
    )


def _allowed(details: ErrorDetails, location: Location) -> str:
    context = details.get("ctx", {})
    kind = details["type"]
    bounds = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
    if kind in bounds:
        words, key = bounds[kind]
        return f"{words} {context[key]}"
    if kind in _LENGTHS:
        words, key, noun = _LENGTHS[kind]
        return f"{words} {context[key]} {noun}"
    if kind == "string_pattern_mismatch":
        description = _description(location)
        return f"text that matches {context['pattern']}" + (f" ({description})" if description else "")
    if kind == "enum":
        return str(context["expected"])
    if kind == "value_error":
        return str(context["error"])
    return details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


def _fix(details: ErrorDetails) -> str:
    expected = str(details.get("ctx", {}).get("expected", ""))
    if details["type"] == "enum" and isinstance(details["input"], str):
        choices = [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]
        if close := get_close_matches(details["input"], choices, n=1):
            return f"did you mean '{close[0]}'?"
    if details["type"] == "int_type" and isinstance(details["input"], str):
        return "write it without quotes"
    if details["type"] == "string_type" and isinstance(details["input"], int | float):
        return "write it in quotes"
    return "change the kind of value" if details["type"].endswith("_type") else "change it"


def _shown(value: object) -> object:
    text = repr(value)
    return value if len(text) <= _SHOWN_VALUE_CHARACTERS else text[:_SHOWN_VALUE_CHARACTERS] + "…"


def _models_at(location: Location) -> list[type[BaseModel]]:
    """The models that may stand at a path; several where an entry's ``kind`` has yet to choose."""
    models: list[type[BaseModel]] = [Settings]
    for part in location:
        of_kind = [model for model in models if _kind_of(model) == part]
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if of_kind:
            models = of_kind
        elif fields:
            models = _models_in(fields[0].annotation)
    return models


def _model_at(location: Location) -> type[BaseModel] | None:
    models = _models_at(location)
    return models[-1] if models else None


def _kind_of(model: type[BaseModel]) -> object:
    """What ``kind`` chooses the model; ``None`` for one that has none."""
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field is not None and get_origin(field.annotation) is Literal else None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _description(location: Location) -> str | None:
    model = _model_at(location[:-1])
    if model is None or not isinstance(location[-1], str):
        return None
    field = model.model_fields.get(location[-1])
    if field is None or field.description is None:
        return None
    return " ".join(field.description.split()).rstrip(".")
