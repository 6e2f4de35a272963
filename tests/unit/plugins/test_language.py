"""The language plugin's parts that need no engine: child processes, module hygiene, tracebacks."""

import sys
import textwrap
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

import settings  # noqa: F401 # a module of the program's folder, to be forgotten
from sandbox.plugins.language.pack import ChildPlugin, Exited, command_for
from sandbox.plugins.language.program import _forget_modules, _program_traceback


def run(code: str, environment: list[str] | None = None) -> tuple[bytes, bytes, int]:
    child = ChildPlugin([sys.executable, "-c", textwrap.dedent(code)], cwd="", environment=environment or ["A=1"])
    out, err, code_of_exit = b"", b"", -1
    for event in child.output():
        if isinstance(event, Exited):
            code_of_exit = event.code
        elif event[0] == "stdout":
            out += event[1]
        else:
            err += event[1]
    return out, err, code_of_exit


def test_a_childs_output_streams_and_exit_code_are_told_apart() -> None:
    assert run("import sys; print('port'); print('oops', file=sys.stderr); sys.exit(3)") == (b"port\n", b"oops\n", 3)


def test_a_child_has_exactly_the_environment_that_the_engine_gives() -> None:
    out, _, _ = run("import os; print(os.environ['A'], 'HOME' in os.environ)", ["A=x=y"])
    assert out == b"x=y False\n"


def test_a_child_that_ignores_the_request_to_end_is_ended() -> None:
    deaf = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        time.sleep(60)
    """
    child = ChildPlugin([sys.executable, "-c", textwrap.dedent(deaf)], cwd="", environment=["A=1"])
    events = child.output()
    assert next(events) == ("stdout", b"up\n")
    child.stop()
    child.stop()
    assert [event.code for event in events if isinstance(event, Exited)] == [-9]


def test_a_policy_pack_runs_in_its_own_environment_where_it_has_one(tmp_path: Path) -> None:
    folder = str(tmp_path)
    ours = command_for("analyzer", folder, ["127.0.0.1:1"], None)
    assert ours == [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", folder]
    python = tmp_path / "venv" / "bin" / "python"
    assert command_for("analyzer", folder, [], "venv")[0] == sys.executable
    python.parent.mkdir(parents=True)
    python.touch()
    assert command_for("analyzer", folder, [], "venv")[0] == str(python)


def test_a_second_run_knows_nothing_of_the_first_ones_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, elsewhere = ModuleType("their_module"), ModuleType("other_module")
    theirs.__file__, elsewhere.__file__ = str(tmp_path / "their_module.py"), "/elsewhere/other_module.py"
    monkeypatch.setitem(sys.modules, "their_module", theirs)
    monkeypatch.setitem(sys.modules, "other_module", elsewhere)
    _forget_modules(tmp_path)
    assert "their_module" not in sys.modules
    assert "other_module" in sys.modules
    with mock.patch.dict(sys.modules):  # the modules of this process are put back for the tests that follow
        _forget_modules(Path(__file__).resolve().parents[3])
        assert "sandbox.plugins.language.program" in sys.modules
        assert "settings" not in sys.modules


def test_a_traceback_starts_at_the_program(tmp_path: Path) -> None:
    entry = tmp_path / "__main__.py"
    entry.write_text("def declare():\n    raise ValueError('a defect')\n\ndeclare()\n", encoding="utf-8")

    def host() -> None:
        exec(compile(entry.read_text(encoding="utf-8"), str(entry), "exec"), {})  # noqa: S102 - as runpy does

    with pytest.raises(ValueError, match="a defect") as caught:
        host()
    text = _program_traceback(caught.value, entry)
    assert text.endswith("ValueError: a defect")
    assert text.count("__main__.py") == 2
    assert "test_language" not in text
