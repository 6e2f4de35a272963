"""Stack files: read as the engine reads them, with one message for what is wrong."""

import json
from pathlib import Path

import pulumi
import pytest

from cli.recording import record_program
from cli.stack_file import StackFile, read_stack_file
from settings import SettingsError


def read(folder: Path, text: str) -> StackFile:
    path = folder / "Pulumi.dev.yaml"
    path.write_text(text, encoding="utf-8")
    return read_stack_file(path, "dev")


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text)
    assert str(caught.value).startswith("Pulumi.dev.yaml: 1 problem in the settings; nothing was changed\n  ")
    [problem] = caught.value.problems
    return str(problem)


def test_configuration_reaches_the_program_as_the_engine_hands_it_over(tmp_path: Path) -> None:
    stack_file = read(
        tmp_path,
        "config:\n  payments:platform: {a: [1, true]}\n  payments:password: {secure: v1:x:y}\n  aws:region: eu\n",
    )
    assert stack_file.secret_keys == {"payments:password"}
    assert stack_file.platform == {"a": [1, True]}
    config = stack_file.as_engine_config()
    assert json.loads(config.pop("payments:platform")) == {"a": [1, True]}
    assert config == {"payments:password": "[secret]", "aws:region": "eu"}


def test_a_missing_file_names_the_stacks_that_exist(tmp_path: Path) -> None:
    for stack in ("prod", "dev"):
        (tmp_path / f"Pulumi.{stack}.yaml").touch()
    with pytest.raises(SettingsError) as caught:
        read_stack_file(tmp_path / "Pulumi.stage.yaml", "stage")
    assert "Pulumi.stage.yaml: allowed: an existing file; stacks here: dev, prod; fix: name an existing" in str(
        caught.value
    )


@pytest.mark.parametrize("text", ["", "[]", "config:", "config: [1]", "encryptionsalt: x"])
def test_a_file_without_configuration_is_refused(tmp_path: Path, text: str) -> None:
    line = refusal(tmp_path, text)
    assert line.startswith("config: allowed: a mapping of configuration keys; fix: add 'config:'")


def test_a_file_that_is_no_yaml_is_refused_with_the_place(tmp_path: Path) -> None:
    line = refusal(tmp_path, "config: {a: [}\n")
    assert "allowed: a YAML file" in line
    assert "line 1, column" in line


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_bytes(b"config: {a: \xff}\n")
    with pytest.raises(SettingsError, match="allowed: a YAML file"):
        read_stack_file(path, "dev")


def test_a_misspelt_platform_key_is_refused_with_the_right_one(tmp_path: Path) -> None:
    line = refusal(tmp_path, "config: {payments:platfrom: {}}\n")
    assert line.startswith("config.payments:platfrom: unknown key")
    assert line.endswith("fix: did you mean 'payments:platform'?")


def test_a_secret_in_plain_text_is_refused_without_showing_it(tmp_path: Path) -> None:
    line = refusal(tmp_path, "config: {payments:password: canary-4711}\n")
    assert "canary" not in line
    assert "encrypt it if it is a secret" in line


def test_keys_of_other_projects_are_left_to_their_owners(tmp_path: Path) -> None:
    assert read(tmp_path, "config: {kubernetes:context: x}\n").platform is None


def test_a_key_that_stands_twice_is_refused_as_the_engine_refuses_it(tmp_path: Path) -> None:
    said = refusal(tmp_path, "config:\n  payments:platform:\n    environment: dev\n    environment: prod\n")
    assert "'environment' stands twice" in said
    assert "line 4" in said


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "config:\n  payments:platform:\n    2024-01-01: dev\n")
    assert "the key 2024-01-01 is not text; write it in quotes" in said


def test_a_value_encrypted_inside_the_settings_is_refused_before_it_could_reach_a_config_map(tmp_path: Path) -> None:
    stack_file = read(tmp_path, "config:\n  payments:platform: {services: [{config: {secure: v1:x:y}}]}\n")
    assert stack_file.secret_keys == {"payments:platform"}
    with pytest.raises(pulumi.RunError, match="payments:platform holds an encrypted value"):
        record_program(stack_file)
