"""Building the tools: once, whole or not at all, and with a clear word when Go is missing."""

import io
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from sandbox import gobuild, tools
from sandbox.errors import SandboxError
from sandbox.gobuild import GoModule, SourceEdit
from sandbox.progress import Progress
from tests.unit.sandbox.fakes import fake_go

_TIMEOUT_SECONDS = 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PAYMENTS_PULUMI", "build")
    return tmp_path / "cache" / "payments-platform"


def _use_go(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")


def _quiet() -> Progress:
    return Progress(io.StringIO(), tty=False)


def _builds(calls: Path) -> list[str]:
    return [line for line in calls.read_text(encoding="utf-8").splitlines() if line.startswith("build")]


def test_versions_are_those_of_the_module_files() -> None:
    assert {name: tools.version_of(name) for name in (*tools.ALL, *tools.KEDA) if name != "kubectl"} == {
        "pulumi": "3.259.0",
        "etcd": "3.6.16",
        "kube-apiserver": "1.36.3",
        "kube-controller-manager": "1.36.3",
        "kube-scheduler": "1.36.3",
        "kwok": "0.8.0",
        "keda-operator": "2.20.2",
        "keda-adapter": "2.20.2",
    }


def test_everything_is_built_once_and_a_second_run_builds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    calls = fake_go(tmp_path)
    _use_go(monkeypatch, tmp_path)
    found = tools.ensure(tools.ALL, _quiet())
    assert list(found) == list(tools.ALL)
    assert all(path.is_file() for path in found.values())
    assert len(_builds(calls)) == 4, "one build per module: the three Kubernetes programs share theirs"
    assert all("-trimpath" in line and "-mod=readonly" in line for line in _builds(calls))
    assert tools.ensure(tools.ALL, _quiet()) == found
    assert len(_builds(calls)) == 4
    assert not list((cache / "tools").glob(".partial-*"))


def test_the_stages_of_kwok_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path)
    _use_go(monkeypatch, tmp_path)
    stages = tools.kwok_stages(tools.ensure(["kwok"], _quiet())["kwok"]).read_text(encoding="utf-8")
    assert re.findall("# (.*)", stages) == ["node/fast", "node/heartbeat-with-lease", "pod/fast"]
    assert "Kustomization" not in stages


def test_the_api_server_is_told_its_version() -> None:
    (module,) = [module for module in tools.MODULES if module.folder == "kubernetes"]
    assert "version.gitVersion=v1.36.3 " in module.linker_flags()


def test_a_failed_build_never_looks_done_and_the_next_run_builds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    fake_go(tmp_path / "broken", end="echo undefined: foo >&2; exit 2")
    _use_go(monkeypatch, tmp_path / "broken")
    with pytest.raises(SandboxError) as failure:
        tools.ensure(["etcd"], _quiet())
    assert "building etcd failed (go build exited with 2)" in str(failure.value)
    assert "| undefined: foo" in str(failure.value)
    assert not tools.tool_folder("etcd").exists()
    assert not list((cache / "tools").glob(".partial-*"))
    fake_go(tmp_path / "good")
    _use_go(monkeypatch, tmp_path / "good")
    assert tools.ensure(["etcd"], _quiet())["etcd"].is_file()


def test_what_a_killed_build_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    fake_go(tmp_path)
    _use_go(monkeypatch, tmp_path)
    leftover = cache / "tools" / ".partial-etcd-abc"
    leftover.mkdir(parents=True)
    (leftover / "server").write_text("half", encoding="utf-8")
    tools.ensure(["etcd"], _quiet())
    assert not leftover.exists()


def test_two_at_once_build_once_and_the_second_says_that_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_go(tmp_path, end=f"while [ ! -e {tmp_path}/go-on ]; do sleep 0.05; done")
    _use_go(monkeypatch, tmp_path)
    words = [io.StringIO(), io.StringIO()]
    runs = [
        threading.Thread(target=tools.ensure, args=(["etcd"], Progress(stream, tty=False)), daemon=True)
        for stream in words
    ]
    for run in runs:
        run.start()
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not any("waiting for it" in stream.getvalue() for stream in words) and time.monotonic() < deadline:
        time.sleep(0.02)
    (tmp_path / "go-on").touch()
    for run in runs:
        run.join(timeout=_TIMEOUT_SECONDS)
    assert sum("another process is building etcd" in stream.getvalue() for stream in words) == 1
    assert len(_builds(calls)) == 1


