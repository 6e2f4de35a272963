"""Registers as many resources as the platform does, each with inputs of a typical size, and nothing else."""

import json

import pulumi

config = pulumi.Config()
inputs = json.loads(config.require("inputs"))
for index in range(config.require_int("resources")):
    pulumi.CustomResource("bench:index:Thing", f"thing-{index}", {"manifest": inputs})
