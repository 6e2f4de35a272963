"""Which plugins a run uses: official ones where they are, stand-ins where they cannot be had."""

from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.plugins import PluginChoice, select
from sandbox.plugins.select import CLOUDFLARE, FORCE, KUBERNETES, LANGUAGE, POSTGRESQL, STAND_INS


class Lines:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class World:
    """A machine with an engine whose every call is counted and ends as told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.home = root / "state" / "pulumi-home"
        self.calls = root / "calls"
        self.report = Lines()
        monkeypatch.setenv("HOME", str(root / "user"))
        monkeypatch.setenv("PATH", str(STAND_INS))
        monkeypatch.delenv(FORCE, raising=False)
        self.engine("exit 1")

    def engine(self, then: str) -> None:
        self.pulumi = self.program("engine/pulumi", f'echo "$@" >> {self.calls}\n{then}')

    def program(self, path: str, body: str = "exit 0") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
        return file

    def select(self) -> PluginChoice:
        return select(self.pulumi, self.home, self.report)

    def downloads(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_the_stand_ins_are_used_when_nothing_can_be_had_and_the_question_is_asked_once(world: World) -> None:
    for _ in range(2):
        choice = world.select()
        assert choice.description == {
            LANGUAGE: "stand-in",
            KUBERNETES: "stand-in",
            CLOUDFLARE: "stand-in",
            POSTGRESQL: "stand-in",
        }
        assert choice.path_entries == [STAND_INS]
        assert choice.env["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
        assert Path(choice.env["PAYMENTS_PYTHON"]).exists()
    assert world.downloads() == 1


def test_official_plugins_beside_the_engine_are_used(world: World) -> None:
    world.program(f"engine/{LANGUAGE}")
    world.program(f"engine/{KUBERNETES}")
    choice = world.select()
    assert choice.path_entries == [world.pulumi.parent]
    assert choice.env == {}
    assert choice.description == {
        LANGUAGE: "official", KUBERNETES: "official", CLOUDFLARE: "official, when a stack needs it",
        POSTGRESQL: "official, when a stack needs it",
    }  # fmt: skip
    assert world.downloads() == 0


def test_the_newest_installed_provider_is_used_with_the_other_stand_in(world: World) -> None:
    for version in ("4.9.0", "4.34.2"):
        world.program(f"user/.pulumi/plugins/resource-kubernetes-v{version}/{KUBERNETES}")
    choice = world.select()
    assert choice.description == {
        LANGUAGE: "stand-in", KUBERNETES: "official 4.34.2", CLOUDFLARE: "stand-in", POSTGRESQL: "stand-in",
    }  # fmt: skip
    assert choice.path_entries[0].name == "resource-kubernetes-v4.34.2"
    assert choice.path_entries[-1] == STAND_INS, "the stand-ins would hide the official plugin"


def test_cloudflares_plugin_is_used_where_it_is_installed_and_never_downloaded(world: World) -> None:
    world.program(f"user/.pulumi/plugins/resource-cloudflare-v6.23.1/{CLOUDFLARE}")
    choice = world.select()
    assert choice.description[CLOUDFLARE] == "official 6.23.1"
    assert choice.path_entries == [world.root / "user/.pulumi/plugins/resource-cloudflare-v6.23.1", STAND_INS]
    assert "cloudflare" not in world.calls.read_text()


def test_a_successful_download_is_used(world: World) -> None:
    target = '"$PULUMI_HOME/plugins/resource-kubernetes-$5"'.replace("$5", "${5}")
    file = target[:-1] + f'/{KUBERNETES}"'
    world.engine(f"PATH=/usr/bin:/bin; mkdir -p {target}; echo '#!/bin/sh' > {file}; chmod +x {file}")
    assert world.select().description[KUBERNETES].startswith("official 4.")


def test_our_own_programs_on_the_path_are_not_taken_for_official_ones(world: World) -> None:
    (world.root / "engine" / KUBERNETES).symlink_to(STAND_INS / KUBERNETES)
    assert world.select().description[KUBERNETES] == "stand-in"


def test_a_choice_can_be_forced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.program(f"engine/{LANGUAGE}")
    monkeypatch.setenv(FORCE, "stand-in")
    assert world.select().description == {
        LANGUAGE: "stand-in",
        KUBERNETES: "stand-in",
        CLOUDFLARE: "stand-in",
        POSTGRESQL: "stand-in",
    }
    assert world.downloads() == 0
    monkeypatch.setenv(FORCE, "official")
    with pytest.raises(SandboxError, match=f"{KUBERNETES} cannot be found"):
        world.select()
    monkeypatch.setenv(FORCE, "offical")
    with pytest.raises(SandboxError, match="offical"):
        world.select()
