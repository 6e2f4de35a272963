"""The recording: what the engine would receive, and nothing that one run leaves to the next."""

import os
from pathlib import Path

import pulumi
import pytest
from pulumi_kubernetes import core

from cli.recording import Recording, record, record_program
from cli.stack_file import StackFile
from tests.unit.stacks import platform_of, recording_of, short_urn, stack_file_for, stack_file_of

EMPTY = StackFile(stack="dev", source="Pulumi.dev.yaml", config={})


def config_map(name: str, opts: pulumi.ResourceOptions | None = None, **data: pulumi.Input[str]) -> core.v1.ConfigMap:
    return core.v1.ConfigMap(name, metadata={"name": name}, data=data, opts=opts)


def test_options_are_recorded_as_the_engine_would_get_them() -> None:
    def declare() -> None:
        first = config_map("first")
        config_map(
            "second",
            pulumi.ResourceOptions(
                parent=first,
                depends_on=[first],
                protect=True,
                retain_on_delete=True,
                delete_before_replace=True,
                ignore_changes=["data"],
                aliases=[pulumi.Alias(name="old")],
            ),
        )

    first, second = sorted(record(declare, EMPTY).resources, key=lambda resource: resource.name)
    assert (second.protect, second.retain_on_delete, second.delete_before_replace) == (True, True, True)
    assert second.ignore_changes == ("data",)
    assert second.aliases == 1
    assert short_urn(second.parent) == "kubernetes:core/v1:ConfigMap::first"
    assert second.dependencies == (first.urn,)
    assert (first.protect, first.retain_on_delete, first.delete_before_replace) == (False, False, False)
    assert (first.ignore_changes, first.aliases, first.dependencies) == ((), 0, ())


def test_the_stack_itself_is_not_among_the_resources_and_exports_are() -> None:
    recording = record(lambda: pulumi.export("answer", "yes"), EMPTY)
    assert recording == Recording(resources=(), exports={"answer": "yes"})


def test_nothing_of_one_run_reaches_the_next() -> None:
    def declare(name: str) -> None:
        config_map(name, value=pulumi.Config("payments").get("only-here") or "absent")
        pulumi.export(name, name)

    with_value = StackFile(stack="prod", source="x", config={"payments:only-here": "present"})
    first = record(lambda: declare("one"), with_value)
    second = record(lambda: declare("two"), EMPTY)
    assert [(r.name, r.inputs["data"]) for r in first.resources] == [("one", {"value": "present"})]
    assert [(r.name, r.inputs["data"]) for r in second.resources] == [("two", {"value": "absent"})]
    assert (dict(first.exports), dict(second.exports)) == ({"one": "one"}, {"two": "two"})
    assert first.resources[0].urn.startswith("urn:pulumi:prod::payments::")
    assert second.resources[0].urn.startswith("urn:pulumi:dev::payments::")


def test_a_failing_program_fails_the_recording_and_not_the_next_one() -> None:
    def fail() -> None:
        message = "stops here"
        raise pulumi.RunError(message)

    with pytest.raises(pulumi.RunError, match="stops here"):
        record(fail, EMPTY)
    assert [r.name for r in record(lambda: config_map("after"), EMPTY).resources] == ["after"]


def test_an_error_inside_an_output_is_an_error() -> None:
    def declare() -> None:
        def boom(_value: object) -> str:
            message = "inside an apply"
            raise ValueError(message)

        config_map("one", value=pulumi.Output.from_input("x").apply(boom))

    with pytest.raises(Exception, match="inside an apply"):
        record(declare, EMPTY)


def test_live_data_is_refused() -> None:
    def declare() -> None:
        pulumi.runtime.invoke("kubernetes:core/v1:read", {})

    with pytest.raises(Exception, match="a preview without a cluster must not depend on live data"):
        record(declare, EMPTY)


def test_every_registration_is_recorded_once_however_many_there_are() -> None:
    names = [f"map-{number:03}" for number in range(200)]

    def declare() -> None:
        for name in names:
            config_map(name, number=name)

    resources = record(declare, EMPTY).resources
    assert [resource.name for resource in resources] == names
    assert [resource.inputs["data"]["number"] for resource in resources] == names


def test_invalid_settings_end_the_program_with_the_message_alone() -> None:
    with pytest.raises(pulumi.RunError) as caught:
        record_program(stack_file_of("dev", {"services/payment-service/api/port": 0}))
    assert str(caught.value) == (
        "Pulumi.dev.yaml: 1 problem in the settings; nothing was changed\n"
        "  services.payment-service.api.port: is 0; allowed: at least 1; fix: change it"
    )
    assert caught.value.__cause__ is None


def test_the_program_does_not_depend_on_the_folder_it_is_started_in(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert record_program(stack_file_for("dev", platform_of("dev"))) == recording_of("dev")
    finally:
        os.chdir(before)
