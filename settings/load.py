"""From a stack's raw configuration to ``Settings``: one place, every problem at once."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from settings.platform import Settings
from settings.problems import CrossFieldError, Problem, RuleError, SettingsError

_SHOWN_VALUE_CHARACTERS = 80
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
        return [p for p in found if p.path != "capacity.entry_service" and not p.path.startswith("cache.users.")]
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
    path = format_path(location)
    if isinstance(cause, RuleError):
        return [Problem(path=path, has_value=False, allowed=cause.why, fix=cause.fix, broken_rule=True)]
    if details["type"] == "missing":
        return [_missing(path, location)]
    if details["type"] == "extra_forbidden":
        return [_unknown_key(path, location)]
    allowed = _allowed(details, location)
    return [Problem(path=path, value=_shown(details["input"]), allowed=allowed, fix=_fix(details))]


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


def _model_at(location: Location) -> type[BaseModel] | None:
    """The model whose fields stand at a path; follows optional models and mappings of models."""
    model: type[BaseModel] | None = Settings
    annotation: Any = None
    for part in location:
        if model is not None and isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
        model = _model_in(annotation)
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [model for argument in get_args(annotation) if (model := _model_in(argument)) is not None]
    return found[-1] if found else None


def _description(location: Location) -> str | None:
    model = _model_at(location[:-1])
    if model is None or not isinstance(location[-1], str):
        return None
    field = model.model_fields.get(location[-1])
    if field is None or field.description is None:
        return None
    return " ".join(field.description.split()).rstrip(".")
