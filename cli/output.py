"""How payctl speaks: tables for people, JSON for programs, problems on standard error."""

import json
import sys
from typing import Any

from rich.console import Console

# A log has no width of its own, and 80 columns would cut every table in it.
_LOG_COLUMNS = 140

console = Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_COLUMNS)
errors = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_problem(text: str) -> None:
    """A problem, as it is: no markup is read from values, no line is folded."""
    errors.print(text, style="red", markup=False, soft_wrap=True)