def test_no_go_says_what_to_install_and_what_works_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError) as failure:
        tools.ensure(["etcd"], _quiet())
    message = str(failure.value)
    assert "building etcd needs Go, and no `go` is on PATH" in message
    assert re.search(r"install Go 1\.\d+\S* or newer", message)
    assert "`make test` needs no Go" in message


def test_no_go_is_fine_when_everything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path)
    _use_go(monkeypatch, tmp_path)
    found = tools.ensure(tools.ALL, _quiet())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.ensure(tools.ALL, _quiet()) == found


def test_an_old_go_is_named_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_go(tmp_path, version="1.19.2")
    _use_go(monkeypatch, tmp_path)
    with pytest.raises(SandboxError, match=r"too old to build etcd: it is 1\.19\.2"):
        tools.ensure(["etcd"], _quiet())
    assert _builds(calls) == []


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SandboxError, match="unknown tool helm; known are pulumi, etcd"):
        tools.ensure(["helm"], _quiet())


def test_another_checksum_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tools.tool_folder("etcd")
    copy = tmp_path / "toolchain" / "etcd"
    copy.mkdir(parents=True)
    for file in ("go.mod", "go.sum"):
        (copy / file).write_bytes((gobuild.TOOLCHAIN / "etcd" / file).read_bytes())
    monkeypatch.setattr(gobuild, "TOOLCHAIN", tmp_path / "toolchain")
    assert tools.tool_folder("etcd") == before
    with (copy / "go.sum").open("a", encoding="utf-8") as stream:
        stream.write("example.com/m v1.0.0 h1:x\n")
    assert tools.tool_folder("etcd") != before


def test_a_module_without_its_pin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "go.mod").write_text("module x\n", encoding="utf-8")
    monkeypatch.setattr(gobuild, "TOOLCHAIN", tmp_path)
    with pytest.raises(SandboxError, match=r"does not require go\.etcd\.io/etcd/server/v3"):
        tools.version_of("etcd")


def _edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, old: str) -> GoModule:
    """A module of one program whose main.go says ``:8080``, pinned in a toolchain of its own."""
    fake_go(tmp_path)
    _use_go(monkeypatch, tmp_path)
    main = tmp_path / "sources" / "cmd" / "adapter" / "main.go"
    main.parent.mkdir(parents=True)
    main.write_text('listen(":8080")\n', encoding="utf-8")
    pinned = tmp_path / "toolchain" / "edited"
    pinned.mkdir(parents=True)
    (pinned / "go.mod").write_text("module x\n\ngo 1.20\n\nrequire example.com/m v1.0.0\n", encoding="utf-8")
    monkeypatch.setattr(gobuild, "TOOLCHAIN", tmp_path / "toolchain")
    package = "example.com/m/cmd/adapter"
    edit = SourceEdit(package=package, old=old, new='"127.0.0.1:8080"')
    return GoModule(folder="edited", requires="example.com/m", packages={"a": package}, ldflags="", edits=(edit,))


def test_an_edit_is_compiled_from_a_copy_and_the_sources_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = _edited(tmp_path, monkeypatch, old='":8080"')
    gobuild.build(module, ["a"], tmp_path, tmp_path / "log")
    (build,) = _builds(tmp_path / "calls")
    assert build.endswith(" ./adapter")
    overlay = json.loads(Path(build.split("-overlay ")[1].split(" ")[0]).read_text(encoding="utf-8"))
    ((shown, copy),) = overlay["Replace"].items()
    assert shown == str(module.path / "adapter" / "main.go")
    assert Path(copy).read_text(encoding="utf-8") == 'listen("127.0.0.1:8080")\n'
    assert (tmp_path / "sources" / "cmd" / "adapter" / "main.go").read_text(encoding="utf-8") == 'listen(":8080")\n'


def test_an_edit_that_no_longer_fits_the_sources_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _edited(tmp_path, monkeypatch, old='":9090"')
    with pytest.raises(SandboxError, match=r"cmd/adapter/main\.go v1\.0\.0 does not contain '\":9090\"' once"):
        gobuild.build(module, ["a"], tmp_path, tmp_path / "log")
