"""Run a stand-in plugin as a program: ``start.py language|kubernetes [arguments of the engine]``.

The repository's root takes the place of this folder on ``sys.path``, so that a plugin's modules are found
from any working directory without an environment variable that the user's program would inherit.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])


def main(arguments: list[str]) -> None:
    """Serve the named plugin until the engine ends."""
    plugin, *rest = arguments or ["(none)"]
    if plugin == "language":
        from sandbox.plugins.language.server import main as serve
    elif plugin == "kubernetes":
        from sandbox.plugins.kubernetes.server import main as serve
    else:
        message = f"start.py: unknown plugin {plugin}; known are language and kubernetes"
        raise SystemExit(message)
    serve(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
