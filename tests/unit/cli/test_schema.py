import jsonschema
import yaml

from cli.recording import ROOT
from cli.schema import json_schema, template
from settings import load


def test_the_template_is_a_valid_stack_file() -> None:
    document = yaml.safe_load(template())
    settings = load(document["config"]["payments:platform"], source="template")
    assert list(settings.services) == ["payment-service"]


# Items of empty lists, and a block that is absent unless it is wanted (docs/cache.md).
NOT_OPENED = {
    "SecretReference", "ExternalTrigger", "Cache", "CacheUser", "Certificate", "ClusterCache", "Exporter",
    "LocalCache", "Reconciler", "SecretValue",
}  # fmt: skip


def test_the_template_mentions_every_key_of_every_model() -> None:
    text = template()
    for definition in json_schema()["$defs"].values():
        for key in definition.get("properties", {}):
            if definition["title"] not in NOT_OPENED:
                assert key in text, f"{definition['title']}.{key}"


def test_both_stack_files_follow_the_json_schema() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for stack in ("dev", "prod"):
        document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
        validator.validate(document["config"]["payments:platform"])
    broken = {**document["config"]["payments:platform"], "environmnt": "dev"}
    assert not validator.is_valid(broken)
