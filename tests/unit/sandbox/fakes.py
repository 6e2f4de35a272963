"""Programs that stand in for Go and for Pulumi in tests of what the sandbox does with their answers."""

from pathlib import Path

_GO = """#!/bin/sh
echo "$@" >> "{calls}"
case "$1" in
  env) echo "go{version}" ;;
  mod) echo '{{"Dir": "{sources}"}}' ;;
  build)
    while [ $# -gt 0 ]; do
      case "$1" in -o) into=$2 ;; esac
      package=$1; shift
      case "$package" in
        */kube-*|*/kwok|*/pulumi) echo binary > "$into${{package##*/}}" ;;
        */server/v3) echo binary > "${{into}}server" ;;
      esac
    done
    {end} ;;
esac
"""
_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")


def fake_go(folder: Path, *, version: str = "1.99.0", end: str = "exit 0") -> Path:
    """A `go` in ``folder``/bin that "builds" at once; returns the file in which it notes its calls."""
    sources, calls = folder / "sources", folder / "calls"
    for stage in _STAGES:
        stage_folder = sources / "kustomize" / "stage" / stage
        stage_folder.mkdir(parents=True)
        (stage_folder / "kustomization.yaml").write_text("kind: Kustomization\n", encoding="utf-8")
        (stage_folder / "stage.yaml").write_text(f"kind: Stage # {stage}\n", encoding="utf-8")
    script = _GO.format(calls=calls, version=version, sources=sources, end=end)
    executable(folder / "bin" / "go", script)
    calls.touch()
    return calls


def fake_pulumi(path: Path, version: str) -> Path:
    """A program that answers ``pulumi version``."""
    return executable(path, f"#!/bin/sh\necho {version}\n")


def executable(path: Path, script: str) -> Path:
    """A script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return path
