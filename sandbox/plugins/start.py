"""Run a stand-in plugin as a program: ``start.py language|kubernetes|cloudflare|postgresql [arguments of the engine]``.

The repository's root takes the place of this folder on ``sys.path``, so that a plugin's modules are found
from any working directory without an environment variable that the user's program would inherit.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

sys.path[0] = str(Path(__file__).resolve().parents[2])


def main(arguments: list[str]) -> None:
    """Serve the named plugin until the engine ends."""
    plugin, *rest = arguments or ["(none)"]
    if plugin == "language":
        from sandbox.plugins.language.server import main as serve
    elif plugin == "kubernetes":
        _leave_out_the_sdk()
        from sandbox.plugins.kubernetes.server import main as serve
    elif plugin == "cloudflare":
        _leave_out_the_sdk()
        from sandbox.plugins.cloudflare.server import main as serve
    elif plugin == "postgresql":
        _leave_out_the_sdk()
        from sandbox.plugins.postgresql.server import main as serve
    else:
        message = f"start.py: unknown plugin {plugin}; known are language, kubernetes, cloudflare and postgresql"
        raise SystemExit(message)
    serve(rest)


def _leave_out_the_sdk() -> None:
    """Make ``pulumi.runtime.proto`` importable without running ``pulumi`` itself.

    A provider needs the protocol's messages only; the whole SDK costs every engine command 0.6 s of CPU.
    """
    found = importlib.util.find_spec("pulumi")
    roots = list(found.submodule_search_locations or []) if found is not None else []
    for name, folders in (("pulumi", roots), ("pulumi.runtime", [f"{root}/runtime" for root in roots])):
        package = ModuleType(name)
        package.__path__ = folders
        sys.modules[name] = package


if __name__ == "__main__":
    main(sys.argv[1:])
