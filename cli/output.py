"""How payctl speaks: tables for people, JSON for programs, problems on standard error."""

import json
import sys
from typing import Any

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_problem(text: str) -> None:
    """A problem, as it is: no markup is read from values, no line is folded."""
    errors.print(text, style="red", markup=False, soft_wrap=True)
