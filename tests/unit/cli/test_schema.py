import json
import re
from typing import Any

import jsonschema
import yaml

from cli.recording import ROOT
from cli.schema import json_schema, template
from settings import load

# Entries of lists that are empty by default, and blocks that are absent by default, with all that only they hold.
_NOT_OPENED = {"SecretReference", "PerPodTrigger", "LatencyTrigger", "PoolTrigger", "BreakerHold", "LagTrigger"}
_ABSENT_BLOCKS = ("Keda", "Edge", "Cache", "Observability", "LoadTest")


def _below(title: str, definitions: dict[str, Any]) -> set[str]:
    """A model and every model that it holds."""
    inner = re.findall(r"#/\$defs/(\w+)", json.dumps(definitions[title]))
    return {title}.union(*(_below(name, definitions) for name in inner))


def test_the_template_is_a_valid_stack_file() -> None:
    document = yaml.safe_load(template())
    settings = load(document["config"]["payments:platform"], source="template")
    assert list(settings.services) == ["payment-service"]


def test_the_template_mentions_every_key_of_every_model() -> None:
    text = template()
    definitions = json_schema()["$defs"]
    not_opened = _NOT_OPENED.union(*(_below(title, definitions) for title in _ABSENT_BLOCKS))
    for definition in definitions.values():
        for key in definition.get("properties", {}):
            if definition["title"] not in not_opened:
                assert key in text, f"{definition['title']}.{key}"


def test_both_stack_files_follow_the_json_schema() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for stack in ("dev", "prod"):
        document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
        validator.validate(document["config"]["payments:platform"])
    broken = {**document["config"]["payments:platform"], "environmnt": "dev"}
    assert not validator.is_valid(broken)
