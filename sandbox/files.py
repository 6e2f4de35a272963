"""Files that are either whole or absent: atomic writes, and small readers that tolerate absence."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

PRIVATE_MODE = 0o600


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file's content in one rename: a reader sees the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object, *, mode: int = 0o644) -> None:
    """Write a JSON document atomically, indented, keys sorted."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode=mode)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is absent or does not hold one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None
