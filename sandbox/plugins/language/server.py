"""The language plugin's gRPC service: run the program, run a policy pack, answer what the engine asks."""

import importlib.metadata
import logging
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from sandbox.plugins.language.pack import ChildPlugin, Exited, command_for
from sandbox.plugins.language.program import ProgramRun, run_program
from sandbox.plugins.serving import serve

DIRECT_REQUIREMENTS = ("pulumi", "pulumi-kubernetes", "pulumi-policy")


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """One engine's language plugin; method names are the protocol's."""

    def __init__(self) -> None:
        self.engine_address = ""
        self._one_program = threading.Lock()  # a program owns the working directory and sys.path
        self._children: set[ChildPlugin] = set()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """Remember where the engine listens: a run's arguments do not always say."""
        self.engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """The version of the SDK that runs the program."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """None: providers are found on PATH, and nothing may be downloaded on their behalf."""
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """The older form of ``GetRequiredPackages``."""
        return language_pb2.GetRequiredPluginsResponse()

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """Run the program. Its failure has been logged when this returns, hence ``bail``."""
        problem = _other_environment(request.info)
        if problem is not None:
            return language_pb2.RunResponse(error=problem)
        folder = Path(request.info.program_directory or request.pwd)
        entry = folder / (request.info.entry_point or request.program or ".")
        run = ProgramRun(
            folder=folder,
            entry_point=entry / "__main__.py" if entry.is_dir() else entry,
            project=request.project,
            stack=request.stack,
            organization=request.organization,
            monitor_address=request.monitor_address,
            engine_address=request.args[0] if request.args else self.engine_address,
            parallel=request.parallel,
            dry_run=request.dryRun,
            config=dict(request.config),
            secret_keys=tuple(request.configSecretKeys),
        )
        if not run.entry_point.is_file():
            message = f"no program at {run.entry_point}: a Pulumi program in Python starts in __main__.py"
            return language_pb2.RunResponse(error=message)
        with self._one_program:
            failed = run_program(run)
        return language_pb2.RunResponse(bail=failed is not None)

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        """Run a policy pack and stream its output; it ends with this call."""
        folder = request.info.program_directory or request.program
        virtualenv = _option(request.info, "virtualenv")
        child = ChildPlugin(
            command_for(request.kind, folder, list(request.args), virtualenv),
            cwd=request.pwd,
            environment=list(request.env),
        )
        self._children.add(child)
        context.add_callback(child.stop)
        try:
            for event in child.output():
                if isinstance(event, Exited):
                    yield language_pb2.RunPluginResponse(exitcode=event.code)
                else:
                    stream, chunk = event
                    yield (
                        language_pb2.RunPluginResponse(stdout=chunk)
                        if stream == "stdout"
                        else language_pb2.RunPluginResponse(stderr=chunk)
                    )
        finally:
            child.stop()
            self._children.discard(child)

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802, ARG002
        """Nothing to do: the environment is made from pinned requirements before the engine starts."""
        yield language_pb2.InstallDependenciesResponse(
            stdout=f"using the Python environment at {sys.prefix}\n".encode()
        )

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """No questions."""
        return language_pb2.RuntimeOptionsResponse()

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """The interpreter, for ``pulumi about``."""
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """The installed packages, for ``pulumi about``; all of them or the program's own."""
        packages = [
            language_pb2.DependencyInfo(name=package.metadata["Name"], version=package.version)
            for package in importlib.metadata.distributions()
            if request.transitiveDependencies or package.metadata["Name"] in DIRECT_REQUIREMENTS
        ]
        return language_pb2.GetProgramDependenciesResponse(dependencies=packages)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """End what was started on the engine's behalf."""
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """End every child."""
        for child in list(self._children):
            child.stop()


def _option(info: Any, name: str) -> str | None:
    value = info.options.fields.get(name) if info.HasField("options") else None
    return value.string_value if value is not None and value.string_value else None


def _other_environment(info: Any) -> str | None:
    """Why the program cannot run here: it asks for another virtual environment than this process has."""
    virtualenv = _option(info, "virtualenv")
    if virtualenv is None:
        return None
    wanted = Path(info.root_directory, virtualenv)
    if not wanted.exists() or wanted.resolve() == Path(sys.prefix).resolve():
        return None
    return (
        f"Pulumi.yaml asks for the virtual environment {wanted}, but this language plugin runs in {sys.prefix}; "
        f"set PAYMENTS_PYTHON to {wanted / 'bin' / 'python'} or remove runtime.options.virtualenv"
    )


def main(arguments: list[str]) -> None:
    """Serve the engine; its address is the first argument that is not an option."""
    # The SDK reports failed tasks itself; asyncio's own report would repeat each of them.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    host = LanguageHost()
    host.engine_address = next((word for word in arguments if not word.startswith("-")), "")

    def register(server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)

    serve(register, host.stop)
