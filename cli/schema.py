"""The settings as JSON Schema and as a commented template, both from the models themselves."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings import Settings

# What the template writes for fields that have no default: the plan's payment service, cut to its essence.
_EXAMPLES: Mapping[str, str] = {
    "environment": "dev",
    "kube_context": "my-cluster",
    "zones": "[zone-a, zone-b, zone-c]",
    "ports": "[8080]",
    "partitions": "24",
    "key": "user_id",
    "owner": "payments",
    "pci_scope": "cde",
    "image": "payment-service:1.0.0",
    "min_replicas": "3",
    "max_replicas": "20",
    "add_above_lag_per_consumer": "1000",
    "remove_below_lag_per_consumer": "500",
    "messages_per_second_per_consumer": "300",
    "cpu": "500m",
    "memory": "1Gi",
    "name": "payment-processors",
    "topic": "payment-events",
    "group": "payment-service-group",
    "env": "DB_PASSWORD",
}
_KEYS: Mapping[str, str] = {"services": "payment-service", "topics": "payment-events", "peers": "kafka"}
# Optional fields that the template fills, because settings without them would be refused or say nothing.
_FILLED_OPTIONALS: Mapping[str, str] = {
    "cpu_target_percent": "70",
    "pod_labels": "{app: my-peer}",
}
_REQUIRED_BLOCKS = frozenset({"services", "topics", "peers", "api", "consumer"})


def json_schema() -> dict[str, Any]:
    """JSON Schema of ``payments:platform``; editors can complete and check stack files with it."""
    return Settings.model_json_schema()


def template() -> str:
    """A stack file with every key, its meaning as a comment, and defaults commented out."""
    head = ["config:", "  pulumi:disable-default-providers: [kubernetes]", "  payments:platform:"]
    return "\n".join([*head, *_model_lines(Settings, indent=4)]) + "\n"


def _model_lines(model: type[BaseModel], indent: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.description:
            yield f"{' ' * indent}# {' '.join(field.description.split())}"
        yield from _field_lines(name, field, indent)


def _field_lines(name: str, field: FieldInfo, indent: int) -> Iterator[str]:
    pad = " " * indent
    inner, mapping = _inner_model(field.annotation)
    if inner is not None and (field.is_required() or name in _REQUIRED_BLOCKS):
        yield f"{pad}{name}:"
        if mapping:
            yield f"{pad}  {_KEYS.get(name, 'name')}:"
            indent += 2
        yield from _model_lines(inner, indent + 2)
    elif field.is_required():
        yield f"{pad}{name}: {_EXAMPLES[name]}"
    elif name in _FILLED_OPTIONALS:
        yield f"{pad}{name}: {_FILLED_OPTIONALS[name]}"
    else:
        yield f"{pad}# {name}: {_default_text(field)}"


def _inner_model(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds, and whether it holds a mapping of them; lists are not opened."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _inner_model(arguments[0])
    if origin is dict:
        return _inner_model(arguments[1])[0], True
    if origin in (list, Literal):
        return None, False
    candidates = [argument for argument in arguments if argument is not NoneType]
    return _inner_model(candidates[0]) if len(candidates) == 1 else (None, False)


def _default_text(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return str(default.model_dump(mode="json")).replace("None", "null").replace("'", "")
    if isinstance(default, StrEnum):
        return str(default)
    return "null" if default is None else str(default)
