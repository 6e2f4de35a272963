"""Run a Pulumi program inside this process, as if it were started afresh."""

import _thread
import asyncio
import linecache
import os
import queue
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

import grpc
import pulumi
from pulumi.runtime import reset_options, run_in_stack, set_all_config

# Blocking calls to the engine per unit of `--parallel`: what the SDK itself uses.
CALLS_PER_PARALLEL = 4
_UNLIMITED_PARALLEL = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramRun:
    """One run as the engine asks for it; ``config`` maps full keys to plain text."""

    folder: Path
    entry_point: Path
    project: str
    stack: str
    organization: str
    monitor_address: str
    engine_address: str
    parallel: int
    dry_run: bool
    config: Mapping[str, str]
    secret_keys: tuple[str, ...]


def run_program(run: ProgramRun) -> str | None:
    """Run the program; None when it ended well, otherwise the message that has been logged to the engine.

    The program runs on a stack of its own: the SDK sends every frame below a resource to the engine, which
    keeps them in the state and writes the state twice per resource. The frames of this host would be half.
    """
    result: queue.Queue[str | None] = queue.Queue()
    _thread.start_new_thread(_run_into, (result, run))
    return result.get()


def _run_into(result: "queue.Queue[str | None]", run: ProgramRun) -> None:
    failure: str | None = "the language plugin could not run the program"
    try:
        failure = _run(run)
    finally:
        result.put(failure)


def _run(run: ProgramRun) -> str | None:
    reset_options(
        project=run.project,
        stack=run.stack,
        organization=run.organization or "organization",
        monitor_address=run.monitor_address,
        engine_address=run.engine_address,
        parallel=run.parallel,
        preview=run.dry_run,
        root_directory=str(run.folder),
    )
    set_all_config(dict(run.config), list(run.secret_keys))
    with _own_interpreter_state(run.folder), _event_loop(run.parallel) as loop:
        return _outcome(loop, _program(run.entry_point), run)


def _program(entry_point: Path) -> Callable[[], None]:
    """The program as a function. Executed here, not by ``runpy``, which adds three frames to every resource."""

    def program() -> None:
        module = ModuleType("__main__")
        module.__file__ = str(entry_point)
        code = compile(entry_point.read_bytes(), str(entry_point), "exec", dont_inherit=True)
        sys.modules["__main__"] = module
        exec(code, module.__dict__)  # noqa: S102 - running the program is what a language plugin does

    return program


def _outcome(loop: asyncio.AbstractEventLoop, program: Callable[[], None], run: ProgramRun) -> str | None:
    try:
        loop.run_until_complete(run_in_stack(program))
    except pulumi.RunError as error:
        message = str(error)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return None  # the engine is ending already; it knows why
        message = str(error.details())
    except SystemExit as exit_request:
        if exit_request.code in {None, 0}:
            return None
        message = f"Program exited with {exit_request.code}"
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is reported to its author
        message = "Program failed with an unhandled exception:\n" + _program_traceback(error, run.entry_point)
    else:
        return None
    with suppress(grpc.RpcError):
        pulumi.log.error(message)
    return message


def _program_traceback(error: BaseException, entry_point: Path) -> str:
    """The traceback from the program's first frame on: what is above it belongs to this host."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != str(entry_point):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__)).rstrip()


@contextmanager
def _own_interpreter_state(folder: Path) -> Iterator[None]:
    """The program's folder is the working directory and first on the path, and none of its modules is known.

    A second run in this process (preview, then update) must not see objects of the first one.
    """
    path, arguments, cwd, main = sys.path[:], sys.argv[:], Path.cwd(), sys.modules["__main__"]
    _forget_modules(folder)
    sys.path.insert(0, str(folder))
    sys.argv = [str(folder)]
    os.chdir(folder)
    try:
        yield
    finally:
        sys.path[:], sys.argv[:], sys.modules["__main__"] = path, arguments, main
        os.chdir(cwd)
        sys.stdout.flush()
        sys.stderr.flush()


def _forget_modules(folder: Path) -> None:
    linecache.clearcache()
    prefix, libraries = f"{folder}{os.sep}", f"{sys.prefix}{os.sep}"
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(prefix) and not file.startswith(libraries) and not _is_ours(name):
            del sys.modules[name]


def _is_ours(name: str) -> bool:
    """Whether a module is part of this plugin, which may live below the program's folder."""
    return name in {"__main__", "sandbox"} or name.startswith("sandbox.plugins")


@contextmanager
def _event_loop(parallel: int) -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    workers = parallel * CALLS_PER_PARALLEL if 0 < parallel < _UNLIMITED_PARALLEL else _UNLIMITED_PARALLEL
    executor = ThreadPoolExecutor(max_workers=workers)
    loop.set_default_executor(executor)
    loop.set_exception_handler(_on_loop_error)
    try:
        yield loop
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        executor.shutdown(wait=False, cancel_futures=True)
        loop.close()


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A lost engine ends the run; a failed task nobody waits for is reported by the SDK itself."""
    if isinstance(context.get("exception"), grpc.RpcError):
        loop.stop()
