"""Registers the same inputs as the platform's resources, one by one, with a provider that does nothing."""

import json
from pathlib import Path

import pulumi

inputs_file = Path(pulumi.Config().require("inputs_file"))
for index, inputs in enumerate(json.loads(inputs_file.read_text(encoding="utf-8"))):
    pulumi.CustomResource("bench:index:Thing", f"thing-{index}", {"manifest": inputs})
