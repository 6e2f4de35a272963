"""What the program declares, recorded without an engine: every resource with its inputs and options."""

import asyncio
import runpy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.config import set_all_config
from pulumi.runtime.settings import ROOT as ROOT_RESOURCE
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_in_stack

from cli.stack_file import PROJECT, StackFile

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One registration as the engine would have received it."""

    urn: str
    type: str
    name: str
    custom: bool
    inputs: Mapping[str, Any]
    """Wire form: camelCase keys, numbers as floats, secrets wrapped as the wire wraps them."""
    parent: str
    provider: str
    protect: bool
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]
    dependencies: tuple[str, ...]
    delete_before_replace: bool
    aliases: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """All registrations of one run, sorted by URN (the SDK registers concurrently), and the stack's exports."""

    resources: tuple[Recorded, ...]
    exports: Mapping[str, Any]


@dataclass(slots=True)
class _Recorder:
    resources: list[Recorded] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)


class _Echo(mocks.Mocks):
    """Every resource gets what it asked for, and an id."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        message = f"the program calls {args.token}: a preview without a cluster must not depend on live data"
        raise RuntimeError(message)


class _RecordingMonitor(mocks.MockMonitor):
    """The SDK's mock monitor hides options from mocks; the requests carry them."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__(_Echo())
        self._recorder = recorder

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 # the protocol's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self._recorder.resources.append(_recorded(request, response.urn))
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            self._recorder.exports.update(pulumi.runtime.rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _recorded(request: Any, urn: str) -> Recorded:
    return Recorded(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=pulumi.runtime.rpc.deserialize_properties(request.object, keep_unknowns=True),
        parent=request.parent,
        provider=request.provider,
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        ignore_changes=tuple(request.ignoreChanges),
        dependencies=tuple(sorted(request.dependencies)),
        delete_before_replace=request.deleteBeforeReplace,
        aliases=len(request.aliases),
    )


def record_program(stack_file: StackFile, program: Path = ROOT / "__main__.py") -> Recording:
    """Run the whole program for one stack file. Raises what the program raises (``pulumi.RunError``)."""
    return record(lambda: runpy.run_path(str(program), run_name="__main__"), stack_file)


def record(declare: Callable[[], object], stack_file: StackFile) -> Recording:
    """Run any declaring function as if it were the program of this stack.

    One event loop per run and fresh settings: nothing of one run reaches the next.
    """
    recorder = _Recorder()
    secret_keys = sorted(stack_file.secret_keys)
    set_all_config(stack_file.as_engine_config(), secret_keys)

    def program() -> None:
        declare()

    # The SDK answers mocks in worker threads, each with an event loop of its own that it never closes.
    worker_loops: list[asyncio.AbstractEventLoop] = []

    def give_worker_a_loop() -> None:
        loop = asyncio.new_event_loop()
        worker_loops.append(loop)
        asyncio.set_event_loop(loop)

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=give_worker_a_loop))
        mocks.set_mocks(
            _Echo(), project=PROJECT, stack=stack_file.stack, preview=False, monitor=_RecordingMonitor(recorder)
        )
        ROOT_RESOURCE.set(None)  # set_mocks made a stack of its own; the program's run makes the one that we record
        SETTINGS.outputs.clear()  # a run that failed leaves its unfinished outputs, bound to a loop that is closed
        await run_in_stack(program)

    try:
        asyncio.run(run())
    finally:
        for loop in worker_loops:
            loop.close()
    return Recording(
        resources=tuple(sorted(recorder.resources, key=lambda resource: resource.urn)), exports=recorder.exports
    )
