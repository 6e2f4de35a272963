"""Write the golden manifests of both stacks anew: ``python -m tests.golden.regenerate`` (``make golden``).

Look at the difference before it is committed: these files are what reviewers read.
"""

import sys
from pathlib import Path

from cli.recording import ROOT, record_program
from cli.render import write
from cli.stack_file import read_stack_file

GOLDEN = Path(__file__).resolve().parent
STACKS = ("dev", "prod")


def regenerate(stack: str, folder: Path) -> list[Path]:
    """Render one stack file of the repository into a folder."""
    return write(record_program(read_stack_file(ROOT / f"Pulumi.{stack}.yaml", stack)).resources, folder)


def main() -> None:
    """Regenerate every stack and say how many files each has."""
    for stack in STACKS:
        files = regenerate(stack, GOLDEN / stack)
        sys.stdout.write(f"{len(files)} files in tests/golden/{stack}\n")


if __name__ == "__main__":
    main()
